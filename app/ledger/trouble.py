"""Trouble with a file, told in the log, but not once for each of the requests that meet it."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)
# Seconds between two lines about the same trouble.
TELL_EVERY = 60.0


class Trouble:
    """Tells of one kind of trouble, at most once a minute. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._again_at = -math.inf
        self._lock = threading.Lock()

    def tell(self, what: str) -> None:
        """Write a warning, unless one was written within the last minute."""
        with self._lock:
            now = self._clock()
            if now < self._again_at:
                return
            self._again_at = now + TELL_EVERY
        log.warning("%s", what)
