"""The state that the workers of a server share and that survives restarts: one SQLite file.

`<ledger>/state.sqlite` holds small things: the number of hands dealt, the wall, conversations, rate
limits, tallies and counters. Journals (misses, votes) are files of their own, because the planner
reads them whole.

Each thread of each process has its own connection, opened after the fork. With write-ahead logging,
readers do not block the writer, and a killed process damages nothing; a loss of power can undo the
last transactions. If the file cannot be opened or written (a full or read-only disk), the process
uses a state of its own in memory and tries the file again with the next transaction: an answer
matters more than a count. Sums that could not be added wait in memory until the file can be
written. A damaged file is renamed and a new one is begun. SQLite detects damage to its own
structures only; other damage shows when a value cannot be parsed, so values are parsed within the
transaction.

Times are those of the wall clock, which processes and restarts share; if the clock was set back, a
time in the future counts as now.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import xxhash

from app.errors import StateUnavailableError
from app.ledger.trouble import Trouble
from app.store.lock import locked

ResultT = TypeVar("ResultT")
KeyT = TypeVar("KeyT", bound=Hashable)

log = logging.getLogger(__name__)

NAME = "state.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, size INTEGER, next INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rows (space TEXT, key INTEGER, used REAL, value BLOB, PRIMARY KEY (space, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_used ON rows (space, used);
CREATE TABLE IF NOT EXISTS lists (name TEXT, place INTEGER, key TEXT, value BLOB, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sums (space TEXT, name TEXT, numbers TEXT, PRIMARY KEY (space, name)) WITHOUT ROWID;
"""
# Seconds to wait for another process that writes, in tries of a millisecond; and once that was in vain,
# until a transaction succeeds: a request has several, and must not wait for each.
_BUSY, _STILL_BUSY = 1.0, 0.02
_READ, _WRITE = "BEGIN", "BEGIN IMMEDIATE"
_NEWER = (
    "INSERT INTO rows VALUES (?, ?, ?, ?) ON CONFLICT (space, key) DO UPDATE "
    "SET used = excluded.used, value = excluded.value WHERE excluded.used > used"
)
# SQLite's error codes for a damaged file. Other errors may pass by themselves: a lock, a full disk.
_DAMAGE = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_NOTADB,
    }
)
# What parsing a damaged value raises.
_MISREAD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
# Rows are counted once in this many writes, so that there can be this many more than allowed.
_SWEEP = 64


class State:
    """The shared state in a ledger's folder, or in this process's memory if `folder` is None.

    `now` gives seconds of the wall clock. Methods do not raise if the file cannot be used; they then
    use the memory of this process.
    """

    def __init__(self, folder: Path | None, now: Callable[[], float]) -> None:
        self._folder = folder
        self.now = now
        self._own = threading.local()
        self._memory: tuple[int, sqlite3.Connection] | None = None
        self._memory_lock = threading.RLock()
        self._trouble = Trouble(now)
        self._wait = _BUSY
        # Whether the memory has values that could not be written to the file.
        self._apart = False
        self._writes = 0
        self._turn = threading.Lock()
        self._waiting: dict[tuple[str, str], list[int]] = {}
        self._waiting_lock = threading.Lock()
        self._waiting_pid = os.getpid()

    def run(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        """Do `work` in one transaction of the file, or of this process's memory."""
        try:
            return self._shared(work)
        except StateUnavailableError:
            with self._memory_lock:
                self._apart = True
                return _transaction(self._in_memory(), work)

    def read(self, work: Callable[[sqlite3.Connection], ResultT]) -> list[ResultT]:
        """What `work`, which only reads, finds: in the file, and in the memory while it has newer values.

        It does not wait for another process that writes.
        """
        found = []
        if self._folder is not None:
            with suppress(StateUnavailableError):
                found.append(self._shared(work, _READ))
        if self._apart or not found:
            with self._memory_lock:
                found.append(work(self._in_memory()))
        return found

    def _shared(
        self, work: Callable[[sqlite3.Connection], ResultT], begin: str = _WRITE
    ) -> ResultT:
        """Do `work` in one transaction of the file, or of the memory if there is to be no file.

        Raises StateUnavailableError if the file cannot be used; nothing has then changed.
        """
        if self._folder is None:
            with self._memory_lock:
                return _transaction(self._in_memory(), work)
        try:
            if begin == _READ:
                return _transaction(self._connection(), work, _READ, self._wait)
            return self._written(work)
        except (sqlite3.DatabaseError, *_MISREAD) as error:
            damaged = _is_damage(error, self._folder / NAME)
            if damaged:
                # If the work fails with an empty database too, the file is not the cause.
                with closing(_opened(":memory:")) as empty:
                    _transaction(empty, work)
            self._failed(error, damaged=damaged)
            raise StateUnavailableError(str(error)) from error
        except OSError as error:
            self._trouble.warn(f"the state is not shared: {self._folder}: {error.strerror}")
            raise StateUnavailableError(str(error)) from error

    def _written(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        # SQLite has no queue for its lock: with all threads of all workers competing, one could
        # starve. So the threads of a process take turns.
        if not self._turn.acquire(timeout=self._wait):
            raise TimeoutError(errno.ETIMEDOUT, "too many wait for it", NAME)
        try:
            file, wait = self._connection(), self._wait
            if self._apart:
                with self._memory_lock:
                    result = _transaction(file, lambda file: self._caught_up(file, work), wait=wait)
                    self._in_memory().execute("DELETE FROM rows")
                    self._apart = False
            else:
                result = _transaction(file, work, wait=wait)
        except sqlite3.OperationalError:
            self._wait = _STILL_BUSY
            raise
        finally:
            self._turn.release()
        self._wait = _BUSY
        return result

    def _caught_up(
        self, file: sqlite3.Connection, work: Callable[[sqlite3.Connection], ResultT]
    ) -> ResultT:
        """Do `work`, after the values of keys that only the memory has or has newer are in the file."""
        file.executemany(_NEWER, self._in_memory().execute("SELECT * FROM rows").fetchall())
        return work(file)

    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread; a new one after a fork, or if the file was replaced."""
        kept: tuple[int, sqlite3.Connection] | None = getattr(self._own, "connection", None)
        assert self._folder is not None
        path = self._folder / NAME
        if kept and kept[0] == os.getpid() and self._own.file != _identity(path):
            # Whatever is written to a file that was deleted or replaced is lost.
            self.close()
            kept = None
        if kept is None or kept[0] != os.getpid():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._own.file = _identity(path)
            # SQLite does not wait for other processes while it changes to WAL.
            with locked(self._folder):
                kept = os.getpid(), _opened(path, self._wait)
            self._own.connection = kept
            self._own.file = _identity(path)
        return kept[1]

    def _in_memory(self) -> sqlite3.Connection:
        if self._memory is None or self._memory[0] != os.getpid():
            self._memory = os.getpid(), _opened(":memory:")
        return self._memory[1]

    def _failed(self, error: Exception, *, damaged: bool) -> None:
        assert self._folder is not None
        kept = getattr(self._own, "connection", None)
        self._own.connection = None
        if kept and kept[0] == os.getpid():
            with suppress(sqlite3.Error):
                kept[1].close()
        self._trouble.warn(f"the state is not shared: {self._folder}/{NAME}: {error}")
        if damaged:
            with suppress(OSError), locked(self._folder):
                # Another thread or worker may have begun a new file already.
                if self._own.file == _identity(self._folder / NAME):
                    _set_aside(self._folder / NAME)

    def take_number(self, name: str, size: int) -> int:
        """The next of 0, 1, 2, … under a name; from 0 again if `size` has changed."""

        def work(file: sqlite3.Connection) -> int:
            number = _next(file, name, size)
            file.execute("REPLACE INTO numbers VALUES (?, ?, ?)", (name, size, number + 1))
            return number

        return self.run(work)

    def taken(self, name: str, size: int) -> int:
        """How many numbers were taken under a name since `size` changed."""
        return self.run(lambda file: _next(file, name, size))

    def changed_list(
        self, name: str, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]
    ) -> None:
        """Change a short list of keys and values, in one transaction."""

        def work(file: sqlite3.Connection) -> None:
            new = change(_list(file, name))
            file.execute("DELETE FROM lists WHERE name = ?", (name,))
            rows = [(name, place, key, value) for place, (key, value) in enumerate(new)]
            file.executemany("INSERT INTO lists VALUES (?, ?, ?, ?)", rows)

        self.run(work)

    def list_of(self, name: str, read: Callable[[bytes], ResultT]) -> list[ResultT]:
        """The values of a list, in its order, parsed by `read`, which raises if one is damaged."""
        return self.run(lambda file: [read(value) for _, value in _list(file, name)])

    def add_sums(self, space: str, sums: Mapping[str, Sequence[int]]) -> None:
        """Add numbers to those stored under the same names in `space`; new names begin at 0.

        If the file cannot be written, they wait in this process until the next call.
        """
        with self._waiting_lock:
            if self._waiting_pid != os.getpid():
                # The parent adds what waited before the fork.
                self._waiting, self._waiting_pid = {}, os.getpid()
            for name, numbers in sums.items():
                add_to(self._waiting, (space, name), numbers)
            new, self._waiting = self._waiting, {}
        try:
            self._shared(lambda file: _add_rows(file, new))
        except StateUnavailableError:
            with self._waiting_lock:
                for key, numbers in new.items():
                    add_to(self._waiting, key, numbers)

    def sums(
        self, space: str, check: Callable[[str, list[int]], object] = lambda name, numbers: None
    ) -> dict[str, list[int]]:
        """The sums of a space by name, with those that wait in this process.

        `check` raises if a name or its numbers are damaged.
        """

        def work(file: sqlite3.Connection) -> dict[str, list[int]]:
            query = "SELECT name, numbers FROM sums WHERE space = ?"
            found = {name: _numbers(text) for name, text in file.execute(query, (space,))}
            for name, numbers in found.items():
                check(name, numbers)
            return found

        found = self.run(work)
        with self._waiting_lock:
            for (of, name), numbers in self._waiting.items():
                if of == space:
                    add_to(found, name, numbers)
        return found

    def spaces(self, prefix: str) -> list[str]:
        """The names of all spaces of sums that begin with `prefix`."""
        query = "SELECT DISTINCT space FROM sums WHERE substr(space, 1, ?) = ?"
        return [
            row[0] for row in self.run(lambda f: f.execute(query, (len(prefix), prefix)).fetchall())
        ]

    def close(self) -> None:
        """Close this thread's connection."""
        kept = getattr(self._own, "connection", None)
        self._own.connection = None
        if kept and kept[0] == os.getpid():
            kept[1].close()

    def due_for_sweep(self) -> bool:
        """Whether to look for surplus rows now: once in `_SWEEP` calls."""
        self._writes += 1
        return self._writes % _SWEEP == 1


class KeyedValues:
    """Values of `size` bytes by key; a new value, or one unused for `forget` seconds, is zeros.

    At most `most` values are kept, those used last (and up to `_SWEEP` more for a while). Keys are
    stored as hashes, so that the file holds no text.
    """

    def __init__(self, state: State, space: str, most: int, size: int, forget: float) -> None:
        self._state = state
        self._space = space
        self._most = most
        self._size = size
        self._forget = forget

    def read(self, key: str) -> bytes:
        """The value of a key; reading does not count as use."""
        query = "SELECT used, value FROM rows WHERE space = ? AND key = ?"
        found = self._state.read(lambda f: f.execute(query, (self._space, _digest(key))).fetchone())
        row: Any = max((row for row in found if row), key=lambda row: float(row[0]), default=None)
        return row[1] if self._fresh(row, self._state.now()) else bytes(self._size)

    def _fresh(self, row: tuple[float, bytes] | None, now: float) -> bool:
        return row is not None and now - row[0] <= self._forget and len(row[1]) == self._size

    def change(self, key: str, change: Callable[[bytearray], ResultT]) -> ResultT:
        """Change the value of a key in place, in one transaction; returns what `change` returns."""
        digest = _digest(key)
        now = self._state.now()

        def work(file: sqlite3.Connection) -> ResultT:
            row = file.execute(
                "SELECT used, value FROM rows WHERE space = ? AND key = ?", (self._space, digest)
            ).fetchone()
            value = bytearray(row[1] if self._fresh(row, now) else self._size)
            result = change(value)
            file.execute(
                "REPLACE INTO rows VALUES (?, ?, ?, ?)", (self._space, digest, now, bytes(value))
            )
            if row is None and self._state.due_for_sweep():
                self._sweep(file, now)
            return result

        return self._state.run(work)

    def _sweep(self, file: sqlite3.Connection, now: float) -> None:
        file.execute(
            "DELETE FROM rows WHERE space = ? AND used < ?", (self._space, now - self._forget)
        )
        count = file.execute("SELECT count(*) FROM rows WHERE space = ?", (self._space,)).fetchone()
        if count[0] > self._most:
            file.execute(
                "DELETE FROM rows WHERE space = ? AND key IN (SELECT key FROM rows WHERE space = ? "
                "ORDER BY used LIMIT ?)",
                (self._space, self._space, count[0] - self._most),
            )

    def count(self) -> int:
        """How many values were used within the last `forget` seconds."""
        since = self._state.now() - self._forget
        query = "SELECT count(*) FROM rows WHERE space = ? AND used >= ?"
        return int(self._state.run(lambda f: f.execute(query, (self._space, since)).fetchone()[0]))


def _digest(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass")) - (1 << 63)


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of the file at a path; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: Exception, path: Path) -> bool:
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    # The error for text that is not UTF-8 has no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    # SQLite opens a file read-only if its header names an unknown version.
    unknown = code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)
    return unknown or code & 0xFF in _DAMAGE


def _set_aside(path: Path) -> None:
    """Rename a damaged file, so that a new one can be begun."""
    for number in range(1, 100):
        aside = path.with_name(f"{NAME}.damaged-{number}")
        if not aside.exists():
            path.rename(aside)
            for tail in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    path.with_name(NAME + tail).rename(f"{aside}{tail}")
            log.warning("%s was damaged; it is kept as %s and a new one is begun", path, aside)
            return


class _Connection(sqlite3.Connection):
    """A connection that is closed with its thread; from Python 3.13 on, others are warned about."""

    pid = 0

    def __del__(self) -> None:
        # A child of a fork must not close what its parent goes on using.
        if self.pid == os.getpid():
            with suppress(sqlite3.Error):
                self.close()


def _opened(path: Path | str, wait: float = _BUSY) -> sqlite3.Connection:
    # check_same_thread: all threads use the database in memory, under a lock.
    file = sqlite3.connect(
        path, timeout=wait, isolation_level=None, check_same_thread=False, factory=_Connection
    )
    file.pid = os.getpid()
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        # KiB: each of a worker's 70 threads has a cache of its own, and the system has one for all.
        file.execute("PRAGMA cache_size = -128")
        file.executescript(_SCHEMA)
        # SQLite waits longer before each retry, up to a tenth of a second, and so may never meet a
        # moment when a busy process has released the lock. `_begin` retries every millisecond.
        file.execute("PRAGMA busy_timeout = 1")
    except BaseException:
        file.close()
        raise
    return file


def _transaction(
    file: sqlite3.Connection,
    work: Callable[[sqlite3.Connection], ResultT],
    begin: str = _WRITE,
    wait: float = _BUSY,
) -> ResultT:
    """Do `work` in a transaction, for whose beginning another process is waited for `wait` seconds."""
    _begin(file, begin, wait)
    try:
        result = work(file)
    except BaseException:
        with suppress(sqlite3.Error):
            file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")
    return result


def _begin(file: sqlite3.Connection, begin: str, wait: float) -> None:
    for _ in range(int(wait * 1000)):
        try:
            file.execute(begin)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        else:
            return
    file.execute(begin)


def add_to(sums: dict[KeyT, list[int]], key: KeyT, numbers: Sequence[int]) -> None:
    """Add numbers to those under the same key."""
    old = sums.get(key, [0] * len(numbers))
    sums[key] = [a + b for a, b in zip(old, numbers, strict=True)]


def _add_rows(file: sqlite3.Connection, new: Mapping[tuple[str, str], Sequence[int]]) -> None:
    for (space, name), numbers in new.items():
        row = file.execute(
            "SELECT numbers FROM sums WHERE space = ? AND name = ?", (space, name)
        ).fetchone()
        sums = {name: _numbers(row[0])} if row else {}
        add_to(sums, name, numbers)
        text = " ".join(map(str, sums[name]))
        file.execute("REPLACE INTO sums VALUES (?, ?, ?)", (space, name, text))


def _numbers(text: str) -> list[int]:
    return list(map(int, text.split()))


def _next(file: sqlite3.Connection, name: str, size: int) -> int:
    row = file.execute("SELECT size, next FROM numbers WHERE name = ?", (name,)).fetchone()
    return int(row[1]) if row and row[0] == size else 0


def _list(file: sqlite3.Connection, name: str) -> list[tuple[str, bytes]]:
    query = "SELECT key, value FROM lists WHERE name = ? ORDER BY place"
    return [(key, value) for key, value in file.execute(query, (name,))]
