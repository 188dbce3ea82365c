"""Composing answers from a form's frame, a sentence for each phrase, and endings of the lead.

The query determines the form, the lead (one of the hand's cards), the sentences and the frame, so
that the same play always gets the same answer; the next variant has the next form. Of the frames,
in the order drawn, the first with which the answer has the right length is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import xxhash

from app.kinds.cards.choices import Choices
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import Form, Frame, Sentence, frame_length, linked
from app.kinds.cards.proof import always_passes
from app.store.key import Query

SOURCE = "composer"
MODEL = "composer-2"
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


class _Said(NamedTuple):
    """A sentence with its card and its word."""

    card: str
    sentence: Sentence
    word: str = ""


class Composer:
    """Composes answers for one deck."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self._pieces = deck.pieces
        self._categories = {card.id: card.category for card in deck.cards}

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
        forms = self._pieces.forms
        form = forms[(Choices(query.canonical).below(len(forms)) + variant) % len(forms)]
        choices = Choices(query.canonical + b"#%d" % variant)
        for _ in range(ATTEMPTS):
            if made := self._drawn(form, query, choices):
                return made
        return None

    def _drawn(self, form: Form, query: Query, choices: Choices) -> Composition | None:
        lead, _ = choices.one(query.picks)
        phrases = self._pieces.phrases
        said = [_Said(c, choices.one(phrases[p][form.id])) for c, p in choices.turned(query.picks)]
        said = self._placed(form, said) if form.places else self._led(form, said, lead)
        own = self._pieces.cards[lead]
        lent = {name: choices.one(texts) for name, texts in own.endings.items()}
        size, (least, most) = self.deck.measure, self.deck.rules.length
        length = sum([size(one.word) + size(one.sentence.text) for one in said])
        for frame in choices.turned(form.frames):
            rest = frame_length(frame, size) + sum([size(lent[name]) for name in frame.endings])
            if least <= length + rest <= most:
                texts = tuple([linked(frame.link, one.word, one.sentence) for one in said])
                return Composition(
                    choices.one(own.titles), _filled(frame, texts, lent), form.id, texts
                )
        return None

    def _placed(self, form: Form, said: list[_Said]) -> list[_Said]:
        """The sentences in the order of their places, each with one of the words of its place."""
        placed = sorted(said, key=lambda one: one.sentence.place)
        numbers = [one.sentence.place for one in placed]
        return [
            one._replace(
                word=_word(form, number, numbers[:at].count(number), numbers.count(number))
            )
            for at, (one, number) in enumerate(zip(placed, numbers, strict=True))
        ]

    def _led(self, form: Form, said: list[_Said], lead: str) -> list[_Said]:
        """The sentences with the lead's first, each with the word of its card's category."""
        order = sorted(said, key=lambda one: one.card != lead)
        if not form.categories:
            return order
        return [one._replace(word=form.categories[self._categories[one.card]]) for one in order]


def _word(form: Form, place: int, before: int, count: int) -> str:
    """The word for a sentence that comes after `before` others, of `count` in the same place."""
    words = form.places[place - 1]
    return words[(2 * before + 1) * len(words) // (2 * count)]


def _filled(frame: Frame, sentences: Sequence[str], endings: dict[str, str]) -> str:
    parts = list(frame.parts)
    for at in range(1, len(parts), 2):
        hole = parts[at]
        parts[at] = sentences[int(hole) - 1] if hole.isdigit() else endings[hole]
    return "".join(parts).replace("\n", BREAK)
