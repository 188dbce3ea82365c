"""Templates with slots and decks of prompts: what is read, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import DeckError, PromptMissError
from app.kinds.prompts.deck import PromptDeck, load_prompt_deck
from app.kinds.prompts.gate import REPLY, Checks, PromptGate
from app.kinds.prompts.key import query_of
from app.kinds.prompts.recordings import Recordings
from app.kinds.prompts.reply import Choice, Reply
from app.kinds.prompts.request import Message, PromptRequest, Tool
from app.kinds.prompts.template import PromptTemplate, spelled
from app.store.entry import Entry
from precompute.plan.pairwise import pairwise
from tests.kinds.prompts.kit import MODEL, asked, chat, served, text_of
from tests.making import write_json

TEMPLATE = PromptTemplate(
    (
        Message.of("system", "You write menus."),
        Message.of("user", "Describe {dish} for a {guest}. {guest}!"),
    ),
    {
        "dish": ("ramen", "ｶﾚー rice", "Äpfel (sweet)", "ramen with egg"),
        "guest": ("child", "old man", "VIP"),
    },
)
VALUES = st.fixed_dictionaries({name: st.sampled_from(v) for name, v in TEMPLATE.slots.items()})


def sent(text: str, **fields: Any) -> PromptRequest:
    """A request as a client sends it."""
    return PromptRequest("chat", "any", (TEMPLATE.messages[0], Message.of("user", text)), **fields)


def last(values: dict[str, str]) -> str:
    """The text of the last message for some values."""
    return TEMPLATE.filled(values).messages[-1].text


@given(VALUES)
def test_a_prompt_that_a_template_makes_is_read_into_its_slots(values: dict[str, str]) -> None:
    """Also in another spelling: width, case, spaces, the closing mark."""
    text = last(values)
    wide = "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in text)
    for spelling in (text, text.upper(), wide, text.replace(" ", "  "), text.rstrip("!") + " 。"):
        assert TEMPLATE.read(sent(spelling)) == values


@given(VALUES, VALUES)
def test_a_slot_has_one_value(one: dict[str, str], other: dict[str, str]) -> None:
    """A prompt in which one slot has two values does not fit."""
    text = f"Describe {one['dish']} for a {one['guest']}. {other['guest']}!"
    assert (TEMPLATE.read(sent(text)) is not None) == (one["guest"] == other["guest"])


@pytest.mark.parametrize(
    "request_",
    [
        sent("Describe sushi for a child. child!"),
        sent("Describe ramen for a child. child! And more."),
        sent("describe"),
        sent(last({"dish": "ramen", "guest": "VIP"}), tools=(Tool("t"),)),
        sent(last({"dish": "ramen", "guest": "VIP"}), format="json"),
        sent(last({"dish": "ramen", "guest": "VIP"}), options={"n": 2}),
        replace(sent(last({"dish": "ramen", "guest": "VIP"})), messages=TEMPLATE.messages[1:]),
        replace(
            sent(""),
            messages=(
                Message.of("user", "You write menus."),
                Message.of("user", last({"dish": "ramen", "guest": "VIP"})),
            ),
        ),
    ],
)
def test_another_request_does_not_fit(request_: PromptRequest) -> None:
    assert TEMPLATE.read(request_) is None


def put(folder: Path, deck: PromptDeck, request: PromptRequest, text: str) -> None:
    """Store a reply by hand."""
    query = query_of(deck.id, request, deck.rules)
    reply = Reply((Choice(text),), MODEL).to_text()
    entry = Entry(query.key, 0, query, {REPLY: reply}, "openai", MODEL, "f", "2026-11-27")
    Recordings(folder / "ledger", deck.id).keep(lambda _: entry, lambda _: True)


def test_a_cooked_prompt_answers_every_model_and_if_near_is_on_every_spelling(
    tmp_path: Path,
) -> None:
    """As it is spelled, it is exact; in another spelling, near, and a miss where near is off."""
    values = {"dish": "ramen", "guest": "child"}
    off = PromptDeck("menu", template=TEMPLATE)
    put(tmp_path, off, TEMPLATE.filled(values), "Good.")
    exact = asked(sent(last(values), options={"temperature": 1}))
    other = asked(sent(last(values).upper()))
    for deck in (off, replace(off, near=1.0)):
        answer = served(tmp_path, deck).answer(exact)
        assert (answer.about.tier, answer.whole().choices[0].text) == ("exact", "Good.")
    near = served(tmp_path, replace(off, near=1.0)).answer(other)
    assert (near.about.tier, near.about.distance) == ("near", 0.0)
    with pytest.raises(PromptMissError):
        served(tmp_path, off).answer(other)


def test_a_near_wording_is_answered_with_its_distance_if_the_deck_allows_it(tmp_path: Path) -> None:
    """Not if numbers, negations or anything besides the last message differ."""
    deck = PromptDeck("faq", near=0.7)
    question = "When do you open the shop on a sunny monday morning in may"
    put(tmp_path, deck, chat(question), "At nine.")
    worker = served(tmp_path, deck)
    near = worker.answer(asked(question.replace("the shop", "a shop")))
    assert near.about.tier == "near"
    assert 0 < near.about.distance < 0.3
    for other in (
        question.replace("do you open", "do you not open"),
        question + " 2027",
        question.replace("open", "close").replace("shop", "bar").replace("monday", "tuesday"),
    ):
        with pytest.raises(PromptMissError, match="did you mean"):
            worker.answer(asked(other))
    with pytest.raises(PromptMissError) as missed:
        worker.answer(asked(chat(question, options={"seed": 3}, format="json")))
    assert missed.value.differs == "format"
    with pytest.raises(PromptMissError):
        served(tmp_path, replace(deck, near=None)).answer(asked(question + " please"))


def test_negations_in_japanese_are_no_near_wording(tmp_path: Path) -> None:
    deck = PromptDeck("faq", near=0.5)
    put(tmp_path, deck, chat("辛いラーメンのおすすめを教えてください"), "はい。")
    worker = served(tmp_path, deck)
    assert text_of(worker, asked("辛いラーメンのおすすめを教えて下さい")) == "はい。"
    with pytest.raises(PromptMissError):
        worker.answer(asked("辛くないラーメンのおすすめを教えてください"))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 9))
def test_a_matrix_is_passed_once_and_every_pair_first(sizes: list[int], seed: int) -> None:
    """Every row once; and every pair of values within far fewer rows than there are."""
    rows = list(pairwise(sizes, seed))
    assert len(rows) == len(set(rows)) == math.prod(sizes)
    assert all(0 <= value < size for row in rows for value, size in zip(row, sizes, strict=True))
    widest = sorted(sizes)[-2:]
    first = rows[: 2 * math.prod(widest) + 5]
    for a, b in combinations(range(len(sizes)), 2):
        assert len({(row[a], row[b]) for row in first}) == sizes[a] * sizes[b]


def test_a_large_matrix_is_not_made_whole() -> None:
    """The first rows of ten million million come at once."""
    assert len(set(islice(pairwise([10] * 13, 0), 2000))) == 2000


DECK: dict[str, Any] = {"kind": "prompts", "id": "menu"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"mode": "play"}, "mode"),
    ({"modes": "replay"}, "no such member: 'modes'"),
    ({"id": "No Id"}, "id"),
    ({"upstream": {"openai": "ftp://x"}}, "upstream"),
    ({"upstream": {"anthropic": "http://x"}}, "anthropic"),
    ({"key": {"options": ["heat"]}}, "heat"),
    ({"key": {"normalise": ["all"]}}, "all"),
    ({"key": {"vary": ["("]}}, "vary 1"),
    ({"key": {"vary": ["x*"]}}, "matches what is empty"),
    ({"key": {"model": "no"}}, "true or false"),
    ({"redact": "x"}, "redact"),
    ({"pace": -1}, "pace"),
    ({"pace": "slow"}, "pace"),
    ({"near": 2}, "near"),
    ({"answers": "both"}, "answers"),
    ({"miss": {"status": 500}}, "status"),
    ({"models": "m"}, "models"),
    ({"checks": {"characters": [5, 1]}}, "least, most"),
    ({"checks": {"schema": {"type": "thing"}}}, "schema"),
    ({"checks": {"script": ["Elvish"]}}, "Elvish"),
    ({"checks": {"length": 3}}, "length"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=[told for _, told in WRONG])
def test_a_wrong_deck_is_refused_with_its_place(
    tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    write_json(tmp_path / "deck.json", {**DECK, **wrong})
    with pytest.raises(DeckError, match=told) as refused:
        load_prompt_deck(tmp_path)
    assert str(tmp_path / "deck.json") in str(refused.value)


GOOD_TEMPLATE: dict[str, Any] = {
    "template": [{"role": "user", "content": "Describe {dish}"}],
    "slots": {"dish": ["ramen"]},
}
WRONG_TEMPLATES: list[tuple[dict[str, Any], str]] = [
    ({"template": []}, "no message"),
    ({"template": [{"role": "tool", "content": "{dish}"}]}, "role"),
    ({"slots": {"dish": []}}, "no value"),
    ({"slots": {"dish": ["ramen", "RAMEN"]}}, "another spelling"),
    ({"slots": {"dish": ["ramen"], "guest": ["you"]}}, "'guest' is in no message"),
    ({"slots": {"no name": ["x"]}}, "no name"),
    ({"slots": {}}, "1 to"),
]


@pytest.mark.parametrize(
    ("wrong", "told"), WRONG_TEMPLATES, ids=[told for _, told in WRONG_TEMPLATES]
)
def test_a_wrong_template_is_refused_with_its_place(
    tmp_path: Path, wrong: dict[str, Any], told: str
) -> None:
    write_json(tmp_path / "deck.json", DECK)
    write_json(tmp_path / "template.json", {**GOOD_TEMPLATE, **wrong})
    with pytest.raises(DeckError, match=told):
        load_prompt_deck(tmp_path)
    write_json(tmp_path / "template.json", GOOD_TEMPLATE)
    assert load_prompt_deck(tmp_path).template


GATED = [
    (Checks(characters=(2, 4)), "abc", "abcde", "length"),
    (Checks(must=("[0-9]",)), "a1", "a", "must"),
    (Checks(must_not=("sorry",)), "yes", "so sorry", "must not"),
    (Checks(script=("Hiragana", "Katakana")), "かな カナ 12!", "かな kana", "script"),
    (Checks(schema={"type": "object", "required": ["a"]}), '{"a": 1}', "{}", "schema"),
    (Checks(schema={"type": "object"}), "{}", "not JSON", "json"),
]


@pytest.mark.parametrize(("checks", "good", "bad", "name"), GATED, ids=[row[3] for row in GATED])
def test_each_check_passes_and_refuses(checks: Checks, good: str, bad: str, name: str) -> None:
    gate = PromptGate(checks)
    assert not list(gate.of_reply(Reply((Choice(good),)), wants_json=False))
    refusals = list(gate.of_reply(Reply((Choice(bad),)), wants_json=False))
    assert [refusal.check for refusal in refusals] == [name]


def test_a_reply_to_a_request_for_json_must_be_json() -> None:
    gate = PromptGate(Checks())
    assert list(gate.of_reply(Reply((Choice("plain"),)), wants_json=True))
    assert not list(gate.of_reply(Reply((Choice("{}"),)), wants_json=True))


def test_spellings() -> None:
    assert spelled(" Ａ  b。 ") == "a b"
