"""Journals: bounded, append-only files of JSON lines that many workers write at once.

The ledger (what was asked and not found) and the votes are journals. A line is appended with one
write to a file opened for appending, which the system keeps whole between processes; nothing is
synced, for a lost line costs a count and not an answer. A journal that reaches half its limit is set
aside as `<name>.1.jsonl`, over the one set aside before. A server whose journal cannot be written or
read goes on without it, and says so in its log.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from app.ledger.trouble import Trouble
from app.store.plain import descriptor, open_file

# So many bytes a line may have on average between two looks at the file's size.
_LINE = 1024
# So many bytes tell one journal from another: its first line has a time in it.
_HEAD = 512


def journal_path(folder: Path, name: str) -> Path:
    """Where the journal of a name is."""
    return folder / f"{name}.jsonl"


def _aside_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.1.jsonl"


class Journal:
    """Appends lines. `limit` is in bytes, over both files."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self._folder = folder
        self._path = journal_path(folder, name)
        self._aside = _aside_path(folder, name)
        self._half = limit // 2
        self._file = -1
        self._left = 0
        self._lock = threading.Lock()
        self._trouble = Trouble(time.monotonic)

    def append(self, value: dict[str, Any]) -> bool:
        """Append a line. A disk that is full loses the line, not the request: False."""
        line = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
        # A worker's threads share the file: none may write to a number that another has closed.
        with self._lock:
            try:
                if self._left <= 0:
                    self._open()
                os.write(self._file, line)
            except OSError as error:
                self._trouble.tell(f"{self._path}: a line is lost: {error.strerror}")
                return False
            self._left -= 1
        return True

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._reopen()
        status = os.fstat(self._file)
        if status.st_size >= self._half:
            # Another worker may have set it aside already: then the path is a new file.
            if status.st_ino == self._path.stat().st_ino:
                self._path.replace(self._aside)
            self._reopen()
        # Look again before the file could have outgrown its half, whatever the others write.
        room = self._half - os.fstat(self._file).st_size
        self._left = max(1, room // (16 * _LINE))

    def _reopen(self) -> None:
        if self._file >= 0:
            # First forgotten, then closed: where opening fails, the number is somebody else's soon.
            old, self._file = self._file, -1
            os.close(old)
        self._file = descriptor(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def read_journal(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The lines, oldest first. A line that is not an object is passed over: it was never ours."""
    for path in (_aside_path(folder, name), journal_path(folder, name)):
        yield from _read(path, 0)[1]


def _read(path: Path, start: int) -> tuple[int, Iterator[dict[str, Any]]]:
    """The offset after the whole lines from an offset on, and their objects, one by one."""
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
    """Follows a journal: each call gives what is new, and whether to begin again from nothing.

    A journal is known by how it begins: inode numbers are soon used again after it was set aside.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._offset = 0
        self._head = b""
        self._trouble = Trouble(time.monotonic)

    def news(self) -> tuple[bool, Iterator[dict[str, Any]]]:
        """(begin again, lines): after the journal was set aside, all its lines are given anew.

        If it cannot be read, nothing is new.
        """
        try:
            return self._news()
        except OSError as error:
            self._trouble.tell(f"{error.filename}: cannot be read: {error.strerror}")
            return False, iter(())

    def _news(self) -> tuple[bool, Iterator[dict[str, Any]]]:
        path = journal_path(self._folder, self._name)
        head = _head(path)
        if not self._head or not head.startswith(self._head):
            again = bool(self._head)
            _, older = _read(_aside_path(self._folder, self._name), 0)
            self._offset, lines = _read(path, 0)
            self._head = head
            return again, itertools.chain(older, lines)
        self._head = head
        self._offset, lines = _read(path, self._offset)
        return False, lines


def _head(path: Path) -> bytes:
    try:
        with open_file(path, "rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        return b""
