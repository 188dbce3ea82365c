"""The models that a worker may ask at the event, for every kind of deck."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from app.errors import ProviderStopError
from app.kinds.engine import Engine, Noter
from app.providers import transport
from app.providers.gemini import Gemini
from app.providers.guards import Breaker, OneAtATime, SomeAtATime, available_memory
from app.providers.lazy import LazyModel
from app.providers.ollama import Ollama, knock
from app.providers.relay import ChatModel
from app.settings import Settings

log = logging.getLogger(__name__)
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
        self._local_limit = OneAtATime(folder / "local.lock")
        self._cloud_limit = SomeAtATime(CLOUD_AT_ONCE)
        self._local_breaker, self._cloud_breaker = self._breaker(), self._breaker()

    def _breaker(self) -> Breaker:
        return Breaker(self._settings.chat_failures, self._settings.chat_rest, self._clock)

    def local(self, note: Noter) -> Engine:
        """The model that Ollama runs on this machine."""
        settings = self._settings
        host = settings.ollama_host
        _tell_of_proxy(host)

        def make() -> ChatModel:
            return Ollama(
                host,
                "",
                settings.timeout,
                settings.ollama_keep_alive,
                settings.ollama_free_mb,
                self._memory,
            )

        model = LazyModel(Ollama.name, make, lambda: knock(host))
        return Engine(model, self._local_limit, self._local_breaker, note, self._clock)

    def cloud(self, note: Noter) -> Engine:
        """Gemini."""
        settings = self._settings
        key = settings.gemini_api_key or settings.google_api_key
        url, version = settings.gemini_base_url, settings.gemini_api_version
        _tell_of_proxy(url)
        model = LazyModel(Gemini.name, lambda: Gemini(key, "", url, version, settings.timeout))
        return Engine(model, self._cloud_limit, self._cloud_breaker, note, self._clock)


def _tell_of_proxy(url: str) -> None:
    """Say at the start that a proxy cannot be used, not only in `/stats` when a tier fell away."""
    try:
        transport.proxy_for(url)
    except ProviderStopError as error:
        log.warning("%s; until then %s is not asked", error, url)
