"""The models that a worker may ask at the event, for every kind of deck."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.kinds.engine import Engine, Noter
from app.providers.chat_models import GeminiChat, OllamaChat
from app.providers.guards import Breaker, OneAtATime, SomeAtATime, available_memory
from app.providers.relay import ChatModel
from app.settings import Settings

# So many cloud replies may be under way in a worker; the next request goes down the ladder.
CLOUD_AT_ONCE = 16


class ServedModels:
    """A local and a cloud model. `folder` holds the lock that keeps the local one at one reply.

    `memory` gives the bytes that programs can have. An engine is made for each deck, so that each
    notes what stopped it under its own name; the place and the breaker are the model's.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        clock: Callable[[], float],
        memory: Callable[[], int] = available_memory,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._memory = memory
        self._local_slot = OneAtATime(folder / "local.lock")
        self._cloud_slot = SomeAtATime(CLOUD_AT_ONCE)
        self._local_breaker, self._cloud_breaker = self._breaker(), self._breaker()

    def _breaker(self) -> Breaker:
        return Breaker(self._settings.chat_failures, self._settings.chat_rest, self._clock)

    def local(self, note: Noter) -> Engine:
        """The model that Ollama runs on this machine."""
        settings = self._settings
        model: ChatModel = OllamaChat(
            settings.ollama_host, settings.ollama_keep_alive, settings.ollama_free_mb, self._memory
        )
        return Engine(model, self._local_slot, self._local_breaker, note, self._clock)

    def cloud(self, note: Noter) -> Engine:
        """Gemini."""
        settings = self._settings
        key = settings.gemini_api_key or settings.google_api_key
        model = GeminiChat(key, settings.gemini_base_url, settings.gemini_api_version)
        return Engine(model, self._cloud_slot, self._cloud_breaker, note, self._clock)
