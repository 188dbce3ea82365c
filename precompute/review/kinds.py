"""What reviewing asks of a kind of deck: functions of the module of the kind's name in this room."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.settings import Settings
from precompute.review.check import Finding


class Review(Protocol):
    """Says what is there of a deck, and what is wrong with it. `today` is an ISO 8601 date."""

    def check(self, deck: Any) -> Iterator[Finding]:
        """Everything about the deck that loading it did not settle."""

    def summary(self, settings: Settings, deck: Any, today: str) -> Iterator[str]:
        """What `check` says of the deck: one line, and more if there is more to say."""

    def stats(
        self, settings: Settings, deck: Any, today: str, most: int, note: Callable[[str], None]
    ) -> dict[str, Any]:
        """What is known without a server; of the misses, at most so many. `note` is told of faults."""

    def stats_rows(self, told: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
        """The same as rows of a table."""


def review_of(deck: AnyDeck) -> Review:
    """How a deck is reviewed."""
    kind: Any = importlib.import_module(f"precompute.review.{kind_of(deck).room}")
    made: Review = kind
    return made
