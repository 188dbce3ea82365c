"""Which models Ollama has in memory, for the figures of a host; nobody who asks waits for Ollama."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from app.errors import ProviderError
from app.providers.ollama import Loaded, Ollama, knock

# Seconds after which a look is repeated, when somebody asks, and for which Ollama may take to answer.
LOOK_EVERY = 2.0
_TIMEOUT = 3.0


class Lister(Protocol):
    """Lists the models in memory."""

    def loaded(self) -> list[Loaded]:
        """Raises ProviderError."""


class LoadedModels:
    """The models in memory, as of the last look. `make` gives Ollama's client; `clock` seconds.

    A look is made in a thread of its own, and only if somebody asks for the figures. The client, a
    large library, is imported when Ollama has been found to listen.
    """

    def __init__(
        self, host: str, clock: Callable[[], float], make: Callable[[], Lister] | None = None
    ) -> None:
        self._host = host
        self._clock = clock
        self._make = make or (lambda: Ollama(host, "", _TIMEOUT))
        self._client: Lister | None = None
        self._figures: dict[str, Any] = {"models": [], "bytes": 0, "fault": "not asked yet"}
        self._looking = threading.Lock()
        self._look_at = -float("inf")

    def figures(self) -> dict[str, Any]:
        """The models by name with their sizes in bytes, all of them together, and a fault or ""."""
        if self._clock() >= self._look_at and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look, daemon=True).start()
        return self._figures

    def _look(self) -> None:
        try:
            found, fault = self._loaded(), ""
        except (ProviderError, ImportError) as error:
            found, fault = [], str(error)
        self._figures = {
            "models": [model._asdict() for model in found],
            "bytes": sum(model.bytes for model in found),
            "fault": fault,
        }
        self._look_at = self._clock() + LOOK_EVERY
        self._looking.release()

    def _loaded(self) -> list[Loaded]:
        if self._client is None:
            knock(self._host)
            self._client = self._make()
        return self._client.loaded()
