"""Writing the index of a deck from its log."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Protocol

import lmdb
import orjson
import xxhash

from app.errors import DamagedLineError, IndexUnusableError, StoreWriteError
from app.store.answer import exact_body
from app.store.decision import GONE, GOOD, REOPENED
from app.store.entry import Bill, is_bill, read_line
from app.store.key import HAND
from app.store.log import appending, entry_at, log_digest, log_path, read_lines
from app.store.options import StoreOptions
from app.store.rows import (
    BODY_START,
    META_NAME,
    WAITING,
    Meta,
    Origin,
    Rows,
    answer_name,
    held_content,
    index_path,
    row,
)
from app.store.sealed import empty_copy, private_copy, publish
from app.store.sources import DEFAULT_ORDER, rank
from app.store.stock import Coverage, PlayEntry, StockWriter

# Bytes of the log that one transaction adds to the index, and that are held in memory meanwhile.
_BLOCK = 4 << 20


class IndexedDeck(Protocol):
    """What the index needs to know about a deck."""

    @property
    def id(self) -> str:
        """The deck's id."""

    @property
    def coverage(self) -> Coverage | None:
        """What counting stocked hands needs; None if the deck has no hands."""


class _Line(NamedTuple):
    """A line for `answers` or `held`. When sorted, lines of one key are in the order of the log."""

    name: bytes
    offset: int
    origin: Origin
    body: bytes
    verdict: str
    # How the body ends that the text has which a decision is about.
    tail: bytes


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
        self._published = True
        if meta.deck != self._fresh.deck:
            return f"{self._path}: belongs to deck {meta.deck!r}"
        return _misfit(meta, self._fresh, self._digest.hexdigest())

    def _begin(self) -> None:
        try:
            self._rows = Rows(empty_copy(self._store), self._path, write=True)
        except IndexUnusableError as error:
            raise self._write_fault(error) from None
        self._digest = xxhash.xxh3_64()
        self._published = False
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
                for lines in _blocks(self._log, self.meta().offset):
                    self._take_in(lines)
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
        publish(self._rows.env, self._rows.file, self._path)
        self._published = True

    def _take_in(self, lines: list[tuple[int, bytes]]) -> None:
        """Add some lines of the log, each with its offset, in one transaction."""
        digest = self._digest.copy()
        for _, line in lines:
            digest.update(line)
        meta = self.meta()
        meta.log = digest.hexdigest()
        meta.offset = lines[-1][0] + len(lines[-1][1])
        parsed, plays = self._parse(meta, lines)
        with self._rows.env.begin(write=True) as txn:
            out = self._put_lines(txn, meta, parsed)
            if self._coverage:
                stock = StockWriter(self._rows.databases, self._coverage)
                for hand, group in itertools.groupby(plays, operator.itemgetter(0)):
                    stock.put(txn, meta, hand, list(group), out)
            meta.generation += 1
            self._write_meta(txn, meta)
        self._digest = digest
        self._published = False

    def _parse(
        self, meta: Meta, lines: list[tuple[int, bytes]]
    ) -> tuple[list[_Line], list[PlayEntry]]:
        """Parse lines and count them in `meta`. Sorted, because LMDB then writes far less."""
        numbers = {(source, model): n for n, (source, model, _) in enumerate(meta.origins)}
        parsed, plays = [], []
        for offset, line in lines:
            meta.lines += 1
            try:
                if is_bill(line):
                    _add_bill(meta, Bill.from_line(line))
                    continue
                record, query, usage = read_line(line)
            except DamagedLineError:
                meta.damaged += 1
                continue
            origin = (record["source"], record["model"])
            if origin not in numbers:
                numbers[origin] = len(numbers)
                meta.origins.append((*origin, 0))
            key, variant = bytes.fromhex(record["key"]), record["variant"]
            verdict = record["decision"]["verdict"] if "decision" in record else ""
            where = Origin(numbers[origin], offset, verdict in GOOD)
            body = exact_body(record, query.deck)
            tail = exact_body({**record, "response": {}}, query.deck)[1:] if verdict else b""
            parsed.append(_Line(answer_name(key, variant), offset, where, body, verdict, tail))
            if variant == 0 and query.kind == HAND and self._coverage:
                plays.append(PlayEntry(query.raw_hand_key, key, query))
            meta.cost_usd += record["cost_usd"]
            meta.paid += record["cost_usd"] > 0
            if usage:
                meta.tokens += usage.prompt + usage.output + usage.thoughts
            meta.newest = max(meta.newest, record["created"])
        # By plain tuples: comparing named ones takes twice as long.
        parsed.sort(key=operator.attrgetter("name", "offset"))
        plays.sort(key=operator.attrgetter("hand", "key"))
        return parsed, plays

    def _put_lines(self, txn: lmdb.Transaction, meta: Meta, lines: list[_Line]) -> set[bytes]:
        """Bring what is in force up to some lines; returns the names without a served text."""
        counts: Counter[int] = Counter()
        ranks = [rank(self._fresh.order, source) for source, _, _ in meta.origins]
        out: set[bytes] = set()
        for line in lines:
            old = self._standing(txn, meta, line.name)
            if old and old.body and not _replaces(ranks, line, old):
                (out.discard if old.served else out.add)(line.name)
                continue
            served = line.verdict not in GONE and (line.origin.approved or not self._fresh.approved)
            self._put_line(txn, meta, line, old, served=served)
            counts[line.origin.number] += served
            (out.discard if served else out.add)(line.name)
            meta.reviewed += served and line.origin.approved
            if old and old.served:
                counts[old.origin.number] -= 1
                meta.reviewed -= old.origin.approved
        meta.origins = [
            (source, model, count + counts[number])
            for number, (source, model, count) in enumerate(meta.origins)
        ]
        meta.entries += counts.total()
        return out

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

    def _put_line(
        self, txn: lmdb.Transaction, meta: Meta, line: _Line, old: _Standing | None, *, served: bool
    ) -> None:
        """Write a line's row where it belongs, in place of the old one."""
        answers, held = self._rows.databases["answers"], self._rows.databases["held"]
        if old and old.served and not served:
            txn.delete(line.name, db=answers)
            # A copy elsewhere has rows that must go.
            meta.built = ""
        if old and not old.served:
            txn.delete(line.name, db=held)
            meta.held -= 1
        content = line.body
        if not served:
            content = held_content(line.verdict if line.verdict in GONE else WAITING)
            content += b"" if line.verdict in GONE else line.body
            meta.held += 1
        value = line.origin.packed() + row(line.name, content)
        txn.put(line.name, value, db=answers if served else held)

    def _write_meta(self, txn: lmdb.Transaction, meta: Meta) -> None:
        txn.put(
            META_NAME, row(META_NAME, orjson.dumps(asdict(meta))), db=self._rows.databases["meta"]
        )


def is_current(options: StoreOptions, deck: IndexedDeck, meta: Meta) -> bool:
    """Whether an index with this `meta` has the whole log, so that there is nothing to write or to say.

    Raises OSError.
    """
    log = log_path(options.folder, deck.id)
    fresh = _fresh(deck, options.sources, options.radius, approved=options.approved)
    digest = log_digest(log, meta.offset).hexdigest()
    whole = not meta.damaged and log.stat().st_size == meta.offset
    return whole and not _misfit(meta, fresh, digest)


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


def _add_bill(meta: Meta, bill: Bill) -> None:
    meta.cost_usd += bill.cost_usd
    meta.tokens += bill.usage.prompt + bill.usage.output + bill.usage.thoughts


def _replaces(ranks: Sequence[int], line: _Line, old: _Standing) -> bool:
    """Whether a line replaces a text that is in force; see `app.store.decision`."""
    if line.verdict in GONE or line.verdict == REOPENED:
        return old.body.endswith(line.tail)
    return _rank(ranks, line.origin) <= _rank(ranks, old.origin)


def _rank(ranks: Sequence[int], origin: Origin) -> int:
    return -1 if origin.approved else ranks[origin.number]


def _blocks(log: Path, start: int) -> Iterator[list[tuple[int, bytes]]]:
    """The log's complete lines from an offset on, each with its offset, some MB at a time."""
    lines: list[tuple[int, bytes]] = []
    size = 0
    for offset, line in read_lines(log, start):
        if not line.endswith(b"\n"):
            break
        lines.append((offset, line))
        size += len(line)
        if size >= _BLOCK:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines
