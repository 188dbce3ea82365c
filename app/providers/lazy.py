"""A model whose client library, which is large, is imported at the first request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator

from app.errors import ProviderStopError
from app.providers.relay import Abort, Ask, ChatModel, Finish


class LazyModel:
    """Makes a model at its first request; if that fails, at the next one.

    `knock` is called first and raises ProviderError if no server listens, so that nothing need be
    imported.
    """

    def __init__(
        self, name: str, make: Callable[[], ChatModel], knock: Callable[[], None] = lambda: None
    ) -> None:
        self.name = name
        self.made: ChatModel | None = None
        self._make = make
        self._knock = knock
        self._lock = threading.Lock()

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The chunks of a reply as they are written. Raises ProviderError."""
        with self._lock:
            if self.made is None:
                self._knock()
                self.made = self._made()
        yield from self.made.stream(ask, abort)

    def _made(self) -> ChatModel:
        try:
            return self._make()
        except ImportError as error:
            raise ProviderStopError(
                f"{error.name} is not installed", f"install what {self.name} needs", "not_installed"
            ) from None
