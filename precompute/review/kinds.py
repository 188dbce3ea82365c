"""The interface of the modules here that check a kind of deck and give its figures."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.settings import Settings
from app.store.entry import Entry
from precompute.cook.report import counts
from precompute.review.check import Finding


class Shown(NamedTuple):
    """What was asked, as labels and texts, and the texts of the answer, which can be edited, by name.

    `length` is the answer's, in the unit of its gate.
    """

    asked: tuple[tuple[str, str], ...]
    texts: Mapping[str, str]
    length: int


class Review(Protocol):
    """The functions of a kind's module. `today` is an ISO 8601 date."""

    def check(self, deck: Any) -> Iterator[Finding]:
        """Everything that loading a deck does not check."""

    def summary(self, settings: Settings, deck: Any, today: str) -> Iterator[str]:
        """The lines about a deck that `precompute check` prints."""

    def stats(
        self, settings: Settings, deck: Any, today: str, most: int, note: Callable[[str], None]
    ) -> dict[str, Any]:
        """The figures of a deck, with the `most` frequent misses; `note` gets faults."""

    def shown(self, deck: Any, entry: Entry) -> Shown:
        """An entry as a reviewer reads it. Raises KeyError if the deck lacks its ids."""

    def choices(self, deck: Any) -> Mapping[str, Sequence[str]]:
        """By the name of a text, what it may be, if the deck has a list."""

    def edited(self, response: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
        """A response with other texts, of those that `shown` names."""

    def stats_rows(self, figures: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
        """The figures as rows of a table."""


def with_texts(response: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, str]:
    """A response with other texts: `Review.edited` of kinds whose texts are members of a response."""
    return {**response, **texts}


def entry_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The rows of `stats` about a store: entries by source, cost, decisions."""
    yield "entries", f"{figures['entries']:,} ({counts(figures['by_source'])})"
    if spent := figures.get("spent_usd"):
        yield "spent on cooking", f"{spent:.4f} USD"
    yield from reviewed_rows(figures)


def reviewed_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The rows of `stats` about what reviewers decided, if they decided anything."""
    if figures["reviewed"] or figures["held"]:
        yield (
            "reviewed",
            f"{figures['reviewed']:,} approved or edited, {figures['held']:,} not served",
        )


def review_of(deck: AnyDeck) -> Review:
    """The module for a deck's kind."""
    kind: Any = importlib.import_module(f"precompute.review.{kind_of(deck).room}")
    made: Review = kind
    return made
