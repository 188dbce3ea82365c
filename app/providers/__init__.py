"""Providers: what writes answers. One module each, behind two protocols.

A `Model` completes a prompt: gemini, gemini-legacy, ollama, openai. A `Provider` is handed tasks and
gives drafts back, keyed, so that missing, extra and swapped ones are noticed; `app.kinds.cards.writer`
makes one of any model, the composer is one by itself. Neither judges what was written: that is the
gate's. Client libraries are imported by the model that needs them, when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from app.store.entry import Usage
from app.store.key import Query


@dataclass(frozen=True)
class Task:
    """One answer to write: a query, which of its variants, and why it was refused before."""

    query: Query
    variant: int = 0
    refusals: tuple[str, ...] = ()

    @cached_property
    def name(self) -> tuple[str, int]:
        """What identifies it: key and variant. Kept, for the key is a hash over the whole query."""
        return self.query.key, self.variant


class Draft(NamedTuple):
    """What a provider wrote for a task, before the gate."""

    task: Task
    response: Mapping[str, object]


class Batch(NamedTuple):
    """What came back for some tasks: drafts (perhaps fewer), the model that wrote them, the bill.

    `fault` says what is wrong with the reply as a whole: blocked, truncated, unreadable, empty.
    `lost` are faults of single answers by task name: swapped, missing; `strays` counts answers that
    nobody asked for, and ones that came twice.
    """

    drafts: tuple[Draft, ...]
    model: str
    usage: Usage | None = None
    fault: str = ""
    lost: Mapping[tuple[str, int], str] | None = None
    strays: int = 0


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


class Prompt(NamedTuple):
    """What a model is asked.

    `fixed` is the same in every request of a run and can be cached by the service, `asked` is the
    rest, `schema` the JSON schema of the reply, `most_tokens` how long the reply may be.
    """

    fixed: str
    asked: str
    schema: Mapping[str, Any]
    most_tokens: int


class Completion(NamedTuple):
    """What a model wrote. `fault` is empty where the reply is whole, else blocked, truncated, empty."""

    text: str
    model: str
    usage: Usage | None = None
    fault: str = ""


class Model(Protocol):
    """Completes prompts.

    `name` is the provider's name, `model` the model that is asked for. Safe to call from several
    threads.
    """

    name: str
    model: str

    def complete(self, prompt: Prompt) -> Completion:
        """The model's reply. Raises ProviderRetryError and ProviderStopError."""

    def close(self) -> None:
        """Let go of connections."""
