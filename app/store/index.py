"""Reading the index of a deck, and the interface that every index has, wherever it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import lmdb
import orjson

from app.errors import IndexUnusableError, NothingCookedError
from app.store.hands import KEY_SIZE, nearest_records
from app.store.log import log_path
from app.store.rows import (
    BODY_START,
    ORIGIN_SIZE,
    VARIANT,
    Meta,
    Origin,
    Rows,
    answer_name,
    checksum,
    content_of,
    index_path,
    position_name,
    variant_of,
)
from app.store.sealed import readable


class IndexReader(Protocol):
    """The interface of an index: a file or Redis.

    A row that cannot be read, or whose checksum does not fit, counts as not found, so that the next
    tier answers; `fault` then says why, and is empty otherwise. `constant` is whether the contents
    never change while it is open.
    """

    fault: str
    constant: bool

    def close(self) -> None:
        """Release files and connections."""

    def meta(self) -> Meta:
        """The index's description of itself."""

    def get(self, key: bytes, variant: int = 0) -> bytes | None:
        """The finished body for a key of 16 bytes, or None."""

    def variants(self, key: bytes, most: int) -> list[bytes]:
        """The finished bodies of a key's variants in order, at most `most`."""

    def content(self, database: str, name: bytes) -> bytes | None:
        """The content of a row of `held`, `hands` or `stock`, or None."""

    def is_held(self, key: bytes, variant: int = 0) -> bool:
        """Whether a text of this key is not served: rejected, deleted, or not approved yet."""
        return self.content("held", answer_name(key, variant)) is not None

    def nearest(self, hand_key: bytes, digests: bytes, radius: int) -> list[tuple[int, bytes]]:
        """The entries of a hand that differ in 1 to `radius` phrases, the nearest first.

        Each as (number of differences, key of 16 bytes).
        """
        return nearest_records(self.content("hands", hand_key) or b"", digests, radius)

    def stocked(self, position: int) -> list[str]:
        """The card ids of the stocked hand at a position; empty if it cannot be read."""
        cards: list[str] = orjson.loads(self.content("stock", position_name(position)) or b"[]")
        return cards

    def stock(self) -> list[list[str]]:
        """The card ids of every stocked hand; empty where one cannot be read."""
        return [self.stocked(position) for position in range(self.meta().stocked_hands)]


# Gives the current index, or None if there is none: it can be replaced while we serve.
IndexSource = Callable[[], IndexReader | None]


class Index(IndexReader):
    """A deck's index file, as it was when it was opened; `whole`: it is read whole first in any case.

    Raises NothingCookedError if there is neither log nor index, IndexUnusableError if the index is
    missing, damaged, or belongs to another deck.
    """

    constant = True

    def __init__(self, store: Path, deck: str, *, whole: bool = False) -> None:
        self.path = index_path(store, deck)
        self.fault = ""
        try:
            here, cooked = self.path.exists(), log_path(store, deck).exists()
        except OSError as error:
            raise IndexUnusableError(f"{store}: cannot be read: {error.strerror}") from None
        if not here and not cooked:
            raise NothingCookedError(
                f"{store}: nothing is cooked for deck {deck!r} yet; run: "
                f"precompute build --deck {deck} --n 100 --dry-run"
            )
        if not here:
            raise IndexUnusableError(
                f"{store}: no index of deck {deck!r}; run: precompute check --repair"
            )
        self._open(readable(self.path, whole=whole))
        self._times = self._written()
        self._meta = self._rows.meta()
        if self._meta.deck != deck:
            raise IndexUnusableError(f"{self.path}: belongs to deck {self._meta.deck!r}")

    def _open(self, file: BinaryIO) -> None:
        self._rows = Rows(file, self.path, write=False)
        self._env, self._answers = self._rows.env, self._rows.databases["answers"]

    def reopen(self) -> None:
        """Open the same file anew, in a process that was forked since.

        LMDB's library ends no transaction of an environment that another process opened: each
        lookup would leave a kilobyte behind.
        """
        file = os.fdopen(os.dup(self._rows.file.fileno()), "rb")
        self._rows.close()
        self._open(file)

    def intact(self) -> bool:
        """Whether nobody has written to the file, or cut it short, since it was opened.

        A copy is always intact; so is a file that was replaced or removed.
        """
        return self._written() == self._times

    def _written(self) -> tuple[int, int]:
        status = os.fstat(self._rows.file.fileno())
        return status.st_size, status.st_mtime_ns

    def close(self) -> None:
        self._rows.close()

    def meta(self) -> Meta:
        return self._meta

    def get(self, key: bytes, variant: int = 0) -> bytes | None:
        # The hot path. A context manager and buffers would take half as long again.
        name = key + VARIANT.pack(variant)
        try:
            txn = self._env.begin(self._answers)
            value = txn.get(name)
            txn.abort()
        except lmdb.Error as error:
            self.fault = f"{self.path}: cannot be read: {error}"
            return None
        if value is None:
            return None
        body: bytes = value[BODY_START:]
        if not value.startswith(checksum(body + name), ORIGIN_SIZE):
            self.fault = f"{self.path}: the answer {key.hex()} is damaged"
            return None
        return body

    def variants(self, key: bytes, most: int) -> list[bytes]:
        names: list[bytes] = []
        try:
            with self._env.begin() as txn, txn.cursor(self._answers) as cursor:
                if cursor.set_range(key):
                    for name in cursor.iternext(values=False):
                        if name[:KEY_SIZE] != key or len(names) == most:
                            break
                        names.append(name)
        except lmdb.Error as error:
            self.fault = f"{self.path}: cannot be read: {error}"
        bodies = (self.get(key, variant_of(name)) for name in names)
        return [body for body in bodies if body is not None]

    def content(self, database: str, name: bytes) -> bytes | None:
        try:
            return self._rows.read(database, name, ORIGIN_SIZE if database == "held" else 0)
        except IndexUnusableError as error:
            self.fault = str(error)
            return None

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source that a build must be better than, as `IndexWriter.source_of` gives it."""
        return self._rows.source_of(self._meta.origins, key, variant)

    def offset(self, key: str, variant: int = 0) -> int | None:
        """The offset in the log of the entry that is served for this key; None if there is none."""
        origin = self._rows.origin(key, variant)
        return None if origin is None else origin.offset

    def keys(self, database: str = "answers") -> Iterator[tuple[str, int]]:
        """Every key (32 hex digits) and variant of `answers` or `held`, sorted."""
        with self._env.begin() as txn, txn.cursor(self._rows.databases[database]) as cursor:
            for name in cursor.iternext(values=False):
                yield name[:KEY_SIZE].hex(), variant_of(name)

    def hands(self) -> Iterator[tuple[bytes, bytes]]:
        """Every hand key with its records (see `app.store.hands`), sorted; damaged rows are skipped."""
        with self._env.begin() as txn, txn.cursor(self._rows.databases["hands"]) as cursor:
            for name, value in cursor:
                if joined := content_of(name, value):
                    yield name, joined

    def rows_since(self, offset: int) -> Iterator[tuple[str, Iterator[tuple[bytes, bytes]]]]:
        """Rows for a copy of the index elsewhere, as (database, its names and values).

        Of `answers` and `held`, those whose lines begin at `offset` or later, without their origin;
        all of `hands` and `stock`.
        """
        with self._env.begin() as txn:
            for database in ("answers", "held"):
                with txn.cursor(self._rows.databases[database]) as cursor:
                    yield (
                        database,
                        (
                            (name, value[ORIGIN_SIZE:])
                            for name, value in cursor
                            if Origin.of(value).offset >= offset
                        ),
                    )
            for database in ("hands", "stock"):
                with txn.cursor(self._rows.databases[database]) as cursor:
                    yield database, iter(cursor)
