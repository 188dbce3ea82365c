"""Warnings in the log about a file that cannot be used, without one for each failed request."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)
# Seconds between two warnings about the same trouble.
WARN_EVERY = 60.0


class Trouble:
    """Warns of one kind of trouble, at most once a minute. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._silent_until = -math.inf
        self._lock = threading.Lock()

    def warn(self, what: str) -> None:
        """Log a warning, unless there was one within the last minute."""
        with self._lock:
            now = self._clock()
            if now < self._silent_until:
                return
            self._silent_until = now + WARN_EVERY
        log.warning("%s", what)
