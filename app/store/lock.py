"""Locks between threads and between processes."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import xxhash

from app.store.plain import descriptor


class FileLock:
    """A lock between threads and between processes.

    flock belongs to an open file, which threads and forked children share: so a second lock is for
    the threads, and a child opens the file anew. If the file cannot be opened or locked, as on a
    network's file system without locks, only the threads of this process exclude each other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._process = os.getpid()
        self._mine = threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = descriptor(self._path, os.O_RDWR | os.O_CREAT)
        except OSError:
            self._file = -1

    def take(self) -> bool:
        """Acquire the lock, if nobody has it; returns whether that succeeded."""
        if self._process != os.getpid():
            self._open()
        if not self._mine.acquire(blocking=False):
            return False
        if self._file < 0:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._mine.release()
            return False
        except OSError:
            return True
        return True

    def give(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._mine.release()


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file or folder that is there, which threads and processes do not share.

    Raises BlockingIOError if another one holds it and `wait` is false, and OSError.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(file)


# struct flock of fcntl(2): type, whence, start, length, process.
_LOCK = struct.Struct("hhqqi4x")


@contextmanager
def alone(path: Path, key: str) -> Iterator[None]:
    """Wait until nobody else holds a key's lock, and hold it; all keys have their place in one file.

    The lock is one of an open file description (fcntl(2)), which threads and processes do not share.
    With the older ones, which belong to a process, two processes that wait for each other's keys
    would be taken for a deadlock. Closing the file releases it. If the file cannot be opened or
    locked, nobody waits: work that is done twice is better than none.
    """
    file = -1
    try:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = descriptor(path, os.O_RDWR | os.O_CREAT)
            place = xxhash.xxh3_64_intdigest(key.encode()) >> 2
            lock = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLKW, lock)
        yield
    finally:
        if file >= 0:
            os.close(file)
