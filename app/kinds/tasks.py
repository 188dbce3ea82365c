"""Tasks and drafts: what a provider of answers is handed, and what it gives back.

A `Provider` is handed tasks and gives drafts back, keyed, so that missing, extra and swapped ones are
noticed; `app.kinds.cards.writer` makes one of any model, the composer is one by itself. It does not
judge what was written: that is the gate's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from app.kinds.refusal import Refusal
from app.store.entry import Usage
from app.store.key import Query

# What was wrong with one answer to a task; a task has one for each time that it was asked.
Refusals = tuple[Refusal, ...]


@dataclass(frozen=True)
class Task:
    """One answer to write: a query, which of its variants, and why earlier answers were refused."""

    query: Query
    variant: int = 0
    refusals: tuple[Refusals, ...] = ()

    @cached_property
    def name(self) -> tuple[str, int]:
        """What identifies it: key and variant. Kept, because the key is a hash over the query."""
        return self.query.key, self.variant

    def refused(self, why: Refusals) -> Task:
        """The same task with one more refused answer."""
        return Task(self.query, self.variant, (*self.refusals, why))


class Author(NamedTuple):
    """Who wrote an answer: an entry's source, model and fingerprint."""

    source: str
    model: str
    fingerprint: str


class Draft(NamedTuple):
    """What a provider wrote for a task, before the gate. `author`: None for the provider itself."""

    task: Task
    response: Mapping[str, object]
    author: Author | None = None


class Drafts(NamedTuple):
    """What came back for some tasks: drafts (perhaps fewer), the model that wrote them, the bill.

    `fault` says what is wrong with the reply as a whole (blocked, truncated, unreadable, empty), and
    `reply` is then its text, so that a person can look at it. `lost` are faults of single answers by
    task name: swapped, missing; `strays` counts answers that nobody asked for, or that came twice.
    """

    drafts: tuple[Draft, ...]
    model: str
    usage: Usage | None = None
    fault: str = ""
    lost: Mapping[tuple[str, int], str] | None = None
    strays: int = 0
    reply: str = ""


class Provider(Protocol):
    """Writes answers.

    `name` is the source of its entries; `fingerprint` changes if what it writes from (prompt or
    pieces) changes.
    """

    name: str
    fingerprint: str

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """Drafts for tasks. Raises ProviderRetryError and ProviderStopError."""

    def close(self) -> None:
        """Let go of connections."""
