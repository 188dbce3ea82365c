"""The index: an LMDB file derived from the log, in which an exact hit is one lookup.

Files: `<deck>.<six digits>.lmdb` in the store's folder; the highest number is in force. New entries
go into the file in force by a transaction, which running readers see at once: appending costs what
is new, not what is there. (Building a second file for every build was tried first: it costs the
whole store each time.) Where the file does not fit the log or the settings (another deck, another
order of sources, a replaced log), it is built anew beside the old one and put in place by a rename.

Databases of the file:

    answers   key (16 bytes) + variant (u16, big endian)  →  origin (u16) + offset (u64) + body
    hands     hand key (16)  →  number of cards (u8) + a record for each entry of variant 0:
                                key (16) + 8 bytes a card, the hash of its phrase
    stock     position (u32, big endian)  →  JSON list of card ids
    stocked   hand key (16)  →  position in `stock`
    meta      b"meta"        →  JSON, see `Meta`

`origin` is a number into Meta.origins; `offset` is where the entry's line begins in the log.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import operator
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import lmdb
import orjson
import xxhash

from app.core.batches import Answer, Batch, BatchReader, Seat, read_batches
from app.core.coverage import Word, is_stocked, sphere_bound
from app.core.decks import AnyDeck
from app.core.entry import Entry
from app.core.key import Query, phrase_hash
from app.core.log import log_path
from app.core.parts import Parts, unpack
from app.errors import DamagedLineError, IndexUnusableError, KeyCollisionError, StoreWriteError

FORMAT = 5
# Sources, best first: an entry replaces another of its key where its source is as good or better.
DEFAULT_ORDER = ("gemini", "gemini-legacy", "openai", "ollama", "composer")
# The map is address space, not memory: reserving much once spares every reader a remapping.
MAP_SIZE = 1 << 36

_PREFIX = struct.Struct("<HQ")
_PREFIX_SIZE = _PREFIX.size
_VARIANT = struct.Struct(">H")
_POSITION = struct.Struct(">I")
_META = b"meta"
_KEY_SIZE = 16
_DATABASES = ("answers", "hands", "stock", "stocked", "meta")
# Bytes of the log that are sorted in one go where the index is built from nothing.
_PART = 32 << 20
_READERS = 1024
# A line of the processor's cache a reader, and a page for what stands before them.
_LOCK_SIZE = 64 * _READERS + 4096


@dataclass
class Meta:
    """What the index says of itself.

    `offset` is how much of the log it holds, `first` the checksum of the log's first line, `last`
    that of the bytes before `offset`,
    `plays` counts the entries that answer a play of the deck of today (variant 0), `shape` stands
    for its cards and phrases, `origins` are [source, model, entries in force].
    """

    deck: str
    shape: str
    order: list[str]
    radius: int
    format: int = FORMAT
    first: str = ""
    last: str = ""
    offset: int = 0
    lines: int = 0
    damaged: int = 0
    entries: int = 0
    plays: int = 0
    paid: int = 0
    generation: int = 0
    origins: list[tuple[str, str, int]] = field(default_factory=list)
    cost_usd: float = 0.0
    tokens: float = 0.0
    newest: str = ""
    stocked_hands: int = 0
    stocked_plays: int = 0


def index_paths(store: Path, deck: str) -> list[Path]:
    """The index files of a deck, the one in force last."""
    pattern = re.compile(re.escape(deck) + r"\.\d{6}\.lmdb")
    try:
        return sorted(path for path in store.iterdir() if pattern.fullmatch(path.name))
    except FileNotFoundError:
        return []


def _reserve_lock(path: Path) -> None:
    """Give the lock file its room on the disk. Raises OSError where there is none.

    LMDB makes it a sparse file and maps it: on a full disk the process would die of a bus error at
    the first reader, and not be told of it.
    """
    descriptor = os.open(f"{path}-lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        status = os.fstat(descriptor)
        if status.st_size < _LOCK_SIZE or status.st_blocks * 512 < status.st_size:
            os.posix_fallocate(descriptor, 0, max(_LOCK_SIZE, status.st_size))
    finally:
        os.close(descriptor)


def _open(path: Path, *, write: bool, lock: bool = True, sync: bool = True) -> lmdb.Environment:
    if lock and hasattr(os, "posix_fallocate"):
        _reserve_lock(path)
    return lmdb.open(
        str(path),
        subdir=False,
        readonly=not write,
        lock=lock,
        sync=sync,
        map_size=MAP_SIZE,
        max_dbs=len(_DATABASES),
        max_readers=_READERS,
        readahead=False,
    )


def least_size(env: lmdb.Environment) -> int:
    """The length of a file that holds all of its pages."""
    return int((env.info()["last_pgno"] + 1) * env.stat()["psize"])


def _first_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return ""
    return xxhash.xxh3_64_hexdigest(line) if line.endswith(b"\n") else ""


def _last_of(path: Path, offset: int) -> str:
    # As many bytes as hold the last line's checksum.
    length = min(offset, 64)
    try:
        with path.open("rb") as file:
            file.seek(offset - length)
            return xxhash.xxh3_64_hexdigest(file.read(length))
    except FileNotFoundError:
        return ""


def records_of(joined: bytes) -> list[bytes]:
    """The records of a hand, as the database `hands` has them."""
    width = _KEY_SIZE + 8 * joined[0] if joined else 1
    return [joined[at : at + width] for at in range(1, len(joined), width)]


@lru_cache(maxsize=64)
def _runs(cards: int, count: int) -> tuple[slice, ...]:
    edges = [8 * (i * cards // count) for i in range(count + 1)]
    return tuple(map(slice, edges, edges[1:]))


def nearest_records(joined: bytes, digests: bytes, radius: int) -> list[tuple[int, bytes]]:
    """Of a hand's records those that differ in 1 to `radius` phrases, as (how many, key), sorted.

    Where the digests are cut into one run more than may differ, a record that is near has one of
    the runs whole: searching for runs looks closely at few records. (Comparing every record's
    digests one by one cost ten times as much for the 27 of a stocked hand.)
    """
    width, cards = _KEY_SIZE + len(digests), len(digests) // 8
    phrases = _phrases(cards)
    wanted = phrases.unpack(digests)
    near = set()
    for run in _runs(cards, radius + 1):
        part, before = digests[run], _KEY_SIZE + run.start
        at = joined.find(part)
        while at >= 0:
            start = at - before
            if start > 0 and start % width == 1:
                key_end = start + _KEY_SIZE
                found = phrases.unpack_from(joined, key_end)
                differing = sum(map(operator.ne, found, wanted))
                if 0 < differing <= radius:
                    near.add((differing, joined[start:key_end]))
            at = joined.find(part, at + 1)
    return sorted(near)


@lru_cache(maxsize=16)
def _phrases(cards: int) -> struct.Struct:
    return struct.Struct(f"={cards}Q")


class IndexReader(Protocol):
    """What a server asks of an index, wherever it is kept."""

    def close(self) -> None:
        """Give back what it holds."""

    def meta(self) -> Meta:
        """What the index says of itself."""

    def get(self, key: bytes, variant: int = 0) -> bytes | None:
        """The finished body for a key of 16 bytes, or None."""

    def variants(self, key: bytes, most: int) -> list[bytes]:
        """The finished bodies of a key's variants in order, at most so many."""

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether there is an entry for this key."""

    def same_hand(self, hand_key: bytes) -> list[tuple[bytes, bytes]]:
        """The entries of a hand: key of 16 bytes, and the phrase hashes in canonical order."""

    def nearest(self, hand_key: bytes, digests: bytes, radius: int) -> list[tuple[int, bytes]]:
        """The entries of a hand that differ in 1 to `radius` phrases, the nearest first."""

    def stocked(self, position: int) -> list[str]:
        """The cards of a stocked hand by its position."""

    def is_stocked(self, hand_key: str) -> bool:
        """Whether every play of this hand is within the radius of an entry."""

    def keys(self) -> Iterator[tuple[str, int]]:
        """Every key and variant in force, in the order of the keys."""

    def stamp(self) -> int | None:
        """A number that every change of what it holds raises; None where none can be had cheaply."""

    def outdated(self) -> bool:
        """Whether it must be opened again."""


class Index:
    """A reader's view of a deck's index. Sees what a writer commits without being told.

    Raises IndexUnusableError where there is none, or where it is another deck's or broken.
    """

    def __init__(self, store: Path, deck: str) -> None:
        paths = index_paths(store, deck)
        if not paths:
            raise IndexUnusableError(
                f"{store}: no index of deck {deck!r}; run: precompute check --repair"
            )
        self.path = paths[-1]
        self._open(deck)

    def _open(self, deck: str) -> None:
        # Without the right to write beside the file there can be no reader table; nobody who could
        # reuse a page under us can write there either, as far as this account knows.
        lock = os.access(self.path.parent, os.W_OK)
        try:
            inode = self.path.stat().st_ino
            try:
                self._env = _open(self.path, write=False, lock=lock)
            except OSError:
                # A full disk has no room for a reader table, and none for a writer either.
                self._env = _open(self.path, write=False, lock=False)
            # A page that is not there is no error to a memory map: the process would die of it.
            if self.path.stat().st_size < least_size(self._env):
                self._env.close()
                raise IndexUnusableError(f"{self.path}: is cut short")
            handles = [self._env.open_db(name.encode(), create=False) for name in _DATABASES]
        except (OSError, lmdb.Error) as error:
            raise IndexUnusableError(f"{self.path}: cannot be read: {error}") from None
        self._answers, self._hands, self._stock, self._stocked, self._meta = handles
        self._inode = inode
        found = self.meta().deck
        if found != deck:
            self.close()
            raise IndexUnusableError(f"{self.path}: belongs to deck {found!r}")

    def close(self) -> None:
        """Give the map back."""
        self._env.close()

    def meta(self) -> Meta:
        """What the index says of itself."""
        with self._env.begin() as txn:
            return _read_meta(txn, self._meta, self.path)

    def get(self, key: bytes, variant: int = 0) -> bytes | None:
        """The finished body for a key of 16 bytes, or None."""
        # What is asked of it most. As a context manager, with buffers, it takes half as long again.
        txn = self._env.begin(self._answers)
        value = txn.get(key + _VARIANT.pack(variant))
        txn.abort()
        return None if value is None else value[_PREFIX_SIZE:]

    def stamp(self) -> int:
        """A number that every change of what it holds raises: its last transaction's."""
        txn = self._env.begin()
        number: int = txn.id()
        txn.abort()
        return number

    def variants(self, key: bytes, most: int) -> list[bytes]:
        """The finished bodies of a key's variants in order, at most so many."""
        with self._env.begin() as txn, txn.cursor(self._answers) as cursor:
            found: list[bytes] = []
            if cursor.set_range(key):
                for stored, value in cursor:
                    if stored[:16] != key or len(found) == most:
                        break
                    found.append(bytes(value[_PREFIX.size :]))
            return found

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether there is an entry for this key."""
        with self._env.begin(buffers=True) as txn:
            found = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return found is not None

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of the entry in force for this key."""
        with self._env.begin() as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return None if value is None else _source(txn, self._meta, self.path, value)

    def offset(self, key: str, variant: int = 0) -> int | None:
        """Where the line of the entry in force begins in the log."""
        with self._env.begin(buffers=True) as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return None if value is None else int(_PREFIX.unpack_from(value)[1])

    def same_hand(self, hand_key: bytes) -> list[tuple[bytes, bytes]]:
        """The entries of a hand: key of 16 bytes, and the phrase hashes in canonical order."""
        with self._env.begin() as txn:
            joined = txn.get(hand_key, b"", db=self._hands)
        return [(record[:_KEY_SIZE], record[_KEY_SIZE:]) for record in records_of(joined)]

    def nearest(self, hand_key: bytes, digests: bytes, radius: int) -> list[tuple[int, bytes]]:
        """The entries of a hand that differ in 1 to `radius` phrases, the nearest first.

        As pairs of how many phrases differ and the key of 16 bytes.
        """
        txn = self._env.begin()  # not as a context manager, see `get`
        records = txn.get(hand_key, b"", db=self._hands)
        txn.abort()
        return nearest_records(records, digests, radius)

    def stocked(self, position: int) -> list[str]:
        """The cards of a stocked hand by its position."""
        with self._env.begin() as txn:
            value = txn.get(_POSITION.pack(position), db=self._stock)
        if value is None:
            raise IndexError(position)
        cards: list[str] = orjson.loads(value)
        return cards

    def is_stocked(self, hand_key: str) -> bool:
        """Whether every play of this hand is within the radius of an entry."""
        with self._env.begin() as txn:
            return txn.get(bytes.fromhex(hand_key), db=self._stocked) is not None

    def keys(self) -> Iterator[tuple[str, int]]:
        """Every key and variant in force, in the order of the keys."""
        with self._env.begin() as txn, txn.cursor(self._answers) as cursor:
            for key in cursor.iternext(values=False):
                yield key[:16].hex(), _VARIANT.unpack(key[16:])[0]

    def since(self, offset: int) -> Iterator[tuple[str, Iterator[tuple[bytes, bytes]]]]:
        """What came in from the log from an offset on, by database; hands and stock as a whole.

        For those who keep a copy: of answers the key and the body.
        """
        with self._env.begin() as txn:
            yield "answers", self._answers_since(txn, offset)
            for name, database in (
                ("hands", self._hands),
                ("stock", self._stock),
                ("stocked", self._stocked),
            ):
                with txn.cursor(database) as cursor:
                    yield name, ((bytes(key), bytes(value)) for key, value in cursor)

    def _answers_since(self, txn: lmdb.Transaction, offset: int) -> Iterator[tuple[bytes, bytes]]:
        with txn.cursor(self._answers) as cursor:
            for key, value in cursor.iternext():
                if _PREFIX.unpack_from(value)[1] >= offset:
                    yield bytes(key), bytes(value[_PREFIX.size :])

    def outdated(self) -> bool:
        """Whether a newer file has been put in place, or one of the same name after a deletion."""
        paths = index_paths(self.path.parent, self.path.name.split(".")[0])
        if not paths:
            return False
        with contextlib.suppress(FileNotFoundError):
            return paths[-1] != self.path or self.path.stat().st_ino != self._inode
        return False


def _read_meta(txn: lmdb.Transaction, database: Any, path: Path) -> Meta:
    raw = txn.get(_META, db=database)
    if raw is None:
        raise IndexUnusableError(f"{path}: not an index of ours")
    fields = orjson.loads(bytes(raw))
    if fields.get("format") != FORMAT:
        raise IndexUnusableError(f"{path}: has format {fields.get('format')}, this is {FORMAT}")
    return Meta(**fields)


def _source(txn: lmdb.Transaction, database: Any, path: Path, value: bytes) -> str:
    origin = _PREFIX.unpack_from(value)[0]
    return str(_read_meta(txn, database, path).origins[origin][0])


class IndexWriter:
    """Brings the index up to the log. Whoever makes one holds the log's lock.

    `why_rebuilt` says why the file in force could not be continued, or is empty. Raises
    StoreWriteError where the folder cannot be written, KeyCollisionError where two different
    queries share a key.
    """

    def __init__(
        self, store: Path, deck: AnyDeck, order: Sequence[str] = DEFAULT_ORDER, radius: int = 1
    ) -> None:
        self._store = store
        self._deck = deck
        self._log = log_path(store, deck.id)
        self._fresh = Meta(deck=deck.id, shape=deck.shape, order=list(order), radius=radius)
        self.why_rebuilt = ""
        try:
            store.mkdir(parents=True, exist_ok=True)
            self._path = self._usable_path() or self._rebuild()
            self._env = self._opened(self._path, sync=True)
        except (OSError, lmdb.Error) as error:
            raise StoreWriteError(f"{store}: the index cannot be written: {error}") from None

    def _opened(self, path: Path, *, sync: bool) -> lmdb.Environment:
        env = _open(path, write=True, sync=sync)
        env.reader_check()
        handles = [env.open_db(name.encode()) for name in _DATABASES]
        self._answers, self._hands, self._stock, self._stocked, self._meta_db = handles
        return env

    def _usable_path(self) -> Path | None:
        paths = index_paths(self._store, self._deck.id)
        if not paths:
            self.why_rebuilt = "there was none" if self._log.exists() else ""
            return None
        try:
            index = Index(self._store, self._deck.id)
        except IndexUnusableError as error:
            self.why_rebuilt = str(error)
            return None
        meta = index.meta()
        index.close()
        self.why_rebuilt = self._misfit(meta)
        return None if self.why_rebuilt else paths[-1]

    def _misfit(self, meta: Meta) -> str:
        size = self._log.stat().st_size if self._log.exists() else 0
        if meta.order != self._fresh.order:
            return "the order of sources has changed"
        if meta.radius != self._fresh.radius:
            return "the radius has changed"
        if meta.shape != self._fresh.shape:
            return "cards or phrases of the deck have changed"
        if size < meta.offset or (meta.lines and not self._continues(meta)):
            return "the log is not the one it was built from"
        return ""

    def _continues(self, meta: Meta) -> bool:
        return meta.first == _first_of(self._log) and meta.last == _last_of(self._log, meta.offset)

    def _rebuild(self) -> Path:
        paths = index_paths(self._store, self._deck.id)
        number = int(paths[-1].name.split(".")[1]) + 1 if paths else 1
        path = self._store / f"{self._deck.id}.{number:06}.lmdb"
        scratch = self._store / f"{self._deck.id}.new"
        _remove(scratch)
        self._env = self._opened(scratch, sync=False)
        self._build()
        self._env.sync(True)
        self._env.close()
        Path(f"{scratch}-lock").unlink(missing_ok=True)
        scratch.rename(path)
        for old in paths:
            _remove(old)
        return path

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._env.close()

    def meta(self) -> Meta:
        """What the index says of itself now."""
        with self._env.begin() as txn:
            return _read_meta(txn, self._meta_db, self._store)

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether the index, as far as it has caught up, has an entry for this key."""
        with self._env.begin() as txn:
            found = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return found is not None

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of the entry in force for this key."""
        with self._env.begin() as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return None if value is None else _source(txn, self._meta_db, self._store, value)

    def created(self, key: str, variant: int = 0) -> str:
        """When the entry in force for this key was made; empty where there is none."""
        with self._env.begin() as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            if value is None:
                return ""
            offset = _PREFIX.unpack_from(value)[1]
        with self._log.open("rb") as file:
            file.seek(offset)
            return Entry.from_line(file.readline()).created

    def catch_up(self) -> Meta:
        """Take in what the log has beyond the index; returns what the index then says.

        Raises StoreWriteError where the disk is full, KeyCollisionError.
        """
        try:
            return self._catch_up()
        except (OSError, lmdb.Error) as error:
            raise StoreWriteError(
                f"{self._store}: the index cannot be written: {error}; what is in the log is safe, "
                "make room and start again"
            ) from None

    def _catch_up(self) -> Meta:
        """Batch by batch, each with one transaction: the index holds the log up to an offset."""
        meta = self.meta()
        for batch in read_batches(BatchReader(self._log, self._deck, 1), meta.offset):
            if not batch.lines:
                break
            with self._env.begin(write=True) as txn:
                self._account(meta, batch)
                self._file(txn, meta, unpack(batch.answers))
                self._seat_all(txn, meta, unpack(batch.seats))
                meta.generation += 1
                self._write_meta(txn, meta)
            self._pad()
        return meta

    def _build(self) -> None:
        """The same from nothing, in a file that nobody reads yet: all keys in one row.

        Each page is written once and full. (Batch by batch, every batch of a large log would change
        as many pages as it has entries.)
        """
        meta = replace(self._fresh)
        size = self._log.stat().st_size if self._log.exists() else 0
        count = size // _PART + 1
        with Parts(count, self._store) as answers, Parts(count, self._store) as seats:
            for batch in read_batches(BatchReader(self._log, self._deck, count), 0):
                self._account(meta, batch)
                answers.add(batch.answers)
                seats.add(batch.seats)
            for part in answers:
                with self._env.begin(write=True) as txn:
                    self._file(txn, meta, part, append=True)
            for part in seats:
                with self._env.begin(write=True) as txn:
                    self._seat_all(txn, meta, part, append=True)
        meta.generation += meta.lines > 0
        with self._env.begin(write=True) as txn:
            self._write_meta(txn, meta)
        self._pad()

    def _account(self, meta: Meta, batch: Batch) -> None:
        meta.first = meta.first or _first_of(self._log)
        meta.offset = batch.end
        meta.last = _last_of(self._log, meta.offset)
        meta.lines += batch.lines
        meta.damaged += batch.damaged
        meta.newest = max(meta.newest, batch.newest)
        for cost in batch.costs:
            meta.cost_usd += cost
            meta.paid += cost > 0
        for tokens in batch.tokens:
            meta.tokens += tokens
        known = _origins(meta)
        new = [origin for origin in batch.origins if origin not in known]
        meta.origins = [*meta.origins, *((*origin, 0) for origin in new)]

    def _pad(self) -> None:
        """LMDB need not write a last page that it freed at once; readers count on the full length."""
        path = Path(self._env.path())
        least = least_size(self._env)
        if path.stat().st_size < least:
            os.truncate(path, least)

    def _file(
        self, txn: lmdb.Transaction, meta: Meta, answers: list[Answer], *, append: bool = False
    ) -> None:
        """Put entries in force where they are as good as what is there. They are sorted."""
        numbers, counts = _origins(meta), Counter[int]()
        for key, start, source, body in answers:
            origin = numbers[source]
            value = _PREFIX.pack(origin, start) + body
            if txn.put(key, value, db=self._answers, overwrite=False, append=append):
                meta.entries += 1
                counts[origin] += 1
                continue
            old_origin, old_start = _PREFIX.unpack_from(txn.get(key, b"", db=self._answers))
            self._compare(key, old_start, start)
            if self._rank(meta, origin) <= self._rank(meta, old_origin):
                txn.put(key, value, db=self._answers)
                counts[old_origin] -= 1
                counts[origin] += 1
        meta.origins = [
            (source, model, count + counts[number])
            for number, (source, model, count) in enumerate(meta.origins)
        ]

    def _rank(self, meta: Meta, origin: int) -> int:
        source = meta.origins[origin][0]
        return meta.order.index(source) if source in meta.order else len(meta.order)

    def _compare(self, key: bytes, old_start: int, start: int) -> None:
        """Hash to find, compare to confirm."""
        try:
            old = query_at(self._log, old_start)
        except DamagedLineError:
            return
        if old.canonical != query_at(self._log, start).canonical:
            raise KeyCollisionError(
                f"{self._log}: the lines at bytes {old_start} and {start} share key "
                f"{key[:_KEY_SIZE].hex()} but ask different things; remove the wrong one"
            )

    def _seat_all(
        self, txn: lmdb.Transaction, meta: Meta, seats: list[Seat], *, append: bool = False
    ) -> None:
        """Add entries to the records of their hands. They are sorted."""
        for hand, group in itertools.groupby(seats, _by_hand):
            self._seat(txn, meta, hand, list(group), append=append)

    def _seat(
        self, txn: lmdb.Transaction, meta: Meta, hand: bytes, seats: list[Seat], *, append: bool
    ) -> None:
        """Add what is new to the records of a hand, and the hand to the stock once it is whole."""
        joined = b"" if append else bytes(txn.get(hand, b"", db=self._hands))
        new = {seat[1]: seat for seat in seats}
        for record in records_of(joined):
            new.pop(record[:_KEY_SIZE], None)
        if not new:
            return
        joined = joined or bytes([len(seats[0][2]) // 8])
        joined += b"".join([key + digests for _, key, digests, _ in new.values()])
        txn.put(hand, joined, db=self._hands, append=append)
        plays = [cards for *_, cards in new.values() if cards]
        if plays:
            meta.plays += len(plays)
            self._update_stock(txn, meta, hand, plays[0], joined)

    def _update_stock(
        self,
        txn: lmdb.Transaction,
        meta: Meta,
        hand: bytes,
        card_ids: tuple[str, ...],
        joined: bytes,
    ) -> None:
        cards = [self._deck.card_by_id[card] for card in card_ids]
        options = tuple([len(card.phrases) for card in cards])
        if len(joined) <= _fewest(options, meta.radius) * (_KEY_SIZE + 8 * len(cards)):
            return
        if txn.get(hand, db=self._stocked) is not None:
            return
        places = [{phrase_hash(p.id): i for i, p in enumerate(card.phrases)} for card in cards]
        found = (_word(record[_KEY_SIZE:], places) for record in records_of(joined))
        if is_stocked([word for word in found if word], options, meta.radius):
            txn.put(_POSITION.pack(meta.stocked_hands), orjson.dumps(card_ids), db=self._stock)
            txn.put(hand, _POSITION.pack(meta.stocked_hands), db=self._stocked)
            meta.stocked_hands += 1
            meta.stocked_plays += math.prod(options)

    def _write_meta(self, txn: lmdb.Transaction, meta: Meta) -> None:
        txn.put(_META, orjson.dumps(asdict(meta)), db=self._meta_db)


_by_hand = operator.itemgetter(0)
_fewest = lru_cache(maxsize=1 << 10)(sphere_bound)


def _word(hashes: bytes, places: Sequence[dict[bytes, int]]) -> Word | None:
    word = [place.get(hashes[8 * i : 8 * i + 8], -1) for i, place in enumerate(places)]
    return tuple(word) if min(word) >= 0 else None


def _origins(meta: Meta) -> dict[tuple[str, str], int]:
    """The number of each origin."""
    return {(source, model): n for n, (source, model, _) in enumerate(meta.origins)}


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    Path(f"{path}-lock").unlink(missing_ok=True)


def query_at(log: Path, offset: int) -> Query:
    """The query of the entry whose line begins here."""
    with log.open("rb") as file:
        file.seek(offset)
        return Entry.from_line(file.readline()).query
