"""The template tier: it frames any deck's phrases within the gate, with nothing of its own."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.kinds.cards.template import FrameTemplate
from tests.making import card, small_deck, write_deck, written

CONDITIONS = [
    "駅まで徒歩47分",
    "築60年",
    "窓は北向き",
    "カビの匂い",
    "隣は墓地",
    "毎朝五時の鐘",
    "風呂なし",
    "三階なのに湿気",
    "空は見えない",
    "光が射さない",
]


@dataclass(frozen=True)
class Wanted:
    """A deck that a test asks for."""

    size: int
    phrase_length: tuple[int, int]
    answer: dict[str, Any]


def deck_of(folder: Path, rng: random.Random, wanted: Wanted, categories: int = 12) -> Deck:
    cards = []
    for number in range(categories * 2):
        phrases = [written(rng.randint(*wanted.phrase_length), rng) for _ in range(3)]
        if rng.random() < 0.2:
            phrases[0] = phrases[0][:-1] + rng.choice("。！？…")
        one = card(number, f"分類{number % categories}", phrases)
        one["condition_text"] = rng.choice(CONDITIONS) + rng.choice(CONDITIONS)
        cards.append(one)
    written_deck = write_deck(folder, cards=cards, size=wanted.size, answer=wanted.answer)
    return load_deck(written_deck)


def passes(deck: Deck, rng: random.Random, plays: int) -> None:
    """Frame random plays and examine each from outside."""
    template, gate = FrameTemplate(deck), Gate.of(deck)
    for _ in range(plays):
        query = random_play(deck, rng)
        quoted = tuple(phrase.text for phrase in deck.phrases(query))
        response = template.frame(query)
        assert response is not None, [phrase.text for phrase in deck.phrases(query)]
        assert gate.examine(query, response, quoted) is None
        assert all(phrase.rstrip("。") in response["poem"] for phrase in quoted)


@given(st.integers(0, 1 << 32))
@settings(max_examples=25)
def test_any_deck_of_the_game_is_framed(seed: int) -> None:
    """All random plays of a random deck with phrases of 10 to 30 characters pass the gate."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        deck = deck_of(Path(folder) / "mine", rng, Wanted(5, (10, 30), {}))
        passes(deck, rng, 60)


@pytest.mark.long
def test_very_many_plays_of_many_decks_are_framed(tmp_path: Path) -> None:
    """The same over 100 decks and 10,000 plays."""
    for seed in range(100):
        rng = random.Random(seed)
        passes(deck_of(tmp_path / f"d{seed}", rng, Wanted(5, (10, 30), {})), rng, 100)


@pytest.mark.parametrize("length", [10, 11, 20, 29, 30])
def test_phrases_all_short_or_all_long_are_framed(tmp_path: Path, length: int) -> None:
    """Five phrases of 10 characters need much around them, five of 30 hardly any: both pass."""
    rng = random.Random(length)
    passes(deck_of(tmp_path / "mine", rng, Wanted(5, (length, length), {})), rng, 200)


@pytest.mark.parametrize(
    ("size", "lengths", "characters", "paragraphs"),
    [
        (1, (10, 30), [60, 100], [1, 2]),
        (2, (10, 30), [90, 140], [2, 2]),
        (3, (10, 30), [110, 150], [3, 3]),
        (3, (8, 16), [180, 240], [3, 4]),
        (4, (10, 30), [140, 200], [1, 1]),
        (5, (10, 30), [200, 210], [3, 4]),
        (5, (10, 30), [300, 400], [4, 6]),
        (7, (10, 30), [240, 320], [2, 5]),
        (10, (10, 20), [240, 360], [4, 4]),
        (12, (10, 30), [390, 500], [3, 8]),
    ],
)
def test_other_hands_and_limits_are_framed(
    tmp_path: Path,
    size: int,
    lengths: tuple[int, int],
    characters: list[int],
    paragraphs: list[int],
) -> None:
    """Another hand size, other lengths and other numbers of paragraphs pass as well."""
    rng = random.Random(size)
    wanted = Wanted(size, lengths, {"characters": characters, "paragraphs": paragraphs})
    passes(deck_of(tmp_path / "mine", rng, wanted, max(12, size)), rng, 150)


def test_phrases_that_break_every_rule_are_served(tmp_path: Path) -> None:
    """The phrases' own words are the player's: forbidden, polite, Latin or leaking, they pass."""
    faults = [
        "最高の駅まで徒歩47分です",
        "あなたの WiFi 最高です",
        "静謐と静謐と静謐の静謐",
        "这里很好，아침",
        "*太字*と`印`の朝です",
    ]
    cards = [card(i, f"分類{i}", [text]) for i, text in enumerate(faults)]
    for one in cards:
        one["condition_text"] = "駅まで徒歩47分"
    passes(load_deck(write_deck(tmp_path / "mine", cards=cards)), random.Random(1), 5)


def test_one_phrase_within_another_is_served(tmp_path: Path) -> None:
    """A phrase that is part of another, or the same as another, does not confuse the framing."""
    texts = [
        "最高の朝を待つ窓",
        "最高の朝を待つ窓辺に座る人",
        "最高の朝を待つ窓",
        "朝を待つ窓の外の鳥",
        "最高の朝を待つ窓。",
    ]
    cards = [card(i, f"分類{i}", [text]) for i, text in enumerate(texts)]
    passes(load_deck(write_deck(tmp_path / "mine", cards=cards)), random.Random(1), 5)


def test_what_cannot_be_framed_is_passed(tmp_path: Path) -> None:
    """Phrases longer together than the limit give None, so that the ladder can say so."""
    rng = random.Random(0)
    deck = deck_of(tmp_path / "mine", rng, Wanted(5, (60, 60), {}))
    assert FrameTemplate(deck).frame(random_play(deck, rng)) is None


def test_the_same_play_is_framed_alike_and_its_variants_differ(tmp_path: Path) -> None:
    """A play has one framing, and others by its variants, each of them within the gate."""
    deck = small_deck(tmp_path / "mine")
    query = random_play(deck, random.Random(5))
    quoted = tuple(phrase.text for phrase in deck.phrases(query))
    framed = [FrameTemplate(deck).frame(query, variant) for variant in range(8)]
    assert FrameTemplate(deck).frame(query) == framed[0]
    poems = {response["poem"] for response in framed if response}
    assert len(poems) == 8
    gate = Gate.of(deck)
    assert all(response and gate.examine(query, response, quoted) is None for response in framed)


def test_a_deck_may_bring_its_own_frames(tmp_path: Path) -> None:
    """Frames of the deck's own take the place of the built-in ones."""
    own = {
        "openings": [f"開く{c}の一日が、ここから始まっていく。" for c in "あいうえお"],
        "links": [f"続く{c}の道を、ゆっくり歩いていく。" for c in "かきくけこさしす"],
        "closings": [f"閉じる{c}の扉に、灯がともる夜である。" for c in "なにぬねの"],
    }
    cards = [card(i, f"分類{i}", ["ひとつだけの言い換えの言葉"]) for i in range(5)]
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards, template=own))
    response = FrameTemplate(deck).frame(random_play(deck, random.Random(0)))
    assert response
    paragraphs = response["poem"].split("\n\n")
    assert paragraphs[0].startswith("開く")
    assert paragraphs[-1].startswith("閉じる")
