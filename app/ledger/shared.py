"""A small table that the workers of one server share: what must be counted over all of them.

A file of fixed size is mapped into each worker. A key is hashed to a row; of the rows that it may
stand in the one unused for longest gives way. So the table is bounded whatever is asked of it, and
it forgets: a row older than `forget` seconds reads as empty. It holds hashes and numbers, no text.

Row: key (u64), time of last use (f64, seconds of a clock that the workers share), then `size` bytes.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from app.store.lock import FileLock

_HEAD = struct.Struct("<Qd")
_WAYS = 8


class SharedTable:
    """Rows of `size` bytes by key. `clock` must be the same for all who open the file."""

    def __init__(
        self, path: Path, rows: int, size: int, forget: float, clock: Callable[[], float]
    ) -> None:
        self._buckets = max(1, -(-rows // _WAYS))
        self._size = size
        self._stride = _HEAD.size + size
        self._forget = forget
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        length = self._buckets * _WAYS * self._stride
        self._lock = FileLock(path)
        with path.open("r+b") as file:
            if os.fstat(file.fileno()).st_size < length:
                os.ftruncate(file.fileno(), length)
            self._map = mmap.mmap(file.fileno(), length)

    @contextmanager
    def row(self, key: str) -> Iterator[bytearray]:
        """A row to read and change; what it holds at the end is kept. Zeros where it is new."""
        digest = xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) or 1
        assert self._lock.take(wait=True)
        try:
            place, found = self._find(digest)
            start = place + _HEAD.size
            held = self._map[start : start + self._size] if found else bytes(self._size)
            value = bytearray(held)
            yield value
            _HEAD.pack_into(self._map, place, digest, self._clock())
            self._map[start : start + self._size] = bytes(value)
        finally:
            self._lock.give()

    def _find(self, digest: int) -> tuple[int, bool]:
        first = digest % self._buckets * _WAYS * self._stride
        places = range(first, first + _WAYS * self._stride, self._stride)
        heads = [(place, *_HEAD.unpack_from(self._map, place)) for place in places]
        for place, key, used in heads:
            if key == digest:
                return place, self._clock() - used <= self._forget
        return min(heads, key=lambda head: head[2])[0], False

    def count(self) -> int:
        """How many rows are in use and not forgotten."""
        now = self._clock()
        heads = (
            _HEAD.unpack_from(self._map, place) for place in range(0, len(self._map), self._stride)
        )
        return sum(1 for key, used in heads if key and now - used <= self._forget)


_LEVEL = struct.Struct("<d")


class RateLimit:
    """So many requests a minute for each key, with a burst of `burst` at once.

    No thread that ticks: the row holds when the key will have been idle long enough (GCRA), and the
    level follows from the time that has passed.
    """

    ROW = _LEVEL.size

    def __init__(
        self, table: SharedTable, per_minute: float, burst: int, clock: Callable[[], float]
    ) -> None:
        self._table = table
        self._step = 60.0 / per_minute
        self._slack = self._step * (burst - 1)
        self._clock = clock

    def wait(self, key: str) -> float:
        """Seconds until this key may ask; 0 where it may now, and then it has."""
        now = self._clock()
        with self._table.row(key) as row:
            due = max(now, float(_LEVEL.unpack(row)[0]))
            if due - now > self._slack:
                return due - now - self._slack
            _LEVEL.pack_into(row, 0, due + self._step)
            return 0.0
