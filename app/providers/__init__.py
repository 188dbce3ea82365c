"""Providers: what asks a model. One module for each, behind one protocol.

A `Model` completes a prompt: gemini, gemini-legacy, ollama, openai. Client libraries are imported by
the model that needs them, when it is made. All of them read replies through `app.providers.replies`,
turn errors into ours through `app.providers.faults`, and travel by `app.providers.transport`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from app.store.entry import Usage


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
    """What a model wrote. `fault` is empty if the reply is whole, else blocked, truncated or empty."""

    text: str
    model: str
    usage: Usage | None = None
    fault: str = ""


class Model(Protocol):
    """Completes prompts.

    `name` is the provider's name, `model` the model that is asked for. Safe to call from several
    threads, which share one HTTP client; it keeps a connection for each that asks at the same time.
    """

    name: str
    model: str

    def complete(self, prompt: Prompt) -> Completion:
        """The model's reply. Raises ProviderRetryError and ProviderStopError."""

    def close(self) -> None:
        """Close the connections."""
