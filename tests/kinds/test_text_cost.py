"""What reading a text costs: bounded by its length, whatever a client or a service sends."""

from __future__ import annotations

import random
import time
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.kinds.cards.deck import squeeze
from app.kinds.prompts.key import DEFAULT_RULES, STEPS, canonical, query_of
from app.kinds.prompts.nearest import Nearest, outline
from app.kinds.prompts.request import Message, PromptRequest, Text, ToolCall
from app.kinds.prompts.template import spelled
from app.normal_form import nfc, nfkc
from app.providers.faults import plain
from app.providers.model_json import UnreadableError, read_answers
from app.providers.secret import Secret

LENGTH = 1 << 17
# Processor seconds, some ten times what the dearest step takes; a quadratic one takes 10 s or more.
BOUND = 1.5
SIGNS = (
    *" \t\n\r.,!?。、<>[]{}\"'\\/0159aZん漢é\u0301\u0316\u3099\u0344\u0f71\u200d\u2028😀１ﷺ",
    *("\u0301" * 9, "\u0316" * 9, ", }", '\\"', "n't", "1.", "ませ", "data:"),
)


def chat_of(text: str) -> PromptRequest:
    """A request with a text in it."""
    return PromptRequest("chat", "m", (Message.of("user", text),))


def mended(text: str) -> None:
    """A reply that is no JSON, and so is mended."""
    try:
        read_answers('{"answers": [' + text)
    except UnreadableError:
        return


STEPS_OF_READING: dict[str, Callable[[str], object]] = {
    "nfc": nfc,
    "nfkc": nfkc,
    "key": DEFAULT_RULES.text,
    **{step: STEPS[step] for step in STEPS},
    "template": spelled,
    "near": lambda text: outline(canonical(chat_of(text), DEFAULT_RULES)),
    "play": squeeze,
    "fault": lambda text: plain(text, Secret("key")),
    "reply": mended,
}


def generated(count: int, seed: int) -> Iterator[str]:
    """Long texts of one unit again and again, of two such runs, with an end that fits or does not."""
    rng = random.Random(seed)

    def run(length: int) -> str:
        unit = "".join(rng.choice(SIGNS) for _ in range(rng.randint(1, 3)))
        return (unit * length)[:length]

    for _ in range(count):
        head = rng.choice(("", "a", '"', "か", "<"))
        halves = run(LENGTH) if rng.random() < 0.5 else run(LENGTH // 2) + run(LENGTH // 2)
        yield head + halves + rng.choice(("x", "\n", "", '"', ">"))


ATTACKS = (
    " " * LENGTH + "x",
    "a" + "\u0301" * (LENGTH // 2) + "\u0316" * (LENGTH // 2),
    "か" + "\u3099\u0316" * (LENGTH // 2),
    "." * LENGTH + "x",
    "<" * LENGTH,
    '"' + '\\"' * (LENGTH // 2),
)


def dear(text: str) -> list[str]:
    """The steps that cost more than they may."""
    found = []
    for name, step in STEPS_OF_READING.items():
        begun = time.process_time()
        step(text)
        if time.process_time() - begun > BOUND:
            found.append(f"{name}: {text[:20]!r}")
    return found


@pytest.mark.parametrize("attack", ATTACKS, ids=range(len(ATTACKS)))
def test_a_text_that_once_stopped_a_worker_is_cheap(attack: str) -> None:
    """Texts over which an expression or a normal form once took the square of their length."""
    assert dear(attack) == []


def test_no_text_is_dear() -> None:
    """No step of reading takes more than in proportion to a text's length, over generated texts."""
    assert [found for text in generated(8, 1) for found in dear(text)] == []


@pytest.mark.long
def test_no_text_of_very_many_is_dear() -> None:
    """The same over 20 generated texts."""
    assert [found for text in generated(20, 2) for found in dear(text)] == []


def test_normal_forms_are_unicodes() -> None:
    """Texts with at most 30 marks in a row are as unicodedata has them; others are equal again."""
    rng = random.Random(3)
    marks = "\u0301\u0316\u3099\u0344\u0f71"
    for _ in range(3000):
        few = "".join(rng.choice("aかé! ́ﷺ" + marks) for _ in range(rng.randint(0, 15)))
        assert nfc(few) == unicodedata.normalize("NFC", few)
        assert nfkc(few) == unicodedata.normalize("NFKC", few)
        many = few + "".join(rng.choice(marks) for _ in range(rng.randint(0, 200)))
        assert nfc(nfc(many)) == nfc(many)
        assert nfc(unicodedata.normalize("NFD", few)) == nfc(few)


def test_calls_of_tools_are_answered_in_a_time_of_their_number() -> None:
    """A conversation with thousands of calls, whose answers name no call or the tool, is cheap."""
    calls = tuple(ToolCall("f", {}, f"id-{n}") for n in range(20_000))
    asks = Message("assistant", (), calls)
    for names in (["g"] * 4000, ["f"] * 4000, [f"id-{n}" for n in range(20_000, 16_000, -1)]):
        answers = (Message("tool", (Text("x"),), (), name) for name in names)
        begun = time.process_time()
        query_of("recorded", PromptRequest("chat", "m", (asks, *answers)), DEFAULT_RULES)
        assert time.process_time() - begun < BOUND


def test_a_long_prompt_is_near_only_if_all_of_it_is(tmp_path: Path) -> None:
    """Beyond what is compared word by word, a near prompt is the same."""
    long = "word " * 20_000
    one, other = (
        outline(canonical(chat_of(long + end), DEFAULT_RULES)) for end in ("tea", "coffee")
    )
    assert one.words == other.words
    assert one.guard != other.guard
    assert one == outline(canonical(replace(chat_of(long + "tea")), DEFAULT_RULES))
    assert Nearest(tmp_path / "none").find(canonical(chat_of(long), DEFAULT_RULES)) is None
