"""What reading a message costs: bounded for whatever a client sends."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import httpx
import orjson
import pytest

from app.kinds.chat.care import Sign
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.intents import load_intents
from app.kinds.chat.message import clauses, normalise, spelling
from app.kinds.chat.recognition import main_hit
from app.kinds.expressions import ExpressionError, compiled, translated
from tests.kinds.chat import kit

LONGEST = 4000
# Processor seconds: ten times what a message may cost, so that a slow machine passes and a quadratic
# step, which costs seconds, does not.
BOUND = 0.05
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


def cost(deck: CharacterDeck, message: str) -> float:
    """Processor seconds for all that is done with a message before anybody answers."""
    begun = time.process_time()
    main_hit(deck.recognise(message))
    deck.message_query(deck.characters[0], message)
    deck.stands_alone(message)
    return time.process_time() - begun


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


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_message_that_once_took_a_worker_down_is_cheap(deck: CharacterDeck, attack: str) -> None:
    """Messages made of what two parts of an expression can both match cost as little as others."""
    assert cost(deck, attack) < BOUND


def test_no_message_is_dear(deck: CharacterDeck, english: CharacterDeck) -> None:
    """600 generated messages of up to 4,000 signs cost no more than any message may."""
    for message in generated(300, 1):
        assert cost(deck, message) < BOUND, message[:80]
        assert cost(english, message) < BOUND, message[:80]


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


@pytest.mark.long
def test_no_message_of_very_many_is_dear(deck: CharacterDeck) -> None:
    """10,000 generated messages, of which 500 may have 4,000 signs and the others have 60."""
    for number, message in enumerate(generated(10_000, 2)):
        text = message if number % 20 == 0 else message[:60]
        assert cost(deck, text) < BOUND, text[:80]


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


def test_attacks_are_answered_over_http(plain: kit.Server) -> None:
    """A chat answers every one of them, whole and streamed."""
    for attack in ATTACKS:
        messages = [{"role": "user", "content": attack}]
        answer = httpx.post(f"http://127.0.0.1:{plain.port}/api/chat", json={"messages": messages})
        assert answer.status_code == 200
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
