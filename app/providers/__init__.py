"""Clients of language models: gemini, gemini-legacy, ollama, openai; one module for each.

Each imports its client library when it is made. All of them parse replies with
`app.providers.replies`, translate errors with `app.providers.faults`, and send requests through
`app.providers.transport`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from app.store.entry import Usage


class ModelName(NamedTuple):
    """A model of a provider; `model` may be empty for openai: the first that the server lists."""

    provider: str
    model: str

    def __str__(self) -> str:
        return self.model or self.provider


class CloudModels(NamedTuple):
    """The models of the cloud tier: for ordinary requests, and for important messages."""

    cheap: ModelName
    strong: ModelName


class Prompt(NamedTuple):
    """A prompt and the form of its reply.

    `fixed` is the same in every request of a run and can be cached by the service, `asked` is the
    rest, `schema` the JSON schema of the reply, `most_tokens` the maximal length of the reply.
    """

    fixed: str
    asked: str
    schema: Mapping[str, Any]
    most_tokens: int


class Completion(NamedTuple):
    """A model's reply. `fault` is blocked, truncated or empty, or "" if the reply is complete."""

    text: str
    model: str
    usage: Usage | None = None
    fault: str = ""


class Model(Protocol):
    """Completes prompts.

    `name` is the provider's, `model` the model that requests name. Safe to call from several
    threads, which share one HTTP client; it keeps a connection for each concurrent request.
    """

    name: str
    model: str

    def complete(self, prompt: Prompt) -> Completion:
        """The model's reply. Raises ProviderRetryError and ProviderStopError."""

    def close(self) -> None:
        """Close connections."""


@dataclass
class NamedModel:
    """Stands for a model where prompts are made and no model is asked."""

    name: str
    model: str

    def complete(self, prompt: Prompt) -> Completion:
        """Raise NotImplementedError."""
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing."""
