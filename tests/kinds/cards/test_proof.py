"""The proof that composed answers pass the gate: it holds for the deck in the box, and only there."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.proof import always_passes
from app.kinds.cards.tiers import ComposedTier

FINE = ("風はひとつ坂をのぼる。", "窓の外で朝が始まる。", "灯がともる。")


def test_the_deck_in_the_box_is_proven(poem: Deck) -> None:
    """The composer of the shipped deck makes nothing that the gate would refuse."""
    assert Composer(poem).proven
    assert always_passes(poem, FINE)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        ("printable", "風は\u200bのぼる。"),
        ("paragraphs", "風は\nのぼる。"),
        ("sentence", "う" * 61 + "。"),
        ("forbidden", "最高の朝が来る。"),
        ("address", "あなたの朝が来る。"),
        ("polite", "朝が来ます。"),
        ("showcase", "静謐を纏い、静謐を着る。"),
        ("echo", "タイトルは朝にある。"),
        ("script", "这里的早晨の光。"),
        ("script", "山河風雨天地日月。"),
        ("script", "朝はMorningという。"),
        ("a seam", "朝が来る"),
    ],
)
def test_a_text_that_fails_alone_proves_nothing(poem: Deck, check: str, text: str) -> None:
    """One text that breaks a rule, or does not end as a sentence, is enough to ask the gate again."""
    assert not always_passes(poem, (*FINE, text)), check


def test_a_text_that_quotes_any_phrase_proves_nothing(poem: Deck) -> None:
    """A text that has too much of a phrase in a row would be refused beside that phrase."""
    most = poem.rules.wording
    for card in poem.cards:
        run = card.phrases[0].text[: most + 1]
        assert always_passes(poem, (*FINE, f"ある{run[:most]}。")), run
        assert len(run) <= most or not always_passes(poem, (*FINE, f"ある{run}。")), run


@pytest.mark.parametrize("rule", ["forbidden", "address", "polite", "showcase", "echo"])
def test_a_word_that_can_span_two_texts_proves_nothing(poem: Deck, rule: str) -> None:
    """Where a watched word goes on after a full stop, each text alone does not settle it."""
    changed: dict[str, Any] = {rule: ("る。窓",)}
    rules = poem.rules._replace(**changed)
    assert not always_passes(replace(poem, rules=rules), FINE)


def test_paragraphs_that_the_composer_does_not_make_prove_nothing(poem: Deck) -> None:
    """Five paragraphs, or a hand too small to be halved, are judged answer by answer."""
    rules = poem.rules._replace(paragraphs=(5, 6))
    assert not always_passes(replace(poem, rules=rules), FINE)
    assert not always_passes(replace(poem, hand_size=2), FINE)


def test_an_unproven_deck_is_gated(poem: Deck) -> None:
    """A deck that is not proven has every answer judged: what the gate refuses is not served."""
    theme = poem.themes[0]
    spoilt = [theme._replace(openings=("最高の朝。", *theme.openings)), *poem.themes[1:]]
    deck = replace(poem, themes=tuple(spoilt))
    composer, gate = Composer(deck), Gate.of(deck)
    tier, rng = ComposedTier(deck, gate, composer), Random(3)
    refused = 0
    for _ in range(1500):
        query = random_play(deck, rng)
        made = composer.compose(query)
        assert made
        passed = gate.examine(query, made.response) is None
        assert (tier.answer(query, 0) is not None) == passed
        refused += not passed
    assert refused
