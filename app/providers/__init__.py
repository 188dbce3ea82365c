"""Providers: what writes answers. One module each, behind one protocol.

A provider is handed tasks and gives drafts back, keyed, so that missing, extra and swapped ones are
noticed. It does not judge them: that is the gate's. Client libraries are imported by the provider
that needs them, when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.core.entry import Usage
from app.core.key import Query


@dataclass(frozen=True, slots=True)
class Task:
    """One answer to write: a query, which of its variants, and why it was refused before."""

    query: Query
    variant: int = 0
    refusals: tuple[str, ...] = ()

    @property
    def name(self) -> tuple[str, int]:
        """What identifies it: key and variant."""
        return self.query.key, self.variant


@dataclass(frozen=True, slots=True)
class Draft:
    """What a provider wrote for a task, before the gate."""

    task: Task
    response: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Batch:
    """What came back for some tasks: drafts (perhaps fewer), the model that wrote them, the bill."""

    drafts: tuple[Draft, ...]
    model: str
    usage: Usage | None = None


class Provider(Protocol):
    """Writes answers.

    `name` is the source of its entries, `fingerprint` changes where what it writes from changes
    (prompt or pieces).
    """

    name: str
    fingerprint: str

    def write(self, tasks: Sequence[Task]) -> Batch:
        """Drafts for tasks. Raises ProviderRetryError and ProviderStopError."""

    def close(self) -> None:
        """Let go of connections."""
