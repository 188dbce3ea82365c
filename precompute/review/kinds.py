"""The interface of the modules here that check a kind of deck and give its figures."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.settings import Settings
from precompute.review.check import Finding


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

    def stats_rows(self, figures: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
        """The figures as rows of a table."""


def review_of(deck: AnyDeck) -> Review:
    """The module for a deck's kind."""
    kind: Any = importlib.import_module(f"precompute.review.{kind_of(deck).room}")
    made: Review = kind
    return made
