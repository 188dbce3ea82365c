"""What reading a message costs: bounded for whatever a client sends.

`python -m bench.messages` prints the milliseconds. Here the clients' own time-out of five seconds is the bound:
what once took a worker down took minutes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import httpx
import orjson
import pytest

from app.kinds.chat.care import Sign
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.intents import load_intents
from app.kinds.chat.message import clauses, normalise, spelling
from app.kinds.expressions import ExpressionError, compiled, translated
from tests.kinds.chat import kit

LONGEST = 4000
SIGNS = (
    *"いうえおんのしだですよねっー。！？!?wWｗ草笑疲死( )（）^;_.,、…・〜~\n\t 　abcXYZ０１２①㌔㍿ﷺéが\u0301\u200b😀♂→「」『』",
    *("牡丹", "ゆり", "カショ", "ねえ", "ありがと", "おはよう", "いい天気", "の話", "んね", "消えたい", "死にたい"),
    *("って言われた", "じゃない", "友達に", "hello", "mr hobb", "(^o^)", "sorry for ", "good "),
)  # fmt: skip


def generated(count: int, seed: int) -> Iterator[str]:
    """Messages of 60 or 4,000 signs: one unit again and again with a wrong end, or anything."""
    rng = random.Random(seed)
    for _ in range(count):
        length = rng.choice((60, LONGEST))
        if rng.random() < 0.2:
            text = "".join(rng.choice(SIGNS) for _ in range(length))
        else:
            unit = "".join(rng.choice(SIGNS) for _ in range(rng.randint(1, 8)))
            text = rng.choice(SIGNS) + unit * length
        yield text[: length - 1] + rng.choice(SIGNS)[0]


ATTACKS = (
    "いい天気" + "んね" * 27 + "の話",
    "し" * 60,
    "," * 3999 + "x",
    "、ゆり" * 1300 + "x",
    "(^" * 2000,
    "あ" * 3999 + "?",
    "ﷺ" * LONGEST,
    "消えたい。" * 800,
    "消えたいって言われた。" * 360,
)


@pytest.mark.long
def test_what_is_left_out_finds_nothing(deck: CharacterDeck, english: CharacterDeck) -> None:
    """An expression that the prefilter leaves out of the search would not have found anything."""
    for searched in (deck, english):
        intents = load_intents(searched.folder)
        said = orjson.loads((searched.folder / "said.json").read_bytes())
        messages = [text for intent in said.values() for text in intent["said"]]
        for text in map(normalise, [*messages, *generated(40, 3)]):
            lines = "\n".join(clause for _, clause in clauses(text))
            for part in (intents.careful, intents.others):
                found = {n for n, (_, one) in enumerate(part.parts) if one.search(lines)}
                assert found <= part.prefilter.possible(lines), text[:80]


@pytest.mark.parametrize("parted", ["。", "\n", "、", "！"])
def test_danger_is_found_wherever_it_stands_in_a_long_message(
    deck: CharacterDeck, parted: str
) -> None:
    """Of a message of thousands of characters each sentence is read as a message of its own, however the
    sentences are parted: the rest neither hides danger nor makes any."""
    day = (
        "今日は友達と公園に行った",
        "お昼はカレーを食べた",
        "推しが尊すぎて泣いた",
        "ゲームのボスを倒した",
    )
    asked = {Sign.GRAVE, Sign.DOUBT, Sign.UNEASY}
    rest = [f"{text}{number}回目" for number in range(30) for text in day]
    assert not deck.signs(parted.join(rest)) & asked
    for place in (0, 7, 60, len(rest)):
        for danger in ("もう死にたい", "ほんとに消えてしまいたい", "ﾓｳ死ﾆﾀｲ"):
            told = parted.join([*rest[:place], danger, *rest[place:]])
            assert len(told) > 1000
            assert deck.signs(told) & asked, (place, danger)


@pytest.mark.parametrize("deck", ["chat", "harbour"])
def test_no_message_takes_a_worker_down(plain: kit.Server, deck: str) -> None:
    """Messages made of what two parts of an expression can both match are answered, as are generated ones."""
    with httpx.Client(base_url=f"http://127.0.0.1:{plain.port}") as client:
        for message in (*ATTACKS, *generated(100, 1)):
            body = {"deck": deck, "messages": [{"role": "user", "content": message}]}
            answer = client.post("/api/chat", json=body)
            assert answer.status_code == 200, message[:80]
            assert answer.json()["text"]


@pytest.mark.parametrize(
    ("expression", "finds", "not_in"),
    [
        ("の(?!し|で)", ("の", "のは", "ものが"), ("のし", "ので")),
        ("と(?!こと|ころ)", ("とこ", "とこな", "と"), ("ところ",)),
        ("(?<!こ)と言", ("と言", "もと言"), ("こと言",)),
        ("(?<!死ぬ)ほど", ("ほど", "ぬほど", "見るほど"), ("死ぬほど",)),
        ("元気(?=!?\\?)", ("元気?", "元気!?"), ("元気", "元気!")),
        ("a[(?!]b", ("a(b", "a?b"), ("ab",)),
    ],
)
def test_look_around_is_translated(
    expression: str, finds: tuple[str, ...], not_in: tuple[str, ...]
) -> None:
    """Look-around with plain texts finds what it says, although the engine has none."""
    found = compiled(expression)
    assert all(found.search(text) for text in finds)
    assert not any(found.search(text) for text in not_in)


@pytest.mark.parametrize(
    "expression", ["(?!a.b)c", "(?<!a+)b", r"(a)\1", "(?!a", "(?!)x", "x{2000}"]
)
def test_what_cannot_be_linear_is_refused(expression: str) -> None:
    """What the engine cannot search in linear time is an error with a sentence, not a slow search."""
    with pytest.raises(ExpressionError):
        compiled(expression)


def test_what_has_no_look_around_stays_as_it_is() -> None:
    """A plain expression is not touched."""
    for plain in (r"a\(?b", "[(?=]", "(?:a|b)*", r"\\(?:x)"):
        assert translated(plain) == plain


def test_a_message_of_broad_signs_is_read_as_it_stands() -> None:
    """A sign that stands for many is widened in ordinary messages, and left in a message made of them."""
    assert normalise("㌔") == normalise("キロ")
    assert len(normalise("ﷺ" * LONGEST)) == len(spelling("ﷺ" * LONGEST)) == LONGEST
