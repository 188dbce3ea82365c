"""The log: JSON Lines, append-only, one writer at a time. Everything else is derived from it.

Files of a deck in the store's folder:

    <deck>.jsonl         the log
    <deck>.lock          held by the process that cooks or rewrites (flock: it ends with the process)
    <deck>.append.lock   held while lines are appended or an index is published: reviewers append
                         their decisions while a build runs
    <deck>.torn          incomplete last lines left by crashes, moved here before the next write
    <deck>.damaged       damaged lines that `check --repair` moved here

A crash can only leave the last line incomplete (a torn tail). A reader skips and reports it; the
next writer moves it to the side file. A damaged line in the middle is skipped and reported: the
lines after it are whole.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

from app.errors import DamagedLineError, StoreLockedError, StoreWriteError
from app.store.entry import Bill, Entry, is_bill
from app.store.plain import open_file

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """A line that could not be read: its offset in bytes, why, and whether it is a torn tail."""

    offset: int
    reason: str
    torn: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """An entry and the offsets in bytes at which its line begins and ends."""

    entry: Entry
    start: int
    end: int


def log_path(store: Path, deck: str) -> Path:
    return store / f"{deck}.jsonl"


def read_lines(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Lines that begin at the offset `start` or later, each with its offset.

    A log that does not exist is empty.
    """
    try:
        # A line can be megabytes long, and each read gives other threads their turn.
        file = open_file(path, "rb", _BLOCK)
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        offset = start
        for line in file:
            yield offset, line
            offset += len(line)


def blocks(path: Path, start: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The complete lines of a log from an offset on, some `size` bytes at a time, with their offset."""
    try:
        file = open_file(path, "rb", _BLOCK)
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        while block := file.read(size) + file.readline():
            whole = block[: block.rfind(b"\n") + 1]
            if whole:
                yield start, whole
            if len(whole) < len(block):
                return
            start += len(whole)


def log_digest(log: Path, end: int) -> xxhash.xxh3_64:
    """A running 64-bit xxh3 over the log's first `end` bytes, or over all if it is shorter."""
    digest = xxhash.xxh3_64()
    try:
        with open_file(log, "rb", 0) as file:
            while end > 0 and (block := file.read(min(_BLOCK, end))):
                digest.update(block)
                end -= len(block)
    except FileNotFoundError:
        pass
    return digest


def read_log(path: Path, start: int = 0) -> Iterator[Record | Damage]:
    """Entries and damaged lines from an offset on, in order. A log that does not exist is empty."""
    for offset, line in read_lines(path, start):
        if (item := _item(offset, line)) is not None:
            yield item


def read_records(path: Path, start: int = 0) -> Iterator[Record]:
    """The entries alone."""
    return (item for item in read_log(path, start) if isinstance(item, Record))


def _item(offset: int, line: bytes) -> Record | Damage | None:
    """What a line holds; None for a bill, which is no answer."""
    if not line.endswith(b"\n"):
        return Damage(offset, f"torn tail of {len(line)} bytes", torn=True)
    try:
        if is_bill(line):
            Bill.from_line(line)
            return None
        return Record(Entry.from_line(line), offset, offset + len(line))
    except DamagedLineError as error:
        return Damage(offset, str(error))


def damaged_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The damaged lines of a log: the offset of each, and `<path>:<line>: <reason>`.

    A torn tail is not among them: the next writer moves it away.
    """
    for number, (offset, line) in enumerate(read_lines(path), 1):
        item = _item(offset, line)
        if isinstance(item, Damage) and not item.torn:
            yield item.offset, f"{path}:{number}: {item.reason}"


def entry_at(log: Path, offset: int) -> Entry:
    """The entry whose line begins at `offset`. Raises DamagedLineError."""
    with open_file(log, "rb") as file:
        file.seek(offset)
        return Entry.from_line(file.readline())


class LogFollower:
    """Reads a log as it grows; of a long one, the last `most` bytes at first.

    For one thread at a time.
    """

    def __init__(self, path: Path, most: int = 1 << 62) -> None:
        self._path = path
        self._most = most
        self._file: tuple[int, int] | None = None
        self._end = 0

    def news(self) -> tuple[bool, Iterator[tuple[int, Entry]]]:
        """Whether the log is another one than before, and its entries since, each with its offset.

        If it is, all its entries. Damaged lines and bills are left out.
        """
        try:
            status = self._path.stat()
        except OSError:
            return False, iter(())
        file, size = (status.st_dev, status.st_ino), status.st_size
        another = file != self._file or size < self._end
        if another:
            self._file, self._end = file, max(0, size - self._most)
        return another, self._entries() if size > self._end else iter(())

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        for offset, line in read_lines(self._path, self._end):
            if not line.endswith(b"\n"):
                return
            self._end = offset + len(line)
            # Where reading began in the middle of a line, the first is damaged.
            with contextlib.suppress(DamagedLineError):
                yield offset, Entry.from_line(line)


@contextlib.contextmanager
def appending(store: Path, deck: str) -> Iterator[None]:
    """Wait until nobody appends to a log or publishes its index, and then be the only one."""
    with open_file(store / f"{deck}.append.lock", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def append_without_lock(store: Path, deck: str, make: Callable[[], Sequence[Entry]]) -> int:
    """Append entries, also while another process holds the log's lock; returns the log's new size.

    Nobody appends between the call of `make`, which gives the entries, and the end. Raises
    StoreWriteError, and what `make` raises.
    """
    path = log_path(store, deck)
    try:
        # A review of what the event left may be the first to write.
        store.mkdir(parents=True, exist_ok=True)
        with appending(store, deck):
            _set_torn_tail_aside(path)
            with open_file(path, "ab", 0) as file:
                return _append(path, file, make())
    except OSError as error:
        raise StoreWriteError(f"{path}: cannot be written: {error.strerror}") from None


def _append(path: Path, file: BinaryIO, entries: Iterable[Entry | Bill]) -> int:
    before = os.fstat(file.fileno()).st_size
    block = b"".join(entry.to_line() for entry in entries)
    try:
        view = memoryview(block)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), before)
        raise StoreWriteError(_write_fault(path, error, before)) from None
    return before + len(block)


def _set_torn_tail_aside(path: Path) -> int:
    """Move the bytes after the last line break to the side file; returns how many."""
    with open_file(path, "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        tail = _bytes_after_last_break(file, size)
        if tail:
            with open_file(path.with_suffix(".torn"), "ab") as aside:
                aside.write(tail + b"\n")
                aside.flush()
                os.fsync(aside.fileno())
            file.truncate(size - len(tail))
            os.fsync(file.fileno())
        return len(tail)


class LogWriter:
    """Appends to a log. A context manager that holds the log's lock until it or the process ends.

    Raises StoreLockedError if another process writes, unless `wait` says to wait for its end, and
    StoreWriteError if the folder cannot be written.
    """

    def __init__(self, store: Path, deck: str, *, wait: bool = False) -> None:
        self._how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        self.path = log_path(store, deck)
        self._damaged_path = store / f"{deck}.damaged"
        try:
            store.mkdir(parents=True, exist_ok=True)
            self._lock = open_file(store / f"{deck}.lock", "ab")
        except OSError as error:
            where = error.filename or store
            raise StoreWriteError(f"{where}: cannot be written: {error.strerror}") from None
        self._file = self._open_locked()

    def _open_locked(self) -> BinaryIO:
        try:
            fcntl.flock(self._lock, self._how)
        except BlockingIOError:
            self._lock.close()
            raise StoreLockedError(
                f"{self.path}: another process is writing to this store; wait until it has ended"
            ) from None
        try:
            with appending(self.path.parent, self.path.stem):
                self.repaired = _set_torn_tail_aside(self.path)
            file = open_file(self.path, "ab", 0)
        except OSError as error:
            self._lock.close()
            raise StoreWriteError(f"{self.path}: cannot be written: {error.strerror}") from None
        return file

    def set_damage_aside(self) -> list[str]:
        """Move damaged lines to the side file `<deck>.damaged`; returns `<path>:<line>: <reason>`.

        A new log is written next to the old one and renamed over it after the side file is synced,
        so that a crash at any moment loses no byte. Raises StoreWriteError.
        """
        damaged = dict(damaged_lines(self.path))
        if not damaged:
            return []

        def kept() -> Iterator[bytes]:
            with open_file(self._damaged_path, "ab") as aside:
                for offset, line in read_lines(self.path):
                    if offset in damaged:
                        aside.write(line)
                    else:
                        yield line
                aside.flush()
                os.fsync(aside.fileno())

        self.rewrite(kept())
        return list(damaged.values())

    def rewrite(
        self,
        lines: Iterable[bytes],
        check: Callable[[Path], None] = lambda new: None,
        old: Path | None = None,
    ) -> None:
        """Put a log of these lines in the place of the present one, which is kept as `old` if given.

        It is written and synced beside the present one, examined by `check`, which raises what is
        wrong with it, and renamed over it, so that a crash at any moment leaves one of the two whole.
        Nobody appends meanwhile. Raises StoreWriteError.
        """
        scratch = self.path.with_name(f"{self.path.name}.new")
        try:
            with appending(self.path.parent, self.path.stem):
                with scratch.open("wb") as file:
                    file.writelines(lines)
                    file.flush()
                    os.fsync(file.fileno())
                check(scratch)
                if old:
                    old.unlink(missing_ok=True)
                    # The old log has two names for a moment; none of them is ever missing.
                    os.link(self.path, old)
                scratch.replace(self.path)
            self._file.close()
            self._file = open_file(self.path, "ab", 0)
        except OSError as error:
            raise StoreWriteError(f"{self.path}: cannot be rewritten: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                scratch.unlink()

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log and release the lock."""
        self._file.close()
        self._lock.close()

    @property
    def size(self) -> int:
        """The length of the log in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def append(self, entries: Iterable[Entry | Bill]) -> int:
        """Append entries or bills and sync them to the disk; returns the log's new size in bytes.

        All or nothing: if writing fails, the log is cut back to its old size. Raises
        StoreWriteError.
        """
        try:
            with appending(self.path.parent, self.path.stem):
                return _append(self.path, self._file, entries)
        except OSError as error:
            raise StoreWriteError(f"{self.path}: cannot be written: {error.strerror}") from None


def _bytes_after_last_break(file: BinaryIO, size: int) -> bytes:
    tail = b""
    position = size
    while position > 0:
        step = min(position, 1 << 16)
        position -= step
        file.seek(position)
        block = file.read(step)
        found = block.rfind(b"\n")
        if found >= 0:
            return block[found + 1 :] + tail
        tail = block + tail
    return tail


def _write_fault(path: Path, error: OSError, safe: int) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        cause = "the disk is full"
    else:
        cause = f"writing failed: {error.strerror}"
    return f"{path}: {cause}; the {safe} bytes written before are safe, make room and start again"
