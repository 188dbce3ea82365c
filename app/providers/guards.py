"""Guards of a model: how many requests at a time, a pause after failures, spare memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

MIB = 1 << 20


class SomeAtATime:
    """Allows `most` replies at a time in this worker."""

    def __init__(self, most: int) -> None:
        self._semaphore = threading.BoundedSemaphore(most)

    def take(self) -> bool:
        """Begin a reply; returns False if `most` are being written."""
        return self._semaphore.acquire(blocking=False)

    def give(self) -> None:
        """End a reply."""
        self._semaphore.release()


class Breaker:
    """A circuit breaker: open for `rest` seconds after `most` or more failures in a row.

    Each worker has one of its own, and so finds out by itself, with `most` failed requests, that a
    model does not work.
    """

    def __init__(self, most: int, rest: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether the model must not be asked."""
        return self._failures >= self._most and self._clock() < self._until

    def failed(self) -> None:
        """Note a failed request; the rest begins anew."""
        self._failures += 1
        self._until = self._clock() + self._rest

    def worked(self) -> None:
        """Note a reply, which ends the row of failures."""
        self._failures = 0


def available_memory() -> int:
    """Bytes of memory that programs can get without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)
