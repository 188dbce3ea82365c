"""Tasks and drafts: the input and output of a provider of answers.

Drafts name their tasks, so that missing, surplus and swapped ones are noticed. Providers are the
writers in `app.kinds.cards.writer`, which ask any model, and the composer. They do not judge
drafts: the gate does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from app.kinds.refusal import Refusal
from app.store.entry import Usage
from app.store.key import Query

# Everything that was wrong with one answer to a task.
Refusals = tuple[Refusal, ...]


@dataclass(frozen=True)
class Task:
    """One answer to write: a query, a variant, and the refusals of each earlier answer."""

    query: Query
    variant: int = 0
    refusals: tuple[Refusals, ...] = ()

    @cached_property
    def name(self) -> tuple[str, int]:
        """Key and variant, which identify the task. Cached, because the key is a hash."""
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
    """A provider's answer to a task, not yet judged. `author` is None for the provider itself."""

    task: Task
    response: Mapping[str, object]
    author: Author | None = None


class Drafts(NamedTuple):
    """The reply to some tasks: drafts (perhaps for fewer tasks), the model, the tokens billed.

    `fault` says what is wrong with the reply as a whole (blocked, truncated, unreadable, empty),
    and `reply` is then its text, for a person to look at. `lost` has faults of single answers by
    task name (swapped, missing); `strays` counts answers that were not asked for, or repeated.
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

    `name` is the source of its entries; `fingerprint` changes whenever the prompt or the pieces
    that it writes from change.
    """

    name: str
    fingerprint: str

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """Drafts for tasks. Raises ProviderRetryError and ProviderStopError."""
