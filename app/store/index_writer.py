"""Writing the index of a deck from its log."""

from __future__ import annotations

import itertools
import operator
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Protocol

import lmdb
import orjson
import xxhash

from app.errors import DamagedLineError, IndexUnusableError, StoreWriteError
from app.store.decision import GONE, REOPENED
from app.store.hands import KEY_SIZE
from app.store.log import appending, blocks, entry_at, log_digest, log_path
from app.store.options import StoreOptions
from app.store.proof import SETTLED, identity
from app.store.reading import VALUE_START, Line, Reader
from app.store.rows import (
    BODY_START,
    META_NAME,
    NAME_SIZE,
    ORIGIN,
    WAITING,
    Meta,
    Origin,
    Rows,
    held_content,
    index_path,
    row,
)
from app.store.sealed import copy_of, empty_copy, private_copy, publish
from app.store.sorting import Sorter
from app.store.sources import DEFAULT_ORDER, rank
from app.store.stock import Coverage, StockWriter

# Bytes of the log that are parsed at a time.
_BLOCK = 1 << 20
_hand = operator.itemgetter(slice(KEY_SIZE))


class IndexedDeck(Protocol):
    """What the index needs to know about a deck."""

    @property
    def id(self) -> str:
        """The deck's id."""

    @property
    def coverage(self) -> Coverage | None:
        """What counting stocked hands needs; None if the deck has no hands."""


class _Standing(NamedTuple):
    """What is in force for a name: its origin, its body (empty if it is gone), whether it is served."""

    origin: Origin
    body: bytes
    served: bool


class IndexWriter:
    """Brings the index up to the log. The caller must hold the log's lock.

    `why_rebuilt` says why the published index could not be extended, or is empty. Raises
    StoreWriteError if the folder cannot be written.
    """

    def __init__(
        self, store: Path, deck: IndexedDeck, order: Sequence[str] = DEFAULT_ORDER, radius: int = 1,
        *, approved: bool = False,
    ) -> None:  # fmt: skip
        self._store = store
        self._coverage = deck.coverage
        self._log = log_path(store, deck.id)
        self._path = index_path(store, deck.id)
        self._fresh = _fresh(deck, order, radius, approved=approved)
        try:
            store.mkdir(parents=True, exist_ok=True)
            self.why_rebuilt = self._continue()
            if self.why_rebuilt:
                self._begin()
        except (OSError, lmdb.Error) as error:
            raise self._write_fault(error) from None
        if self.why_rebuilt:
            self.catch_up()
        if not self.meta().lines:
            # Nothing is cooked yet.
            self.why_rebuilt = ""

    @classmethod
    def at(cls, options: StoreOptions, deck: IndexedDeck) -> IndexWriter:
        """The index of a deck by the options of its store."""
        order, radius, approved = options.sources, options.radius, options.approved
        return cls(options.folder, deck, order, radius, approved=approved)

    def _continue(self) -> str:
        """Open a private copy of the published index; returns why it cannot be extended, or ""."""
        if not self._path.exists():
            return "there was none"
        try:
            self._rows = Rows(private_copy(self._path), self._path, write=True)
            meta = self._rows.meta()
        except (IndexUnusableError, OSError) as error:
            return str(error)
        self._digest = log_digest(self._log, meta.offset)
        # Whether the rows are those of the published file; whether they are in a file without a name,
        # which may be written to; whether they have all of the lines that `meta` counts.
        self._published = self._private = self._whole = True
        if meta.deck != self._fresh.deck:
            return f"{self._path}: belongs to deck {meta.deck!r}"
        return _misfit(meta, self._fresh, self._digest.hexdigest())

    def _begin(self) -> None:
        try:
            self._rows = Rows(empty_copy(self._store), self._path, write=True)
        except IndexUnusableError as error:
            raise self._write_fault(error) from None
        self._digest = xxhash.xxh3_64()
        self._published, self._private, self._whole = False, True, True
        self._fresh.log = self._digest.hexdigest()
        with self._rows.env.begin(write=True) as txn:
            self._write_meta(txn, self._fresh)

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._rows.close()

    def meta(self) -> Meta:
        """The index's description of itself, as of now."""
        return self._rows.meta()

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether the index, as of the last `catch_up`, has an answer that no build need cook."""
        return self.source_of(key, variant) is not None

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source that a build must be better than; None if it should cook the answer.

        No source is better than a reviewer's word: a text that is approved, edited or deleted.
        """
        return self._rows.source_of(self.meta().origins, key, variant)

    def created(self, key: str, variant: int = 0) -> str:
        """When the text in force for this key was made; empty if there is none or it is damaged."""
        found = self._rows.standing(key, variant)
        try:
            return "" if found is None else entry_at(self._log, found[1].offset).created
        except DamagedLineError:
            return ""

    @property
    def notes(self) -> list[str]:
        """Notes for the operator: why the index was built again, and how many lines are damaged."""
        notes = []
        if self.why_rebuilt:
            notes.append(f"{self._log}: the index was built again: {self.why_rebuilt}")
        if damaged := self.meta().damaged:
            notes.append(
                f"{self._log}: {damaged} damaged lines are left out, a build cooks their answers "
                "again; precompute check names them, check --repair sets them aside"
            )
        return notes

    def catch_up(self) -> Meta:
        """Add the lines that the log has beyond the index and publish it; returns its new Meta.

        Raises StoreWriteError if it cannot be written.
        """
        try:
            # Whoever publishes has read the log to its end, so that no index replaces a newer one.
            with appending(self._store, self._fresh.deck):
                if not self._whole:
                    # An error or a signal ended the last time.
                    self._begin()
                self._take_in(self.meta())
                if not self._published:
                    self._publish()
        except (OSError, lmdb.Error) as error:
            raise self._write_fault(error) from None
        return self.meta()

    def _write_fault(self, error: Exception) -> StoreWriteError:
        reason = error.strerror if isinstance(error, OSError) else error
        return StoreWriteError(
            f"{self._path}: the index cannot be written: {reason}; what is in the log is safe, mend that "
            "(make room, move away what is in its place) and start again"
        )

    def _publish(self) -> None:
        meta = self.meta()
        if not meta.built:
            meta.built = meta.log
            with self._rows.env.begin(write=True) as txn:
                self._write_meta(txn, meta)
        self._private = False
        publish(self._rows.env, self._rows.file, self._path)
        self._published = True

    def _take_in(self, meta: Meta) -> None:
        """Add the lines that the log has beyond the index.

        They are sorted first: to a new index LMDB then only appends, and of another it changes each
        page once.
        """
        # Before it is read: what is changed meanwhile has a later time.
        log = identity(self._log)
        size = log.size - meta.offset if log else 0
        answers, plays = (
            Sorter(self._store, NAME_SIZE, size),
            Sorter(self._store, KEY_SIZE, size // 8),
        )
        digest, new, reader = self._digest.copy(), not meta.lines, Reader(meta, self._coverage)
        for start, block in blocks(self._log, meta.offset, _BLOCK):
            digest.update(block)
            meta.offset = start + len(block)
            reader.take(start, block)
            answers.add(reader.answers)
            plays.add(reader.plays)
            reader.answers, reader.plays = [], []
        if digest.digest() == self._digest.digest():
            return
        meta.log = digest.hexdigest()
        meta.log_modified_ns = log.modified_ns if log and log.size == meta.offset else 0
        meta.generation += 1
        if not self._private:
            copy = copy_of(self._rows.file, self._store)
            self._rows.close()
            self._rows, self._private = Rows(copy, self._path, write=True), True
        self._published = self._whole = False
        for part in answers.parts():
            with self._rows.env.begin(write=True) as txn:
                self._put_rows(txn, meta, part, new=new)
        if self._coverage:
            stock = StockWriter(self._rows.databases, self._coverage, meta.radius)
            for part in plays.parts():
                with self._rows.env.begin(write=True) as txn:
                    for hand, group in itertools.groupby(part, _hand):
                        stock.put(txn, meta, hand, list(group), new=new)
        with self._rows.env.begin(write=True) as txn:
            self._write_meta(txn, meta)
        self._digest, self._whole = digest, True

    def _put_rows(self, txn: lmdb.Transaction, meta: Meta, rows: list[bytes], *, new: bool) -> None:
        """Bring what is in force up to some rows of `Reader`; `new`: their names follow all that are there."""
        counts: Counter[int] = Counter()
        ranks = [rank(self._fresh.order, source) for source, _, _ in meta.origins]
        answers, approved = self._rows.databases["answers"], self._fresh.approved
        for one in rows:
            # Nearly all lines are new: to look first would cost half as much again.
            if not (one[NAME_SIZE] or approved or meta.held):
                name, value = one[:NAME_SIZE], one[VALUE_START:]
                if txn.put(name, value, overwrite=False, append=new, db=answers):
                    counts[ORIGIN.unpack_from(value)[0]] += 1
                    continue
            self._put_line(txn, meta, Line.of(one), ranks, counts)
        meta.origins = [
            (source, model, count + counts[number])
            for number, (source, model, count) in enumerate(meta.origins)
        ]
        meta.entries += counts.total()

    def _put_line(
        self, txn: lmdb.Transaction, meta: Meta, line: Line, ranks: Sequence[int], counts: Counter[int]
    ) -> None:  # fmt: skip
        """Put a line in force, unless what is there is better, and count it by its origin."""
        origin, verdict = line.origin, line.verdict
        served = verdict not in GONE and (origin.approved or not self._fresh.approved)
        old = self._standing(txn, meta, line.name)
        if old and old.body:
            if verdict in GONE or verdict == REOPENED:
                replaces = old.body.endswith(line.tail)
            else:
                replaces = _rank(ranks, origin) <= _rank(ranks, old.origin)
            if not replaces:
                return
        state = "" if served else verdict if verdict in GONE else WAITING
        self._write_row(txn, meta, line, state, old)
        counts[origin.number] += served
        meta.reviewed += served and origin.approved
        if old and old.served:
            counts[old.origin.number] -= 1
            meta.reviewed -= old.origin.approved

    def _standing(self, txn: lmdb.Transaction, meta: Meta, name: bytes) -> _Standing | None:
        value = txn.get(name, db=self._rows.databases["answers"])
        if value is not None:
            body = bytes(value)
            return _Standing(Origin.of(body), body[BODY_START:], served=True)
        value = txn.get(name, db=self._rows.databases["held"]) if meta.held else None
        if value is None:
            return None
        body = bytes(value)
        return _Standing(Origin.of(body), body[BODY_START:].partition(b"\n")[2], served=False)

    def _write_row(
        self, txn: lmdb.Transaction, meta: Meta, line: Line, state: str, old: _Standing | None
    ) -> None:
        """Write a line's row where it belongs, in place of the old one. `state` is empty if it is served."""
        name, body = line.name, line.body
        answers, held = self._rows.databases["answers"], self._rows.databases["held"]
        if old and old.served and state:
            txn.delete(name, db=answers)
            # A copy elsewhere has rows that must go.
            meta.built = ""
        if old and not old.served:
            txn.delete(name, db=held)
            meta.held -= 1
        if state:
            body = held_content(state, b"" if state in GONE else body)
            meta.held += 1
        txn.put(name, line.origin.packed() + row(name, body), db=held if state else answers)

    def _write_meta(self, txn: lmdb.Transaction, meta: Meta) -> None:
        txn.put(
            META_NAME, row(META_NAME, orjson.dumps(asdict(meta))), db=self._rows.databases["meta"]
        )


def is_current(options: StoreOptions, deck: IndexedDeck, meta: Meta) -> bool:
    """Whether an index with this `meta` has the whole log, so that there is nothing to write or to say.

    Raises OSError.
    """
    log = log_path(options.folder, deck.id)
    status = log.stat()
    if meta.damaged or status.st_size != meta.offset:
        return False
    # The log of ten million answers has 12 GB, and is read as slowly as the disk.
    untouched = status.st_mtime_ns == meta.log_modified_ns and _settled(options, deck, status)
    digest = meta.log if untouched else log_digest(log, meta.offset).hexdigest()
    fresh = _fresh(deck, options.sources, options.radius, approved=options.approved)
    return not _misfit(meta, fresh, digest)


def _settled(options: StoreOptions, deck: IndexedDeck, log: os.stat_result) -> bool:
    """Whether any change of a log since its index was published gave it another time."""
    index = identity(index_path(options.folder, deck.id))
    return index is not None and index.modified_ns - log.st_mtime_ns > SETTLED


def _fresh(deck: IndexedDeck, order: Sequence[str], radius: int, *, approved: bool) -> Meta:
    shape = deck.coverage.shape if deck.coverage else ""
    return Meta(deck=deck.id, shape=shape, order=list(order), radius=radius, approved=approved)


def _misfit(meta: Meta, fresh: Meta, log: str) -> str:
    """Why an index cannot be extended; `log` is the checksum of what it covers of the log."""
    differing = {
        "the order of sources has changed": meta.order != fresh.order,
        "the radius has changed": meta.radius != fresh.radius,
        "whether only approved answers are served has changed": meta.approved != fresh.approved,
        "cards or phrases of the deck have changed": meta.shape != fresh.shape,
        "the log is not the one it was built from": meta.log != log,
    }
    return next((why for why, differs in differing.items() if differs), "")


def _rank(ranks: Sequence[int], origin: Origin) -> int:
    return -1 if origin.approved else ranks[origin.number]
