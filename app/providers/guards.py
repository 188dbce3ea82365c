"""What keeps a model from doing harm: one request at a time, a rest after failures, spare memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from app.store.lock import FileLock

MIB = 1 << 20


class OneAtATime:
    """One reply at a time over all workers."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path)

    def take(self) -> bool:
        """Whether the place was free; it is ours then."""
        return self._lock.take()

    def give(self) -> None:
        """Give the place back."""
        self._lock.give()


class SomeAtATime:
    """So many replies at a time in this worker."""

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(places)

    def take(self) -> bool:
        """Whether there was a place."""
        return self._places.acquire(blocking=False)

    def give(self) -> None:
        """Give the place back."""
        self._places.release()


class Breaker:
    """After `most` failures in a row it rests for `rest` seconds, then lets one try.

    A worker has one of its own: each learns for itself that a model is gone, which costs it `most`
    waits.
    """

    def __init__(self, most: int, rest: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether it rests: nothing should be asked."""
        return self._failures >= self._most and self._clock() < self._until

    def failed(self) -> None:
        """Note a failure; the rest begins again."""
        self._failures += 1
        self._until = self._clock() + self._rest

    def worked(self) -> None:
        """Note a reply."""
        self._failures = 0


def available_memory() -> int:
    """Bytes that programs can have without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)
