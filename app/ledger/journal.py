"""Journals: bounded, append-only files of JSON lines that many workers write at once.

The ledger (misses) and the votes are journals. A line is appended with one write to a file opened
for appending, which the system does not mix with writes of other processes. Nothing is synced,
because a lost line costs a count and not an answer. A journal that reaches half its limit is
renamed to `<name>.1.jsonl`, replacing the one before. If a journal cannot be written or read, the
server goes on without it and logs a warning.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import orjson

from app.ledger.trouble import Trouble
from app.store.lock import locked
from app.store.plain import descriptor, open_file

KeyT = TypeVar("KeyT", bound=Hashable)
KeyT_contra = TypeVar("KeyT_contra", contravariant=True)


class Counting(Protocol[KeyT_contra]):
    """What counts keys: a Counter, or Frequencies of very many."""

    def update(self, keys: Iterable[KeyT_contra], /) -> None:
        """Count some more."""


CountsT = TypeVar("CountsT", bound=Counting[Any])

# Bytes of a journal, for both files together: some 80,000 misses. Older ones would hardly change
# which plays are the most frequent.
MOST_BYTES = 16 << 20
# Bytes that a line is assumed to have, to decide when to look at the file's size again.
_LINE = 1024
# Bytes that identify a journal: its first line has a time in it.
_HEAD = 512


def journal_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.jsonl"


def _aside_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.1.jsonl"


class Journal:
    """Appends lines. `limit` is in bytes, for both files together."""

    def __init__(self, folder: Path, name: str, limit: int = MOST_BYTES) -> None:
        self._folder = folder
        self._path = journal_path(folder, name)
        self._aside = _aside_path(folder, name)
        self._half = limit // 2
        self._file = -1
        self._left = 0
        self._lock = threading.Lock()
        self._trouble = Trouble(time.monotonic)

    def append(self, value: dict[str, Any]) -> bool:
        """Append a line; returns whether it was written. A full disk does not fail the request."""
        line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
        # Threads share the descriptor: none may write to it while another closes it.
        with self._lock:
            try:
                if self._left <= 0:
                    self._open()
                os.write(self._file, line)
            except OSError as error:
                self._trouble.warn(f"{self._path}: a line is lost: {error.strerror}")
                return False
            self._left -= 1
        return True

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._reopen()
        if self._is_half_full():
            # Another worker may be doing the same, or have done it.
            with locked(self._folder):
                self._reopen()
                if self._is_half_full():
                    self._path.replace(self._aside)
                    self._reopen()
        # Look at the size again early enough for the limit to hold if up to 16 workers write.
        room = self._half - os.fstat(self._file).st_size
        self._left = max(1, room // (16 * _LINE))

    def _is_half_full(self) -> bool:
        return os.fstat(self._file).st_size >= self._half

    def _reopen(self) -> None:
        if self._file >= 0:
            # Forgotten first: if opening fails, the closed descriptor may soon be another file's.
            old, self._file = self._file, -1
            os.close(old)
        self._file = descriptor(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def read_journal(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The lines, oldest first; lines that are not JSON objects are skipped."""
    for path in (_aside_path(folder, name), journal_path(folder, name)):
        yield from _read(path, 0)[1]


def _read(path: Path, start: int) -> tuple[int, Iterator[dict[str, Any]]]:
    """Read complete lines from offset `start`; returns the offset after them, and their objects."""
    try:
        with open_file(path, "rb") as file:
            file.seek(start)
            block = file.read()
    except FileNotFoundError:
        return 0, iter(())
    whole = block[: block.rfind(b"\n") + 1]
    return start + len(whole), _objects(whole)


def _objects(lines: bytes) -> Iterator[dict[str, Any]]:
    for line in io.BytesIO(lines):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            yield value


class JournalReader:
    """Follows a journal as it grows.

    A journal is identified by its first bytes, because inode numbers are soon used again after a
    file was replaced.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._offset = 0
        self._head = b""
        self._begun = False
        self._trouble = Trouble(time.monotonic)

    def new_lines(self) -> tuple[bool, Iterator[dict[str, Any]]]:
        """(restarted, lines since the last call).

        `restarted` is whether all lines of both files are given again, because the journal was
        replaced, or was empty at the last call. If it cannot be read, there are no new lines.
        """
        try:
            return self._new_lines()
        except OSError as error:
            self._trouble.warn(f"{error.filename}: cannot be read: {error.strerror}")
            return False, iter(())

    def _new_lines(self) -> tuple[bool, Iterator[dict[str, Any]]]:
        path = journal_path(self._folder, self._name)
        head = _head(path)
        if not self._head or not head.startswith(self._head):
            restarted, self._begun = self._begun, True
            _, older = _read(_aside_path(self._folder, self._name), 0)
            self._offset, lines = _read(path, 0)
            self._head = head
            return restarted, itertools.chain(older, lines)
        self._head = head
        self._offset, lines = _read(path, self._offset)
        return False, lines


class JournalCounts(Generic[KeyT, CountsT]):
    """How often each key occurs in a journal; follows it as it grows.

    `keys` are those of lines, `empty` makes what counts them.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        keys: Callable[[Iterable[dict[str, Any]]], Iterable[KeyT]],
        empty: Callable[[], CountsT],
    ) -> None:
        self._reader = JournalReader(folder, name)
        self._keys = keys
        self._empty = empty
        self._counts = empty()
        self._lock = threading.Lock()

    def read(self, summary: Callable[[CountsT], dict[str, Any]]) -> dict[str, Any]:
        """A summary of the counts up to now."""
        # Two threads that follow the journal at once would count new lines twice.
        with self._lock:
            restarted, lines = self._reader.new_lines()
            if restarted:
                self._counts = self._empty()
            self._counts.update(self._keys(lines))
            return summary(self._counts)


def _head(path: Path) -> bytes:
    try:
        with open_file(path, "rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        return b""
