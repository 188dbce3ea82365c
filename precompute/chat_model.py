"""Who writes chat lines: a model by a provider's name, as one function from prompt to text."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from app.core.entry import Usage
from app.errors import ModelFaultError, PlanError, ProviderRetryError, ProviderStopError
from app.providers.chat_models import GeminiChat, OllamaChat
from app.providers.guards import SomeAtATime, available_memory
from app.providers.relay import Ask, ChatModel, Finish, relay
from app.settings import Settings

# Seconds for one reply of a build: nobody waits at the other end.
SECONDS = 120.0
MOST_TOKENS = 4096
_STOP = frozenset({"key", "no_key", "missing", "not_installed", "no_memory"})


@dataclass(frozen=True, slots=True)
class Written:
    """A reply with its bill."""

    text: str
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Writer:
    """A provider by name, and how it is asked: system prompt and request → what it wrote."""

    name: str
    ask: Callable[[str, str], Written]


def writer_of(name: str | None, settings: Settings) -> Writer:
    """The provider that was asked for, else Gemini where there is a key. Raises PlanError."""
    key = settings.gemini_api_key or settings.google_api_key
    if name in (None, "gemini") and key:
        model = GeminiChat(key, settings.gemini_base_url, settings.gemini_api_version)
        return Writer("gemini", _asker(model, settings.chat_cheap))
    if name == "ollama":
        ollama = OllamaChat(
            settings.ollama_host,
            settings.ollama_keep_alive,
            settings.ollama_free_mb,
            available_memory,
        )
        return Writer("ollama", _asker(ollama, settings.ollama_model))
    raise PlanError(
        "the vetted lines of a chat deck serve as they are and need no build; to cook more, set "
        "GEMINI_API_KEY or choose --provider ollama (nothing in the box can write lines)"
        if name in (None, "composer", "gemini")
        else f"provider {name!r} does not write chat lines; choose gemini or ollama"
    )


def _asker(model: ChatModel, name: str) -> Callable[[str, str], Written]:
    place = SomeAtATime(1)

    def ask(system: str, asked: str) -> Written:
        wanted = Ask(name, system, ({"role": "user", "content": asked},), MOST_TOKENS, SECONDS)
        text = ""
        try:
            for piece in relay(model, wanted, place, time.monotonic):
                if isinstance(piece, Finish):
                    return Written(text, piece.model, piece.usage)
                text += piece
        except ModelFaultError as fault:
            told = f"{model.name}: {fault.reason}: {fault}"
            if fault.reason in _STOP:
                raise ProviderStopError(told) from None
            raise ProviderRetryError(told) from None
        raise ProviderRetryError(f"{model.name}: no end")

    return ask
