"""Writing the index of a deck from its log."""

from __future__ import annotations

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

import lmdb
import orjson
import xxhash

from app.errors import DamagedLineError, IndexUnusableError, StoreWriteError
from app.store.answer import exact_body
from app.store.entry import Bill, is_bill, read_line
from app.store.hands import KEY_SIZE, is_hand_stocked, records_of
from app.store.key import HAND, Query
from app.store.log import entry_at, log_path, read_lines
from app.store.plain import open_file
from app.store.rows import (
    META_NAME,
    SUM_SIZE,
    Meta,
    Origin,
    Rows,
    answer_name,
    index_path,
    position_name,
    row,
)
from app.store.sealed import empty_copy, private_copy, publish
from app.store.sources import DEFAULT_ORDER, rank

# Bytes of the log that one transaction adds to the index, and that are held in memory meanwhile.
_CHUNK = 4 << 20
_BLOCK = 1 << 20


class Coverage(Protocol):
    """What the index needs to know about the hands of a deck, to count those that are stocked."""

    @property
    def shape(self) -> str:
        """A text that changes if cards or phrases change, on which coverage depends."""

    def phrase_ids(self, query: Query) -> tuple[tuple[str, ...], ...] | None:
        """The ids of the phrases of each card of a play, the cards in the query's order.

        None if the query is not a play of this deck.
        """


class IndexedDeck(Protocol):
    """What the index needs to know about a deck."""

    @property
    def id(self) -> str:
        """The deck's id."""

    @property
    def coverage(self) -> Coverage | None:
        """What counting stocked hands needs; None if the deck has no hands."""


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


class _Answer(NamedTuple):
    """An entry for `answers`. When sorted, entries of one key are in the order of the log."""

    name: bytes
    offset: int
    origin: int
    body: bytes


class _Play(NamedTuple):
    """An entry of variant 0 for `hands`."""

    hand: bytes
    key: bytes
    query: Query


class IndexWriter:
    """Brings the index up to the log. The caller must hold the log's lock.

    `why_rebuilt` says why the published index could not be extended, or is empty. Raises
    StoreWriteError if the folder cannot be written.
    """

    def __init__(
        self, store: Path, deck: IndexedDeck, order: Sequence[str] = DEFAULT_ORDER, radius: int = 1
    ) -> None:
        self._store = store
        self._coverage = deck.coverage
        self._log = log_path(store, deck.id)
        self._path = index_path(store, deck.id)
        shape = self._coverage.shape if self._coverage else ""
        self._fresh = Meta(deck=deck.id, shape=shape, order=list(order), radius=radius)
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
        return self._misfit(meta)

    def _misfit(self, meta: Meta) -> str:
        fresh = self._fresh
        if meta.deck != fresh.deck:
            return f"{self._path}: belongs to deck {meta.deck!r}"
        if meta.order != fresh.order:
            return "the order of sources has changed"
        if meta.radius != fresh.radius:
            return "the radius has changed"
        if meta.shape != fresh.shape:
            return "cards or phrases of the deck have changed"
        if meta.log != self._digest.hexdigest():
            return "the log is not the one it was built from"
        return ""

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rows.close()

    def meta(self) -> Meta:
        """The index's description of itself, as of now."""
        return self._rows.meta()

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether the index, as of the last `catch_up`, has an entry for this key."""
        return self._rows.origin(key, variant) is not None

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of the entry that is served for this key; None if there is none."""
        origin = self._rows.origin(key, variant)
        return None if origin is None else self.meta().origins[origin.number][0]

    def created(self, key: str, variant: int = 0) -> str:
        """When the entry served for this key was made; empty if there is none or it is damaged."""
        origin = self._rows.origin(key, variant)
        try:
            return "" if origin is None else entry_at(self._log, origin.offset).created
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
            for lines in _chunks(self._log, self.meta().offset):
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
        answers, plays = self._parse(meta, lines)
        with self._rows.env.begin(write=True) as txn:
            self._put_answers(txn, meta, answers)
            for hand, group in itertools.groupby(plays, operator.itemgetter(0)):
                self._put_hand(txn, meta, hand, list(group))
            meta.generation += 1
            self._write_meta(txn, meta)
        self._digest = digest
        self._published = False

    def _parse(
        self, meta: Meta, lines: list[tuple[int, bytes]]
    ) -> tuple[list[_Answer], list[_Play]]:
        """Parse lines and count them in `meta`. Sorted, because LMDB then writes far less."""
        numbers = {(source, model): n for n, (source, model, _) in enumerate(meta.origins)}
        answers, plays = [], []
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
            body = exact_body(record, query.deck)
            answers.append(_Answer(answer_name(key, variant), offset, numbers[origin], body))
            if variant == 0 and query.kind == HAND and self._coverage:
                plays.append(_Play(query.raw_hand_key, key, query))
            meta.cost_usd += record["cost_usd"]
            meta.paid += record["cost_usd"] > 0
            if usage:
                meta.tokens += usage.prompt + usage.output + usage.thoughts
            meta.newest = max(meta.newest, record["created"])
        answers.sort()
        plays.sort()
        return answers, plays

    def _put_answers(self, txn: lmdb.Transaction, meta: Meta, answers: list[_Answer]) -> None:
        """Write entries, each only if its source is as good as that of the entry it replaces."""
        database = self._rows.databases["answers"]
        counts: Counter[int] = Counter()
        ranks = [rank(self._fresh.order, source) for source, _, _ in meta.origins]
        for name, offset, origin, body in answers:
            value = Origin(origin, offset).packed() + row(name, body)
            if txn.put(name, value, db=database, overwrite=False):
                meta.entries += 1
            else:
                old = Origin.of(bytes(txn.get(name, b"", db=database))).number
                if ranks[origin] > ranks[old]:
                    continue
                txn.put(name, value, db=database)
                counts[old] -= 1
            counts[origin] += 1
        meta.origins = [
            (source, model, count + counts[number])
            for number, (source, model, count) in enumerate(meta.origins)
        ]

    def _put_hand(self, txn: lmdb.Transaction, meta: Meta, hand: bytes, plays: list[_Play]) -> None:
        """Add new plays to the records of a hand, and the hand to the stock once it is covered."""
        hands, stock = self._rows.databases["hands"], self._rows.databases["stock"]
        value = bytes(txn.get(hand, b"", db=hands))
        before = value[SUM_SIZE:] if value else bytes([len(plays[0].query.sorted_picks)])
        new = {play.key: play.query for play in plays}
        for record in records_of(before):
            new.pop(record[:KEY_SIZE], None)
        if not new or self._coverage is None:
            return
        joined = before + b"".join([key + query.digests for key, query in new.items()])
        txn.put(hand, row(hand, joined), db=hands)
        known = [query for query in new.values() if self._coverage.phrase_ids(query)]
        meta.plays += len(known)
        phrases = self._coverage.phrase_ids(known[0]) if known else None
        if (
            phrases
            and is_hand_stocked(joined, phrases, meta.radius)
            and not is_hand_stocked(before, phrases, meta.radius)
        ):
            position = position_name(meta.stocked_hands)
            cards = orjson.dumps([card for card, _ in known[0].picks])
            txn.put(position, row(position, cards), db=stock)
            meta.stocked_hands += 1
            meta.stocked_plays += math.prod(map(len, phrases))

    def _write_meta(self, txn: lmdb.Transaction, meta: Meta) -> None:
        txn.put(
            META_NAME, row(META_NAME, orjson.dumps(asdict(meta))), db=self._rows.databases["meta"]
        )


def _add_bill(meta: Meta, bill: Bill) -> None:
    meta.cost_usd += bill.cost_usd
    meta.tokens += bill.usage.prompt + bill.usage.output + bill.usage.thoughts


def _chunks(log: Path, start: int) -> Iterator[list[tuple[int, bytes]]]:
    """The log's complete lines from an offset on, each with its offset, some MB at a time."""
    lines: list[tuple[int, bytes]] = []
    size = 0
    for offset, line in read_lines(log, start):
        if not line.endswith(b"\n"):
            break
        lines.append((offset, line))
        size += len(line)
        if size >= _CHUNK:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines
