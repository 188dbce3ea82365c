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
from app.kinds.cards.pieces import Form, Frame, Pieces, frame_length, split_frame
from app.kinds.cards.proof import always_framed, always_passes, spanned, texts_pass
from app.kinds.cards.template import FrameTemplate
from app.kinds.cards.tiers import composed_tier
from tests.making import museum

FINE = ("風はひとつ坂をのぼる。", "窓の外で朝が始まる。", "灯がともる。")


def with_sentence(deck: Deck, text: str) -> Deck:
    """The deck, with another first sentence of its first phrase in its first form."""
    form, phrase = deck.pieces.forms[0].id, deck.cards[0].phrases[0].id
    own = deck.pieces.phrases[phrase]
    changed = {**own, form: (text, *own[form][1:])}
    return with_pieces(deck, phrases={**deck.pieces.phrases, phrase: changed})


def with_frame(deck: Deck, change: Callable[[Frame], Frame]) -> Deck:
    """The deck, with its first frame changed."""
    first, *others = deck.pieces.forms
    frames = (change(first.frames[0]), *first.frames[1:])
    return with_pieces(deck, forms=(first._replace(frames=frames), *others))


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
    """A sentence too long for every frame, or a form with one frame, is judged."""
    assert not always_passes(with_sentence(poem, "灯がともる。" * 20))
    first, *others = poem.pieces.forms
    longest = max(first.frames, key=lambda frame: frame_length(frame, len))
    alone: Form = first._replace(frames=(longest,))
    assert not always_passes(with_pieces(poem, forms=(alone, *others)))


def test_a_frame_with_other_paragraphs_proves_nothing(poem: Deck) -> None:
    """A frame of two paragraphs, where the deck wants three or four."""

    def joined(frame: Frame) -> Frame:
        return frame._replace(parts=tuple(part.replace("\n", "") for part in frame.parts))

    assert not always_passes(with_frame(poem, joined))


def test_a_word_that_spans_two_texts_proves_nothing(poem: Deck) -> None:
    """A word that begins in a frame and ends in an ending is found, and so is one after a link."""
    rules = poem.rules
    ending = next(iter(poem.pieces.cards.values())).endings["visit"][0]
    frame = next(
        frame
        for form in poem.pieces.forms
        for frame in form.frames
        if "visit" in frame.endings
        and frame.parts[frame.parts.index("visit") - 1]
        and not frame.parts[frame.parts.index("visit") - 1].endswith(("。", "\n"))
    )
    before = frame.parts[frame.parts.index("visit") - 1]
    over_ending = before[-1] + ending[:2]
    sentence = next(iter(poem.pieces.phrases.values()))[poem.pieces.forms[0].id][0]

    def leading(frame: Frame) -> Frame:
        return frame._replace(link="{word}は五、")

    linked = with_frame(poem, leading)
    assert always_passes(linked)
    for deck, word in ((poem, over_ending), (linked, "、" + sentence[:2])):
        spoilt = replace(deck, rules=rules._replace(echo=(*rules.echo, word)))
        assert word in spanned(spoilt)
        assert not always_passes(spoilt)


def test_a_phrase_quoted_over_a_seam_proves_nothing(poem: Deck) -> None:
    """Half of it at the end of a frame's own words, half at the beginning of an ending."""
    card = poem.cards[0]
    phrase = next(p.text for p in card.phrases if len(p.text) > poem.rules.wording)
    half = (poem.rules.wording + 1) // 2 + 1
    own = poem.pieces.cards[card.id]
    changed = own._replace(endings={**own.endings, "visit": (phrase[half : 2 * half],)})

    def quoting(frame: Frame) -> Frame:
        text = "".join(f"{{{n}}}" for n in range(1, poem.hand_size + 1))
        return split_frame(f"灯。\n{text}\n{phrase[:half]}{{visit}}来る。", frame.link)

    deck = with_frame(poem, quoting)
    assert "a phrase" not in spanned(deck)
    deck = with_pieces(deck, cards={**deck.pieces.cards, card.id: changed})
    assert "a phrase" in spanned(deck)


def test_an_unproven_deck_is_gated(poem: Deck) -> None:
    """A deck that is not proven has every answer judged: what the gate refuses is not served."""

    def spoilt(frame: Frame) -> Frame:
        return frame._replace(parts=("最高の朝。" + frame.parts[0], *frame.parts[1:]))

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
