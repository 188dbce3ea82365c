"""Composing answers from a form's frame, a sentence for each phrase, and endings of the lead.

The query determines the lead (one of the hand's cards), the sentences and the frame, so that the
same play always gets the same answer. It has the deck's first form; the next variant has the next
form, and after the last form again the first, with the next card as its lead. Of the frames, in
the order drawn, the first with which the answer has the right length is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import xxhash

from app.kinds.cards.choices import Choices
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import Form, Frame, frame_length
from app.kinds.cards.proof import always_passes
from app.store.key import Query

SOURCE = "composer"
MODEL = "composer-3"
BREAK = "\n\n"
# Attempts to draw sentences and find a frame; if the deck is proven, the first always succeeds.
ATTEMPTS = 16


class Composition(NamedTuple):
    """A composed answer, its form, and its sentences in order."""

    title: str
    poem: str
    form: str
    sentences: tuple[str, ...]

    @property
    def response(self) -> dict[str, str]:
        return {"title": self.title, "poem": self.poem}


class Composer:
    """Composes answers for one deck."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self._pieces = deck.pieces

    @property
    def fingerprint(self) -> str:
        """A hash over all pieces, by which stale entries are found."""
        return f"composer:{xxhash.xxh3_64_hexdigest(repr(self._pieces).encode())}"

    @cached_property
    def proven(self) -> bool:
        """Whether the gate passes everything that can be composed."""
        return always_passes(self.deck)

    def compose(self, query: Query, variant: int = 0) -> Composition | None:
        """The answer to a play, or None if no frame gives it the right length.

        Raises KeyError if the deck lacks pieces for one of the cards or phrases.
        """
        forms, picks = self._pieces.forms, query.picks
        further, at = divmod(variant, len(forms))
        first = (Choices(query.canonical).below(len(picks)) + further) % len(picks)
        choices = Choices(query.canonical + b"#%d" % variant)
        for _ in range(ATTEMPTS):
            if made := self._drawn(forms[at], [*picks[first:], *picks[:first]], choices):
                return made
        return None

    def _drawn(
        self, form: Form, picks: Sequence[tuple[str, str]], choices: Choices
    ) -> Composition | None:
        """An answer whose lead is the first card; its sentences stand in the order of places."""
        own = self._pieces.cards[picks[0][0]]
        phrases = self._pieces.phrases
        said = [choices.one(phrases[phrase][form.id]) for _, phrase in picks]
        texts = [sentence.text for sentence in sorted(said, key=lambda one: one.place)]
        lent = {name: choices.one(endings) for name, endings in own.endings.items()}
        size, (least, most) = self.deck.measure, self.deck.rules.length
        length = sum([size(text) for text in texts])
        for frame in choices.turned(form.frames):
            rest = frame_length(frame, size) + sum([size(lent[name]) for name in frame.endings])
            if least <= length + rest <= most:
                poem = _filled(frame, texts, lent)
                return Composition(choices.one(own.titles), poem, form.id, tuple(texts))
        return None


def _filled(frame: Frame, sentences: Sequence[str], endings: dict[str, str]) -> str:
    parts = list(frame.parts)
    for at in range(1, len(parts), 2):
        hole = parts[at]
        parts[at] = sentences[int(hole) - 1] if hole.isdigit() else endings[hole]
    return "".join(parts).replace("\n", BREAK)
