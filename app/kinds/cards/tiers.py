"""The tiers of a deck of cards that ask no model: stored, composed and framed answers.

New answers must pass the gate; stored ones passed it when they were cooked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from app.kinds.cards import composing as compose
from app.kinds.cards import template
from app.kinds.cards.composing import Composer
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.plays import Play
from app.kinds.cards.template import FrameTemplate
from app.kinds.ladder import Ladder, Tier
from app.store.answer import Answer, made_body, same_hand_body
from app.store.index import IndexSource
from app.store.key import Query

CardTier = Tier[Play, Answer]
CardLadder = Ladder[Play, Answer]


class Source(Protocol):
    """Answers without a model."""

    name: str

    def answer(self, query: Query, variant: int) -> bytes | None:
        """The finished body, or None if there is none."""


class AtOnce:
    """The tier of a source that asks no model."""

    slow = False

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.source = source

    def reply(self, request: Play) -> Generator[str, None, Answer | None]:
        """The source's answer, without pieces."""
        body = self.source.answer(*request)
        return None if body is None else Answer(self.name, body)
        yield  # a generator, as every tier


def at_once(ladder: CardLadder) -> Iterator[Source]:
    """The sources of the tiers before the first that asks a model."""
    for tier in ladder.tiers:
        if not isinstance(tier, AtOnce):
            return
        yield tier.source


class ExactTier:
    """The stored entry of the play itself."""

    name = "exact"

    def __init__(self, index: IndexSource) -> None:
        self._index = index

    def answer(self, query: Query, variant: int) -> bytes | None:
        """Look the entry up."""
        index = self._index()
        return index.get(query.raw_key, variant) if index else None


class SameHandTier:
    """The stored entry of the same cards with the fewest other phrases, within the radius."""

    name = "same_hand"

    def __init__(self, index: IndexSource, radius: int) -> None:
        self._index = index
        self._radius = radius

    def answer(self, query: Query, variant: int) -> bytes | None:
        """Look up the hand's entries, then the nearest one; further variants are the next ones."""
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

    def __init__(self, deck: Deck, gate: Gate, composer: Composer) -> None:
        self._deck = deck
        self._gate = gate
        self._composer = composer

    def answer(self, query: Query, variant: int) -> bytes | None:
        """Compose a poem, and run the gate unless it is proven to pass."""
        made = self._composer.compose(query, variant)
        if made is None:
            return None
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
    """The phrases of the play in a frame."""

    name = "template"

    def __init__(self, deck: Deck, template: FrameTemplate) -> None:
        self._deck = deck
        self._template = template

    def answer(self, query: Query, variant: int) -> bytes | None:
        """Frame the phrases; `FrameTemplate` runs the gate."""
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


class Makers(NamedTuple):
    """What makes answers of a deck's pieces and frames; None if the deck lacks them."""

    composer: Composer | None
    template: FrameTemplate | None

    @classmethod
    def of(cls, deck: Deck) -> Makers:
        return cls(
            Composer(deck) if deck.composable else None,
            FrameTemplate(deck) if deck.template else None,
        )


def build_ladder(
    deck: Deck,
    names: Iterable[str],
    index: IndexSource,
    radius: int,
    makers: Makers | None = None,
    models: Mapping[str, Callable[[], CardTier]] | None = None,
) -> CardLadder:
    """The ladder with the tiers in `names`, without those for which the deck lacks pieces or frames.

    `makers` are the deck's, if they were made before. `models` make the tiers that ask a model; those
    that it lacks are left out.
    """
    gate = Gate.of(deck)
    composer, template = makers or Makers.of(deck)
    tiers: dict[str, Callable[[], CardTier]] = {
        "exact": lambda: AtOnce(ExactTier(index)),
        "same_hand": lambda: AtOnce(SameHandTier(index, radius)),
        **({"composed": lambda: AtOnce(ComposedTier(deck, gate, composer))} if composer else {}),
        **({"template": lambda: AtOnce(TemplateTier(deck, template))} if template else {}),
        **(models or {}),
    }
    return Ladder(tiers[name]() for name in names if name in tiers)
