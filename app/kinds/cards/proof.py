"""Proof that what is composed passes the gate, so that no request pays for asking it.

The composer minds its answer as a whole: a title of the deck, the length, no showcase word in two
of its texts, no text that tells a card of the hand. Everything else that the gate asks follows from the texts one
by one, where each of them passes alone and nothing that the gate looks for can begin in one text
and end in the next. Both are seen to here, once for a deck.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate, any_of, has_kana, telling
from app.kinds.cards.texts import Texts

_END = "。"


def always_passes(deck: Deck, texts: Sequence[str]) -> bool:
    """Whether the gate would let pass whatever the composer puts together of these texts."""
    return (
        _has_paragraphs(deck)
        and all(text.endswith(_END) and has_kana(text) for text in texts)
        and not any(_END in word[:-1] for word in _looked_for(deck))
        and _pass_alone(deck, texts)
        and not _quotes(_phrases(deck), "\n".join(texts), deck.rules.wording + 1)
    )


def _has_paragraphs(deck: Deck) -> bool:
    """An opening, two halves, a closing, joined where the deck wants fewer; three make halves."""
    return deck.hand_size >= 3 and deck.rules.paragraphs[0] <= 4


def _phrases(deck: Deck) -> list[str]:
    return [phrase.text for card in deck.cards for phrase in card.phrases]


def _looked_for(deck: Deck) -> Iterator[str]:
    """Every word of which the gate asks whether an answer holds it."""
    rules = deck.rules
    yield from itertools.chain(rules.forbidden, rules.polite, rules.address, rules.echo)
    yield from itertools.chain(rules.showcase, _phrases(deck))
    for card in deck.cards:
        yield from telling(card.text, card.tells)[0]


def _pass_alone(deck: Deck, texts: Sequence[str]) -> bool:
    """As lines of one text, for speed: only showcase words may come again in another line."""
    rules = deck.rules._replace(showcase=())
    if any("\n" in text or "\r" in text for text in texts):
        return False
    if Gate.of(replace(deck, rules=rules)).examine_text("\n".join(texts)):
        return False
    shown = any_of(deck.rules.showcase)
    found = Texts(texts).found(shown) if shown else {}
    return all(len(words) == len(set(words)) for words in found.values())


def _quotes(phrases: Sequence[str], text: str, length: int) -> bool:
    """Whether a text has so many characters of a phrase in a row."""
    runs = {run for phrase in phrases for run in _runs(phrase, length)}
    # Such a run holds one whole of the pieces of half its length that the text is cut into.
    half = (length + 1) // 2
    halves = {part for phrase in phrases for part in _runs(phrase, half)}
    return any(
        run in runs
        for at in range(0, len(text), half)
        if text[at : at + half] in halves
        for run in _runs(text[max(0, at + half - length) : at + length], length)
    )


def _runs(text: str, length: int) -> list[str]:
    return [text[at : at + length] for at in range(len(text) - length + 1)]
