"""The ladder: tiers asked in order, the first that has an answer gives it.

A tier says what it is called and answers a query or passes. Whatever a tier makes up goes through
the gate; what is stored went through it when it was cooked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from app.kinds.cards import composing as compose
from app.kinds.cards import template
from app.kinds.cards.composing import Composer
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.template import Template
from app.store.answer import Answer, made_body, same_hand_body
from app.store.index import IndexReader
from app.store.key import Query

# Gives the index in force, or None where there is none: it may be replaced while we serve.
IndexSource = Callable[[], IndexReader | None]


class Tier(Protocol):
    """One step of the ladder."""

    name: str

    def answer(self, query: Query, variant: int) -> bytes | None:
        """The finished body, or None to pass."""


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


class Ladder:
    """The tiers of one deck, in order."""

    def __init__(self, tiers: Iterable[Tier]) -> None:
        self.tiers = tuple(tiers)

    def answer(self, query: Query, variant: int = 0) -> Answer | None:
        """The first answer, with the tier that gave it; None where every tier passes."""
        for tier in self.tiers:
            body = tier.answer(query, variant)
            if body is not None:
                return Answer(tier.name, body)
        return None


def build_ladder(
    deck: Deck,
    names: Iterable[str],
    index: IndexSource,
    radius: int,
    composer: Composer | None = None,
) -> Ladder:
    """The ladder that the settings ask for. `composer`: the deck's, where it was made beforehand."""
    gate = Gate.of(deck)
    if composer is None and deck.composable:
        composer = Composer(deck)
    makers: dict[str, Callable[[], Tier]] = {
        "exact": lambda: ExactTier(index),
        "same_hand": lambda: SameHandTier(index, radius),
        "composed": lambda: ComposedTier(deck, gate, composer),
        "template": lambda: TemplateTier(deck),
    }
    return Ladder(makers[name]() for name in names)
