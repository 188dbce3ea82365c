"""Composing answers from a frame of an idea and a sentence for each phrase.

Which idea the first answer to a play has follows from the play, and an idea with more frames comes more
often; the next variant has the next idea of the deck, and after as many as there are the first comes again,
in another frame. Frame, sentences and their
order follow from the query, so that the same play always gets the same answer. Sentences that have a rank,
as of the time of day, change places until they are in order. The frame is one of those with which the answer
has the right length: because frames are sorted by their lengths, these are a run of them, and none is looked
at to find it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import xxhash

from app.kinds.cards.choices import Choices
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import Frame, Idea, frame_length
from app.kinds.cards.proof import always_passes
from app.store.key import Query

SOURCE = "composer"
MODEL = "composer-7"
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


class _Sentence(NamedTuple):
    """A sentence with its length, and its place in order (None if it may stand anywhere)."""

    text: str
    length: int
    rank: int | None


class _Idea(NamedTuple):
    """An idea's sentences by phrase, and its frames with their lengths, the shortest first."""

    id: str
    sentences: Mapping[str, tuple[_Sentence, ...]]
    frames: tuple[Frame, ...]
    lengths: tuple[int, ...]

    def fitting(self, least: int, most: int) -> Sequence[Frame]:
        """The frames of at least and at most so many characters."""
        return self.frames[bisect_left(self.lengths, least) : bisect_right(self.lengths, most)]


class Composer:
    """Composes answers for one deck."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self._pieces = deck.pieces
        self._ideas = [_measured(deck, idea) for idea in deck.pieces.ideas]
        # The place of the idea of each frame.
        self._firsts = [place for place, idea in enumerate(self._ideas) for _ in idea.frames]

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
        ideas, canonical = self._ideas, query.canonical
        first, choices = Choices(canonical), Choices(canonical + b"#%d" % variant)
        place = self._firsts[first.below(len(self._firsts))]
        idea = ideas[(place + variant) % len(ideas)]
        least, most = self.deck.rules.length
        for _ in range(ATTEMPTS):
            phrases = [phrase for _, phrase in choices.shuffled(query.picks)]
            said = _in_order([choices.one(idea.sentences[phrase]) for phrase in phrases])
            length = sum([one.length for one in said])
            fitting = idea.fitting(least - length, most - length)
            if fitting:
                frame = fitting[(first.below(len(fitting)) + variant // len(ideas)) % len(fitting)]
                texts = tuple([one.text for one in said])
                return Composition(frame.title, _filled(frame, texts), idea.id, texts)
        return None


def _measured(deck: Deck, idea: Idea) -> _Idea:
    ranks, measure = deck.pieces.ranks, deck.measure
    sentences = {
        phrase: tuple(_Sentence(text, measure(text), ranks.get(text)) for text in by_idea[idea.id])
        for phrase, by_idea in deck.pieces.phrases.items()
        if by_idea.get(idea.id)
    }
    # Sorting is stable: those of the same length stay in the deck's order.
    frames = sorted(idea.frames, key=lambda frame: frame_length(frame, measure))
    lengths = tuple(frame_length(frame, measure) for frame in frames)
    return _Idea(idea.id, sentences, tuple(frames), lengths)


def _in_order(sentences: list[_Sentence]) -> list[_Sentence]:
    """The sentences, those with a rank in the order of their ranks; the others keep their places."""
    ranked = [one for one in sentences if one.rank is not None]
    if len(ranked) < 2:
        return sentences
    ranked.sort(key=lambda one: one.rank or 0)
    in_order = iter(ranked)
    return [one if one.rank is None else next(in_order) for one in sentences]


def _filled(frame: Frame, sentences: Sequence[str]) -> str:
    parts = [frame.texts[0]]
    for hole, text in zip(frame.holes, frame.texts[1:], strict=True):
        parts += (sentences[hole], text)
    return "".join(parts).replace("\n", BREAK)
