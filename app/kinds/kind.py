"""What a kind of deck is. The kinds are listed in `app.kinds.decks`.

A kind is a package here (`cards`, `chat`) with a class that fulfils `Kind` in its module `kind`, and
modules of the package's name in `precompute/cook` and `precompute/review`: what runs before the
event is found by that name, because nothing here imports `precompute`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from app.kinds.refusal import Refusal
from app.store.index import IndexedDeck
from app.store.key import Query


class AnyDeck(IndexedDeck, Protocol):
    """What every deck has. `kind` is what its file says."""

    @property
    def kind(self) -> str:
        """The name of its kind in the table of kinds."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def folder(self) -> Path | None:
        """Where it was read from."""


class AnyGate(Protocol):
    """What every answer must pass, while cooking and while serving."""

    def examine(self, query: Query, response: Mapping[str, object]) -> Refusal | None:
        """The first refusal. Raises KeyError if the deck does not have what was asked for."""


DeckT = TypeVar("DeckT", bound=AnyDeck)


class Kind(Protocol[DeckT]):
    """A kind of deck. `room` is the name of its package, and of its modules in `precompute`."""

    room: str

    def load(self, folder: Path) -> DeckT:
        """Read and check a deck. Raises DeckError, naming file, place and fault."""

    def gate(self, deck: DeckT) -> AnyGate:
        """The deck's gate."""
