"""The models that a worker may ask at the event, for every kind of deck."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from app.errors import ProviderStopError
from app.kinds.engine import Engine, Noter
from app.providers import ModelName, transport
from app.providers.gemini import Gemini
from app.providers.guards import Breaker, SomeAtATime
from app.providers.lazy import LazyModel
from app.providers.ollama import Ollama, knock
from app.providers.openai import OPENAI, OpenAICompatible
from app.providers.relay import ChatModel, ReplyLimit, SharedReplies
from app.settings import Settings
from app.store.lock import FileLock

log = logging.getLogger(__name__)
# Failures in a row after which a model is not asked, and for how many seconds: visitors do not wait
# for a model that does not work, and one that works again is soon asked.
FAILURES, REST_SECONDS = 3, 30.0
# Cloud replies at a time in a worker and of a provider; further requests are for the next tier.
CLOUD_AT_ONCE = 16
# Seconds for which a request is not sent again to the cloud after the gate refused the reply: long
# enough for a crowd that says the same thing, short enough for a person who tries again.
REMEMBER_REFUSED = 30.0


class _Guards(NamedTuple):
    """What all decks of a worker share of a provider's models."""

    limit: ReplyLimit
    breaker: Breaker
    replies: SharedReplies


class ServedModels:
    """The local model, and the cloud's by provider.

    `folder` is for the lock that limits the local model to one reply at a time. Each deck has an engine of its own, with its own notes; the guards of a
    provider are shared.
    """

    def __init__(self, settings: Settings, folder: Path, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._guards = {
            # What costs nothing is not shared: to wait for a model that hangs helps nobody.
            Ollama.name: self._made(FileLock(folder / "local.lock"), 0.0),
            Gemini.name: self._made(SomeAtATime(CLOUD_AT_ONCE), REMEMBER_REFUSED),
            OpenAICompatible.name: self._made(SomeAtATime(CLOUD_AT_ONCE), REMEMBER_REFUSED),
        }

    def _made(self, limit: ReplyLimit, remember: float) -> _Guards:
        breaker = Breaker(FAILURES, REST_SECONDS, self._clock)
        return _Guards(limit, breaker, SharedReplies(self._clock, remember))

    def _engine(self, model: ChatModel, note: Noter) -> Engine:
        return Engine(model, *self._guards[model.name], note, self._clock)

    def local(self, note: Noter) -> Engine:
        """The model that Ollama runs on this machine."""
        settings = self._settings
        host = settings.ollama_host
        _warn_of_proxy(host)

        def make() -> ChatModel:
            return Ollama(host, "", settings.timeout, settings.ollama_free_mb)

        model = LazyModel(Ollama.name, make, lambda: knock(host))
        return self._engine(model, note)

    def cloud(self, name: ModelName, note: Noter) -> Engine:
        """The Gemini API, or an OpenAI-compatible server."""
        settings = self._settings
        if name.provider == OpenAICompatible.name:
            key, url = settings.openai_api_key, settings.openai_base_url
            _warn_of_proxy(url or OPENAI)

            def make() -> ChatModel:
                return OpenAICompatible(key, url, name.model, settings.timeout)
        else:
            key = settings.gemini_api_key or settings.google_api_key
            url = settings.gemini_base_url
            _warn_of_proxy(url)

            def make() -> ChatModel:
                return Gemini(key, "", url, settings.timeout)

        return self._engine(LazyModel(name.provider, make), note)


def _warn_of_proxy(url: str) -> None:
    """Log at the start if a proxy cannot be used; otherwise only `/stats` would show it."""
    try:
        transport.proxy_for(url)
    except ProviderStopError as error:
        log.warning("%s; until then %s is not asked", error, url)
