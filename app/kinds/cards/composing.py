"""Composing answers from a form's frame, a sentence for each phrase, and endings of the lead.

The query determines the form, the lead (one of the hand's cards), the sentences and the frame, so
that the same play always gets the same answer. The next variant has the next form, and after the
last form again the first, with the next card as its lead. The frame is one of those with which the
answer has the right length.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import xxhash

from app.kinds.cards.choices import Choices
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import Form, Frame, frame_length, linked
from app.kinds.cards.proof import always_passes
from app.store.key import Query

SOURCE = "composer"
MODEL = "composer-4"
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
        self._categories = {card.id: card.category for card in deck.cards}
        self._frames = {
            form.id: [(frame, frame_length(frame, deck.measure)) for frame in form.frames]
            for form in deck.pieces.forms
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

        Raises KeyError if the deck lacks pieces for one of the cards or phrases.
        """
        forms, picks = self._pieces.forms, query.picks
        start = Choices(query.canonical)
        form = forms[(start.below(len(forms)) + variant) % len(forms)]
        lead, _ = picks[(start.below(len(picks)) + variant // len(forms)) % len(picks)]
        choices = Choices(query.canonical + b"#%d" % variant)
        for _ in range(ATTEMPTS):
            if made := self._drawn(form, lead, picks, choices):
                return made
        return None

    def _drawn(
        self, form: Form, lead: str, picks: Sequence[tuple[str, str]], choices: Choices
    ) -> Composition | None:
        """An answer that begins with its lead, or None if no frame gives it the right length."""
        order = sorted(choices.turned(picks), key=lambda pick: pick[0] != lead)
        words = [form.categories.get(self._categories[card], "") for card, _ in order]
        said = [choices.one(self._pieces.phrases[phrase][form.id]) for _, phrase in order]
        own = self._pieces.cards[lead]
        lent = {name: choices.one(texts) for name, texts in own.endings.items()}
        size, (least, most) = self.deck.measure, self.deck.rules.length
        length = sum(map(size, [*words, *said]))
        lengths = {name: size(text) for name, text in lent.items()}
        frames = [
            frame
            for frame, rest in self._frames[form.id]
            if least <= length + rest + sum([lengths[name] for name in frame.endings]) <= most
        ]
        if not frames:
            return None
        frame = choices.one(frames)
        texts = tuple(map(linked, [frame.link] * len(said), words, said))
        return Composition(choices.one(own.titles), _filled(frame, texts, lent), form.id, texts)


def _filled(frame: Frame, sentences: Sequence[str], endings: dict[str, str]) -> str:
    parts = list(frame.parts)
    for at in range(1, len(parts), 2):
        hole = parts[at]
        parts[at] = sentences[int(hole) - 1] if hole.isdigit() else endings[hole]
    return "".join(parts).replace("\n", BREAK)
