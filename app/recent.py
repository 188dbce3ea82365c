"""A bounded memory of what was put into it a short time ago."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Recent(Generic[KeyT, ValueT]):
    """Values by key, each kept for `seconds`; of more than `most`, the oldest are dropped.

    `clock` gives seconds. Safe to use from several threads.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        # In the order in which they were put.
        self._kept: dict[KeyT, tuple[float, ValueT]] = {}
        self._lock = threading.Lock()

    def get(self, key: KeyT) -> ValueT | None:
        """The value, None if there is no recent one."""
        found = self._kept.get(key)
        return found[1] if found and not self._is_old(found[0]) else None

    def put(self, key: KeyT, value: ValueT) -> bool:
        """Keep a value in place of the key's old one; returns whether there was no recent one."""
        with self._lock:
            new = self.get(key) is None
            self._kept.pop(key, None)
            self._kept[key] = self._clock(), value
            while self._kept:
                oldest, (put, _) = next(iter(self._kept.items()))
                if len(self._kept) <= self._most and not self._is_old(put):
                    break
                del self._kept[oldest]
            return new

    def drop(self, key: KeyT) -> None:
        """Keep nothing under a key."""
        with self._lock:
            self._kept.pop(key, None)

    def _is_old(self, put: float) -> bool:
        return self._clock() - put >= self._seconds
