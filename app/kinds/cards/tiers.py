"""The tiers of a deck of cards that answer at once: stored, composed, framed.

Whatever a tier makes up goes through the gate; what is stored went through it when it was cooked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import NamedTuple, Protocol

from app.kinds.cards import composing as compose
from app.kinds.cards import template
from app.kinds.cards.composing import Composer
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.template import Template
from app.kinds.ladder import Ladder, Tier
from app.store.answer import Answer, made_body, same_hand_body
from app.store.index import IndexSource
from app.store.key import Query


class Asked(NamedTuple):
    """What is asked of the ladder: a play, and which of its answers."""

    query: Query
    variant: int = 0


CardTier = Tier[Asked, Answer]
CardLadder = Ladder[Asked, Answer]


class Source(Protocol):
    """What answers at once: a finished body, or None to pass."""

    name: str

    def answer(self, query: Query, variant: int) -> bytes | None:
        """The finished body, or None to pass."""


class AtOnce:
    """The tier of a source that answers at once."""

    slow = False

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._source = source

    def reply(self, request: Asked) -> Generator[str, None, Answer | None]:
        """The source's answer; no pieces."""
        body = self._source.answer(*request)
        return None if body is None else Answer(self.name, body)
        yield  # a generator, as every tier


class ExactTier:
    """The entry for just this key."""

    name = "exact"

    def __init__(self, index: IndexSource) -> None:
        self._index = index

    def answer(self, query: Query, variant: int) -> bytes | None:
        """One lookup."""
        index = self._index()
        return index.get(query.raw_key, variant) if index else None


class SameHandTier:
    """The stored entry of the same cards that is nearest in phrases, within the radius."""

    name = "same_hand"

    def __init__(self, index: IndexSource, radius: int) -> None:
        self._index = index
        self._radius = radius

    def answer(self, query: Query, variant: int) -> bytes | None:
        """Two lookups: the entries of the hand, then the nearest. Variants go through the rest."""
        index = self._index()
        if index is None:
            return None
        near = index.nearest(query.raw_hand_key, query.digests, self._radius)
        if len(near) <= variant:
            return None
        differing, key = near[variant]
        body = index.get(key)
        return None if body is None else same_hand_body(body, len(query.picks) - differing)


class ComposedTier:
    """A poem assembled from sentences and frames."""

    name = "composed"

    def __init__(self, deck: Deck, gate: Gate, composer: Composer | None) -> None:
        self._deck = deck
        self._gate = gate
        self._composer = composer

    def answer(self, query: Query, variant: int) -> bytes | None:
        """Composed and gated, where the gate is not proven to let it pass."""
        if self._composer is None:
            return None
        made = self._composer.compose(query, variant)
        if made is None:
            return None
        # What is proven of all that the composer makes needs not be asked of each answer.
        if not self._composer.proven and self._gate.examine(query, made.response) is not None:
            return None
        return made_body(
            made.response,
            deck=self._deck.id,
            key=query.key,
            variant=variant,
            source=compose.SOURCE,
            model=compose.MODEL,
            tier=self.name,
        )


class TemplateTier:
    """The phrases themselves, framed."""

    name = "template"

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._template = Template(deck)

    def answer(self, query: Query, variant: int) -> bytes | None:
        """Framed; the gate is asked within."""
        response = self._template.frame(query, variant)
        if response is None:
            return None
        return made_body(
            response,
            deck=self._deck.id,
            key=query.key,
            variant=variant,
            source=template.SOURCE,
            model=template.MODEL,
            tier=self.name,
        )


def build_ladder(
    deck: Deck,
    names: Iterable[str],
    index: IndexSource,
    radius: int,
    composer: Composer | None = None,
    models: Mapping[str, Callable[[], CardTier]] | None = None,
) -> CardLadder:
    """The ladder that the settings ask for.

    `composer`: the deck's, if it was made beforehand. `models` make the tiers that ask a model;
    without them the ladder does without.
    """
    gate = Gate.of(deck)
    if composer is None and deck.composable:
        composer = Composer(deck)
    makers: dict[str, Callable[[], CardTier]] = {
        "exact": lambda: AtOnce(ExactTier(index)),
        "same_hand": lambda: AtOnce(SameHandTier(index, radius)),
        "composed": lambda: AtOnce(ComposedTier(deck, gate, composer)),
        "template": lambda: AtOnce(TemplateTier(deck)),
        **(models or {}),
    }
    return Ladder(makers[name]() for name in names if name in makers)
