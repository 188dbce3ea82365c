"""A clock that is passed to whatever waits, so that tests need not wait."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Monotonic seconds."""

    def stamp(self) -> str:
        """The time in UTC, ISO 8601."""

    def sleep(self, seconds: float) -> None:
        """Wait, unless `wake` was called."""

    def wake(self) -> None:
        """End all sleeps, also later ones: the run is over."""


class SystemClock:
    """The machine's clock."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def now(self) -> float:
        return time.monotonic()

    def stamp(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def sleep(self, seconds: float) -> None:
        """Wait on an event, so that the end of the run ends the wait."""
        self._woken.wait(seconds)

    def wake(self) -> None:
        self._woken.set()
