"""Composing answers from a frame of an idea and a sentence for each phrase.

The first answer to a play has the deck's first idea, the next variant the next one, and after the last
one again the first, in another frame. Frame, sentences and their order follow from the query, so that the
same play always gets the same answer. Sentences that have a rank, as of the time of day, change places
until they are in order. The frame is one of those with which the answer has the right length.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import xxhash

from app.kinds.cards.choices import Choices
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import Frame, frame_length
from app.kinds.cards.proof import always_passes
from app.store.key import Query

SOURCE = "composer"
MODEL = "composer-5"
BREAK = "\n\n"
# Attempts to draw sentences and find a frame; if the deck is proven, the first always succeeds.
ATTEMPTS = 16


class Composition(NamedTuple):
    """A composed answer, its idea, and its sentences in order."""

    title: str
    poem: str
    idea: str
    sentences: tuple[str, ...]

    @property
    def response(self) -> dict[str, str]:
        return {"title": self.title, "poem": self.poem}


class Composer:
    """Composes answers for one deck."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self._pieces = deck.pieces
        self._frames = {
            idea.id: [(frame, frame_length(frame, deck.measure)) for frame in idea.frames]
            for idea in deck.pieces.ideas
        }

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

        Raises KeyError if the deck lacks sentences for one of the phrases.
        """
        ideas = self._pieces.ideas
        further, place = divmod(variant, len(ideas))
        idea, first = ideas[place].id, Choices(query.canonical)
        choices = Choices(query.canonical + b"#%d" % variant)
        least, most = self.deck.rules.length
        for _ in range(ATTEMPTS):
            phrases = [phrase for _, phrase in choices.shuffled(query.picks)]
            said = self._in_order(
                [choices.one(self._pieces.phrases[phrase][idea]) for phrase in phrases]
            )
            length = sum(map(self.deck.measure, said))
            fitting = [f for f, own in self._frames[idea] if least <= length + own <= most]
            if fitting:
                frame = fitting[(first.below(len(fitting)) + further) % len(fitting)]
                return Composition(frame.title, _filled(frame, said), idea, said)
        return None

    def _in_order(self, sentences: Sequence[str]) -> tuple[str, ...]:
        """The sentences, those with a rank in the order of their ranks; the others keep their places."""
        ranks = self._pieces.ranks
        ranked = iter(sorted([text for text in sentences if text in ranks], key=ranks.__getitem__))
        return tuple([next(ranked) if text in ranks else text for text in sentences])


def _filled(frame: Frame, sentences: Sequence[str]) -> str:
    parts = [frame.texts[0]]
    for hole, text in zip(frame.holes, frame.texts[1:], strict=True):
        parts += (sentences[hole], text)
    return "".join(parts).replace("\n", BREAK)
