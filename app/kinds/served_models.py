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
# Failures in a row after which a model is not asked, and for how many seconds: visitors do not wait
# for a model that does not work, and one that works again is soon asked.
FAILURES, REST_SECONDS = 3, 30.0
# Cloud replies at a time in a worker; further requests are for the next tier.
CLOUD_AT_ONCE = 16


class ServedModels:
    """A local and a cloud model.

    `folder` is for the lock that limits the local model to one reply at a time; `memory` gives the
    available bytes. Each deck has an engine of its own, with its own notes; the limit and the
    breaker of a model are shared.
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
        return Breaker(FAILURES, REST_SECONDS, self._clock)

    def local(self, note: Noter) -> Engine:
        """The model that Ollama runs on this machine."""
        settings = self._settings
        host = settings.ollama_host
        _warn_of_proxy(host)

        def make() -> ChatModel:
            return Ollama(
                host,
                "",
                settings.timeout,
                settings.ollama_free_mb,
                self._memory,
            )

        model = LazyModel(Ollama.name, make, lambda: knock(host))
        return Engine(model, self._local_limit, self._local_breaker, note, self._clock)

    def cloud(self, note: Noter) -> Engine:
        """The Gemini API."""
        settings = self._settings
        key = settings.gemini_api_key or settings.google_api_key
        url = settings.gemini_base_url
        _warn_of_proxy(url)
        model = LazyModel(Gemini.name, lambda: Gemini(key, "", url, settings.timeout))
        return Engine(model, self._cloud_limit, self._cloud_breaker, note, self._clock)


def _warn_of_proxy(url: str) -> None:
    """Log at the start if a proxy cannot be used; otherwise only `/stats` would show it."""
    try:
        transport.proxy_for(url)
    except ProviderStopError as error:
        log.warning("%s; until then %s is not asked", error, url)
