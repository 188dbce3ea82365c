"""The tiers of a deck of cards that ask no model: stored, composed and framed answers.

New answers must pass the gate; stored ones passed it when they were cooked.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import NamedTuple

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


# Gives the finished body of an answer to a play, or None if there is none.
Finder = Callable[[Query, int], bytes | None]


class AtOnce:
    """A tier that asks no model: what `find` gives is the answer."""

    slow = False

    def __init__(self, name: str, find: Finder) -> None:
        self.name = name
        self.find = find

    def reply(self, request: Play) -> Generator[str, None, Answer | None]:
        body = self.find(*request)
        return None if body is None else Answer(self.name, body)
        yield  # a generator, as every tier


def at_once(ladder: CardLadder) -> Iterator[AtOnce]:
    """The tiers before the first that asks a model."""
    for tier in ladder.tiers:
        if not isinstance(tier, AtOnce):
            return
        yield tier


def exact_tier(index: IndexSource) -> AtOnce:
    """The stored entry of the play itself."""

    def find(query: Query, variant: int) -> bytes | None:
        now = index()
        return now.get(query.raw_key, variant) if now else None

    return AtOnce("exact", find)


def same_hand_tier(index: IndexSource, radius: int) -> AtOnce:
    """The stored entry of the same cards with the fewest other phrases, within the radius.

    Further variants are the next nearest ones.
    """

    def find(query: Query, variant: int) -> bytes | None:
        now = index()
        if now is None:
            return None
        near = now.nearest(query.raw_hand_key, query.digests, radius)
        if len(near) <= variant:
            return None
        differing, key = near[variant]
        body = now.get(key)
        return None if body is None else same_hand_body(body, len(query.picks) - differing)

    return AtOnce("same_hand", find)


def composed_tier(gate: Gate, composer: Composer) -> AtOnce:
    """A poem assembled from sentences and frames; judged unless everything is proven to pass."""
    author = {"source": compose.SOURCE, "model": compose.MODEL, "tier": "composed"}

    def find(query: Query, variant: int) -> bytes | None:
        made = composer.compose(query, variant)
        if made is None:
            return None
        if not composer.proven and gate.examine(query, made.response) is not None:
            return None
        return made_body(made.response, query, variant, **author)

    return AtOnce("composed", find)


def template_tier(frames: FrameTemplate) -> AtOnce:
    """The phrases of the play in a frame; `FrameTemplate` runs the gate."""
    author = {"source": template.SOURCE, "model": template.MODEL, "tier": "template"}

    def find(query: Query, variant: int) -> bytes | None:
        response = frames.frame(query, variant)
        return None if response is None else made_body(response, query, variant, **author)

    return AtOnce("template", find)


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
    composer, frames = makers or Makers.of(deck)
    tiers: dict[str, Callable[[], CardTier]] = {
        "exact": lambda: exact_tier(index),
        "same_hand": lambda: same_hand_tier(index, radius),
        **({"composed": lambda: composed_tier(Gate.of(deck), composer)} if composer else {}),
        **({"template": lambda: template_tier(frames)} if frames else {}),
        **(models or {}),
    }
    return Ladder(tiers[name]() for name in names if name in tiers)
