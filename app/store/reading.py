"""From the lines of a log to rows for the index."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

from app.errors import DamagedLineError
from app.store.answer import exact_body
from app.store.decision import GOOD
from app.store.entry import Bill, Usage, is_bill, read_line
from app.store.key import HAND, Query
from app.store.rows import (
    BODY_START,
    NAME_SIZE,
    ORIGIN,
    ORIGIN_SIZE,
    VARIANT,
    Meta,
    Origin,
    checksum,
)
from app.store.stock import MOST_CARDS, Coverage, play_row

# After the name stands a byte that says what follows: the value as it stands in `answers`, or a decision
# (the origin, and after it the verdict, the tail and the body, a line each).
_COOKED, _DECIDED = b"\0", b"\1"
VALUE_START = NAME_SIZE + 1


class Line(NamedTuple):
    """A line for `answers` or `held`.

    `tail` is how the body ends that the text has which a decision is about.
    """

    name: bytes
    origin: Origin
    body: bytes
    verdict: str
    tail: bytes

    @classmethod
    def of(cls, row: bytes) -> Line:
        """Parse a row that `Reader` made."""
        name, value = row[:NAME_SIZE], row[VALUE_START:]
        if not row[NAME_SIZE]:
            return cls(name, Origin.of(value), value[BODY_START:], "", b"")
        verdict, tail, body = value[ORIGIN_SIZE:].split(b"\n", 2)
        return cls(name, Origin.of(value), body, verdict.decode(), tail)


class Reader:
    """Makes rows of the lines of a log and counts these in `meta`.

    Each row is one string of bytes: objects would take half as long again to sort and to write to a
    temporary file.
    """

    def __init__(self, meta: Meta, coverage: Coverage | None) -> None:
        self._meta = meta
        self._coverage = coverage
        self._numbers = {(source, model): n for n, (source, model, _) in enumerate(meta.origins)}
        # Rows for `answers` and `held`, which begin with their names; for `hands`, with the hand's.
        self.answers: list[bytes] = []
        self.plays: list[bytes] = []

    def take(self, start: int, block: bytes) -> None:
        """Take in whole lines, which begin at an offset of the log."""
        meta, offset = self._meta, start
        for line in io.BytesIO(block):
            meta.lines += 1
            try:
                if is_bill(line):
                    self._take_bill(Bill.from_line(line))
                else:
                    self._take_entry(*read_line(line), offset)
            except DamagedLineError:
                meta.damaged += 1
            offset += len(line)

    def _take_bill(self, bill: Bill) -> None:
        self._meta.cost_usd += bill.cost_usd
        self._meta.tokens += bill.usage.prompt + bill.usage.output + bill.usage.thoughts

    def _take_entry(
        self, record: dict[str, Any], query: Query, usage: Usage | None, offset: int
    ) -> None:
        meta = self._meta
        number = self._numbers.get((record["source"], record["model"]), -1)
        if number < 0:
            number = self._number(record["source"], record["model"])
        key, variant = bytes.fromhex(record["key"]), record["variant"]
        name = key + VARIANT.pack(variant)
        body = exact_body(record, query.deck)
        if "decision" in record:
            self.answers.append(
                name + _DECIDED + _decision(record, query, body, Origin(number, offset))
            )
        else:
            made = (name, _COOKED, ORIGIN.pack(number, offset), checksum(body + name), body)
            self.answers.append(b"".join(made))
        if variant == 0 and self._coverage and _is_hand(query):
            self.plays.append(play_row(query, key, self._coverage))
        if cost := record["cost_usd"]:
            meta.cost_usd += cost
            meta.paid += 1
        if usage:
            meta.tokens += usage.prompt + usage.output + usage.thoughts
        if record["created"] > meta.newest:  # noqa: PLR1730  # `max` takes three times as long
            meta.newest = record["created"]

    def _number(self, source: str, model: str) -> int:
        number = self._numbers[source, model] = len(self._numbers)
        self._meta.origins.append((source, model, 0))
        return number


def _is_hand(query: Query) -> bool:
    return query.kind == HAND and 0 < len(query.sorted_picks) <= MOST_CARDS


def _decision(record: dict[str, Any], query: Query, body: bytes, origin: Origin) -> bytes:
    verdict = record["decision"]["verdict"]
    tail = exact_body({**record, "response": {}}, query.deck)[1:]
    origin = origin._replace(approved=verdict in GOOD)
    return b"%b%b\n%b\n%b" % (origin.packed(), verdict.encode(), tail, body)
