"""The interface of a kind of deck. The kinds are listed in `app.kinds.decks`.

A kind is a package here (`cards`, `chat`, `prompts`) whose module `kind` implements `Kind`, with
modules of the package's name in `precompute/cook` and `precompute/review`. These are found by name,
because `app` does not import `precompute`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from app.kinds.refusal import Refusal
from app.store.index_writer import IndexedDeck
from app.store.key import Query

if TYPE_CHECKING:
    from app.kinds.served_models import ServedModels
    from app.ledger.counters import Counters
    from app.ledger.state import State
    from app.settings import Settings
    from app.store.holder import IndexHolder


class AnyDeck(IndexedDeck, Protocol):
    """The members of every deck. `kind` is the name in the deck's file."""

    @property
    def kind(self) -> str:
        """The name of its kind in the table of kinds."""

    @property
    def name(self) -> str:
        """The name that people see."""

    @property
    def folder(self) -> Path | None:
        """The folder from which it was read."""


class AnyGate(Protocol):
    """The checks that answers must pass, while cooking and while serving."""

    def examine(self, query: Query, response: Mapping[str, object]) -> Refusal | None:
        """The first refusal, None if there is none. Raises KeyError if the deck lacks the ids."""


class Serving(NamedTuple):
    """What the decks of a worker share. `clock` and `timer` give seconds, `now` UTC in ISO 8601.

    `run` names the run of the server, which its workers share. `sleep` waits for some seconds, or until
    the worker is stopped.
    """

    settings: Settings
    state: State
    counters: Counters
    models: ServedModels
    clock: Callable[[], float]
    timer: Callable[[], float]
    now: Callable[[], str]
    rng: Random
    run: str = ""
    sleep: Callable[[float], object] = time.sleep


class Served(Protocol):
    """A deck as a worker serves it."""

    index: IndexHolder

    @property
    def deck(self) -> AnyDeck:
        """The deck."""

    @property
    def body(self) -> bytes:
        """The body of `GET /api/decks/<deck>`."""

    def health(self) -> dict[str, Any]:
        """What `/healthz` says of it."""

    def figures(self) -> dict[str, Any]:
        """What `/stats` says of it."""


# Serves a deck in a worker.
Server = Callable[[Serving], Served]
DeckT = TypeVar("DeckT", bound=AnyDeck)


class Kind(Protocol[DeckT]):
    """A kind of deck. `room` is the name of its package, and of its modules in `precompute`."""

    room: str

    def load(self, folder: Path) -> DeckT:
        """Read and check a deck. Raises DeckError."""

    def gate(self, deck: DeckT) -> AnyGate:
        """The deck's gate."""

    def prepare(self, deck: DeckT) -> Server:
        """What serves the deck; what workers can share is made now, before they are forked."""
