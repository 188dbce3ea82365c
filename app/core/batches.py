"""What an index keeps of a log's lines, batch by batch, read by this process or by several.

A batch is a range of the log cut at line ends. Batches depend on nothing but their range, so that
who reads one does not matter; they are given in the order of the log.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.answer import body_of_line
from app.core.decks import AnyDeck
from app.core.entry import Usage, read_line
from app.core.key import HAND, Query
from app.core.log import read_lines
from app.core.parts import pack
from app.errors import DamagedLineError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Bytes of the log in a batch: enough that sorting what it holds pays, and little enough to hold.
RANGE = 4 << 20
# Reading is more than half of a build, so that two processes halve that; a build with both held 175 MB.
READERS = min(2, os.cpu_count() or 1)
# A process takes 0.4 s to start: what this one reads meanwhile, and more.
WORTH_READERS = 64 << 20

Range = tuple[int, int]


# What is packed must be plain tuples.
# An entry as `answers` takes it in: key and variant, where its line begins, source and model, body.
# Sorted, those of one key are in the order of the log.
Answer = tuple[bytes, int, tuple[str, str], bytes]
# An entry as `hands` takes it in: the hand's key, its own, the phrases' digests, and the cards, none
# where it is no play of the deck.
Seat = tuple[bytes, bytes, bytes, tuple[str, ...]]


@dataclass(slots=True)
class Batch:
    """A range of the log: what is kept of it, packed by part, and what is counted.

    `origins` are [source, model] in the order in which they come first; `costs` and `tokens` those
    that are not zero, one by one: adding them up here would round otherwise than in one row.
    """

    end: int
    lines: int = 0
    damaged: int = 0
    newest: str = ""
    costs: list[float] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)
    origins: list[tuple[str, str]] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    seats: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class BatchReader:
    """Reads batches of a log, packed for so many parts. Can be handed to another process."""

    log: Path
    deck: AnyDeck
    parts: int

    def read(self, span: Range) -> Batch:
        """The batch of a range. A torn tail is not part of it."""
        start, end = span
        batch = Batch(start)
        answers: list[Answer] = []
        seats: list[Seat] = []
        # One object for each, however many entries have it.
        origins: dict[tuple[str, str], tuple[str, str]] = {}
        for offset, line in read_lines(self.log, start, end):
            if not line.endswith(b"\n"):
                break
            batch.lines += 1
            batch.end = offset + len(line)
            try:
                record, query, usage = read_line(line)
            except DamagedLineError:
                batch.damaged += 1
                continue
            key, variant = bytes.fromhex(record["key"]), record["variant"]
            origin = (record["source"], record["model"])
            origin = origins.setdefault(origin, origin)
            body = body_of_line(record, query.deck)
            answers.append((key + variant.to_bytes(2, "big"), offset, origin, body))
            if variant == 0 and query.kind == HAND:
                seats.append(self._seat(key, query))
            _count(batch, record["cost_usd"], record["created"], usage)
        batch.origins = list(origins)
        batch.answers = pack(answers, self.parts)
        batch.seats = pack(seats, self.parts)
        return batch

    def _seat(self, key: bytes, query: Query) -> Seat:
        known = self.deck.has_play(query)
        cards = tuple([card for card, _ in query.picks]) if known else ()
        return query.raw_hand_key, key, query.digests, cards


def _count(batch: Batch, cost: float, created: str, usage: Usage | None) -> None:
    if cost:
        batch.costs.append(cost)
    if usage:
        batch.tokens.append(usage.prompt + usage.output + usage.thoughts)
    batch.newest = max(batch.newest, created)


def ranges(log: Path, start: int) -> Iterator[Range]:
    """The log from an offset to its end as it is now, cut at line ends. Raises OSError."""
    try:
        file = log.open("rb")
    except FileNotFoundError:
        return
    with file:
        size = file.seek(0, os.SEEK_END)
        while start < size:
            file.seek(min(start + RANGE, size))
            file.readline()
            yield start, file.tell()
            start = file.tell()


def read_batches(reader: BatchReader, start: int, readers: int = READERS) -> Iterator[Batch]:
    """The batches of a log from an offset on, in order. Raises OSError.

    Where there is much to read, so many processes read; a batch whose process has ended without
    giving it is read by this one.
    """
    size = reader.log.stat().st_size if reader.log.exists() else 0
    spans = ranges(reader.log, start)
    if readers < 2 or size - start < WORTH_READERS:
        yield from map(reader.read, spans)
        return
    with ExitStack() as stack:
        crew = [stack.enter_context(_Helper(reader)) for _ in range(readers)]
        asked: deque[_Helper] = deque()
        for number, span in enumerate(spans):
            # Two for each: one to work on, and the next one.
            if len(asked) == 2 * readers:
                yield asked.popleft().given()
            helper = crew[number % readers]
            helper.ask(span)
            asked.append(helper)
        while asked:
            yield asked.popleft().given()


class _Helper:
    """A process that reads batches. It ends with this one, for then nobody asks."""

    def __init__(self, reader: BatchReader) -> None:
        # A build has threads, and forking those is not safe: hence a fresh interpreter.
        from multiprocessing import get_context

        context = get_context("spawn")
        self._reader = reader
        self._asked: deque[Range] = deque()
        self._here, there = context.Pipe()
        self._process = context.Process(target=_help, args=(there,), daemon=True)
        self._process.start()
        there.close()
        # Not among `args`: what does not fit a pipe blocks there for ever where the process ends early.
        self._tell(reader)

    def __enter__(self) -> _Helper:
        return self

    def __exit__(self, *error: object) -> None:
        self._here.close()
        self._process.join()

    def ask(self, span: Range) -> None:
        """Have a range read."""
        self._asked.append(span)
        self._tell(span)

    def _tell(self, what: BatchReader | Range) -> None:
        # Where it has ended, `given` finds that out.
        with suppress(OSError):
            self._here.send(what)

    def given(self) -> Batch:
        """The batch of the range that was asked for first."""
        span = self._asked.popleft()
        try:
            batch: Batch = self._here.recv()
        except (EOFError, OSError):
            return self._reader.read(span)
        return batch


def _help(parent: Connection) -> None:
    # An interrupt is for the parent, with which this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        reader: BatchReader = parent.recv()
        while True:
            parent.send(reader.read(parent.recv()))
