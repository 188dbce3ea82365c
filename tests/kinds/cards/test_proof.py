"""The proof that composed answers pass the gate: it holds for the deck in the box, and only there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.pieces import Frame, Pieces, frame_length
from app.kinds.cards.proof import always_framed, always_passes, texts_pass
from app.kinds.cards.template import FrameTemplate
from app.kinds.cards.tiers import composed_tier
from tests.making import museum

FINE = ("風はひとつ坂をのぼる。", "窓の外で朝が始まる。", "灯がともる。")


def with_sentence(deck: Deck, text: str) -> Deck:
    """The deck, with another first sentence of its first phrase for its first idea."""
    idea, phrase = deck.pieces.ideas[0].id, deck.cards[0].phrases[0].id
    own = deck.pieces.phrases[phrase]
    changed = {**own, idea: (text, *own[idea][1:])}
    return with_pieces(deck, phrases={**deck.pieces.phrases, phrase: changed})


def with_frame(deck: Deck, change: Callable[[Frame], Frame]) -> Deck:
    """The deck, with its first frame changed."""
    first, *others = deck.pieces.ideas
    frames = (change(first.frames[0]), *first.frames[1:])
    return with_pieces(deck, ideas=(first._replace(frames=frames), *others))


def with_pieces(deck: Deck, **changed: Any) -> Deck:
    pieces: Pieces = deck.pieces._replace(**changed)
    return replace(deck, pieces=pieces)


def test_the_deck_in_the_box_is_proven(poem: Deck) -> None:
    """The composer of the shipped deck makes nothing that the gate would refuse."""
    assert Composer(poem).proven
    assert texts_pass(poem, FINE)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ("printable", "風は\u200bのぼる。"),
        ("paragraphs", "風は\nのぼる。"),
        ("sentence", "う" * 61 + "。"),
        ("forbidden", "最高の朝が来る。"),
        ("address", "あなたの朝が来る。"),
        ("polite", "朝が来ます。"),
        ("showcase", "静謐を着る。"),
        ("echo", "タイトルは朝にある。"),
        ("script", "这里的早晨の光。"),
        ("script", "朝はMorningという。"),
    ],
)
def test_a_text_that_fails_alone_proves_nothing(poem: Deck, check: str, text: str) -> None:
    """One text that breaks a rule is enough to ask the gate again."""
    assert not texts_pass(poem, (*FINE, text)), check
    assert not always_passes(with_sentence(poem, text)), check


def test_a_text_that_quotes_any_phrase_proves_nothing(poem: Deck) -> None:
    """A text that has too much of a phrase in a row would be refused beside that phrase."""
    most = poem.rules.wording
    for card in poem.cards:
        run = card.phrases[0].text[: most + 1]
        assert texts_pass(poem, (*FINE, f"ある{run[:most]}。")), run
        assert len(run) <= most or not texts_pass(poem, (*FINE, f"ある{run}。")), run


def test_a_text_that_tells_another_card_proves_nothing(poem: Deck) -> None:
    """A card of another category may lie beside it; one of its own never does."""
    own = poem.cards[0]
    beside = next(card for card in poem.cards if card.category != own.category)
    apart = next(c for c in poem.cards if c.category == own.category and c is not own)
    for card, passes in ((own, False), (beside, False), (apart, True)):
        text = f"{card.telling_words[0]}のそばで、しずかにひとつの灯がともり、家じゅうに広がる。"
        assert always_passes(with_sentence(poem, text)) == passes, card.id


def test_a_length_that_no_frame_fits_proves_nothing(poem: Deck) -> None:
    """A sentence too long for every frame, or an idea whose only frame is too long, is judged."""
    assert not always_passes(with_sentence(poem, "灯がともる。" * 20))
    first, *others = poem.pieces.ideas
    long = first.frames[0]
    long = long._replace(texts=("灯がともる。" * 6 + long.texts[0], *long.texts[1:]))
    assert frame_length(long, len) > 75
    alone = first._replace(frames=(long,))
    assert not always_passes(with_pieces(poem, ideas=(alone, *others)))


def test_a_frame_with_other_paragraphs_proves_nothing(poem: Deck) -> None:
    """A frame of two paragraphs, where the deck wants three or four."""

    def joined(frame: Frame) -> Frame:
        return frame._replace(texts=tuple(text.replace("\n", "") for text in frame.texts))

    assert not always_passes(with_frame(poem, joined))


@pytest.mark.parametrize("text", ["灯がともる", "灯がともり、"])
def test_a_text_without_a_stop_proves_nothing(poem: Deck, text: str) -> None:
    """What the gate looks for could begin in it and end in the next; so with a sentence or a frame."""
    sentence = text.rjust(28, "灯")
    assert always_passes(with_sentence(poem, sentence.rstrip("、") + "。"))
    assert not always_passes(with_sentence(poem, sentence))

    def open_ended(frame: Frame) -> Frame:
        return frame._replace(texts=(frame.texts[0].replace("。", "、"), *frame.texts[1:]))

    assert not always_passes(with_frame(poem, open_ended))


def test_a_word_with_a_stop_proves_nothing(poem: Deck) -> None:
    """If the gate looks for a word with a stop in it, that may lie over two texts."""
    rules = poem.rules._replace(echo=(*poem.rules.echo, "る。灯"))
    assert not always_passes(replace(poem, rules=rules))


def test_an_unproven_deck_is_gated(poem: Deck) -> None:
    """A deck that is not proven has every answer judged: what the gate refuses is not served."""

    def spoilt(frame: Frame) -> Frame:
        return frame._replace(texts=("最高。" + frame.texts[0], *frame.texts[1:]))

    deck = with_frame(poem, spoilt)
    composer, gate = Composer(deck), Gate.of(deck)
    tier, rng = composed_tier(gate, composer), Random(3)
    refused = 0
    for _ in range(1500):
        query = random_play(deck, rng)
        made = composer.compose(query)
        assert made
        passed = gate.examine(query, made.response) is None
        assert (tier.find(query, 0) is not None) == passed
        refused += not passed
    assert refused


FRAMES = ("朝が、ひとつの窓から始まる。", "風が通る。", "帰るたびに、好きになる。")


@pytest.mark.parametrize(
    "frame",
    [
        "風が通る",
        "風が\n通る。",
        " 風が通る。",
        "か\u3099通る。",
        "朝が来ます。",
        "最高の朝が来る。",
        "静謐を着る。",
        "タイトルは朝にある。",
        "う" * 58 + "。",
        "申し訳ないが、それはできません。",
        "这里很好。",
    ],
)
def test_frames_that_could_be_refused_are_not_proven(poem: Deck, frame: str) -> None:
    """One frame that the gate could refuse in some answer, and nothing is proven."""
    assert always_framed(poem, FRAMES)
    assert not always_framed(poem, (*FRAMES, frame))


def test_the_frames_in_the_box_are_proven(poem: Deck) -> None:
    """The template tier of the shipped deck makes nothing that the gate would refuse."""
    template = FrameTemplate(poem)
    assert always_framed(poem, (*template.openings, *template.links, *template.closings))


# Parts of which sentences are made that are harmless alone: telling words cut in two, half a refusal.
RISKY = ("Look", "far", "away", "brass", "telescope", "wedding", "shoe", "13", "holes", "unfortunately", "I cannot", "help", "so it is", "quiet")  # fmt: skip
SENTENCES = st.lists(st.sampled_from(RISKY), min_size=1, max_size=4).map(" ".join)
RISKY_FRAMES = st.lists(
    st.builds("{}{}".format, SENTENCES, st.sampled_from([".", ".", "!", ",", ""])),
    min_size=3,
    max_size=9,
)


@given(RISKY_FRAMES, RISKY_FRAMES, st.integers(0, 1 << 32))
def test_what_is_proven_passes(links: list[str], others: list[str], seed: int) -> None:
    """Whatever frames a deck has: if they are proven, the gate refuses no first attempt."""
    frames = {"openings": others[::2], "links": links, "closings": others[1::2]}
    with tempfile.TemporaryDirectory() as folder:
        deck = museum(Path(folder) / "museum", template=frames)
    template, gate, rng = FrameTemplate(deck), Gate.of(deck), Random(seed)
    if not always_framed(deck, (*template.openings, *template.links, *template.closings)):
        return
    for _ in range(20):
        query = random_play(deck, rng)
        quoted = tuple(phrase.text for phrase in deck.phrases(query))
        made, _ = next(template.attempts(query, 0))
        assert not made or gate.examine(query, made, quoted) is None, made
