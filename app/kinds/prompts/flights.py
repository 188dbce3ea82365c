"""Lets one request at a time through for each key: over the threads of a worker, and over workers."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from app.errors import UpstreamError

# struct flock of fcntl(2): type, whence, start, length, process.
_LOCK = struct.Struct("hhqqi4x")


class _Flight:
    """A request in flight. `error` is how it failed, once it is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.error: UpstreamError | None = None


class Flights:
    """The requests in flight of a deck. `path` is of a file for locks between processes.

    The locks are those of an open file description (fcntl(2)): with the older ones, which belong to
    a process, two workers that wait for each other's keys would be taken for a deadlock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}

    @contextmanager
    def alone(self, key: str) -> Iterator[bool]:
        """Be the only one with this key; or wait for another, which gives False.

        Raises the UpstreamError with which the other ended, so that it is not met again by each.
        """
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if not leads:
            flight.over.wait()
            if flight.error:
                raise flight.error
            yield False
            return
        try:
            with self._between_processes(key):
                yield True
        except UpstreamError as error:
            flight.error = error
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.over.set()

    @contextmanager
    def _between_processes(self, key: str) -> Iterator[None]:
        place = xxhash.xxh3_64_intdigest(key.encode()) >> 2
        file = self._opened()
        fcntl.fcntl(file, fcntl.F_OFD_SETLKW, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0))
        try:
            yield
        finally:
            free = _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, place, 1, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLKW, free)

    def _opened(self) -> int:
        with self._lock:
            if self._file < 0:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            return self._file
