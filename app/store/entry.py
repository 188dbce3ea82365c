"""Entries: stored answers with their provenance, and their format as lines of the log. Bills.

A line is a JSON object whose last member is `checksum`, the 64-bit xxh3 of all bytes before
`,"checksum"`, as 16 hex digits. The checksum covers bytes, not a re-serialised object, so that a
reader in another language or with a later orjson need not write JSON exactly as we do.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import xxhash

from app.errors import DamagedLineError
from app.store.decision import GONE, GOOD, Decision
from app.store.key import Query
from app.store.sources import REVIEWED, rank

# The index stores a variant in two bytes.
MAX_VARIANT = 0xFFFF
_BEFORE_SUM, _AFTER_SUM = b',"checksum":"', b'"}'
_SUFFIX_LENGTH = len(_BEFORE_SUM) + 16 + len(_AFTER_SUM)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens billed for an entry: its share of the requests made for it, refused ones included.

    `prompt` includes the cached tokens.
    """

    prompt: float = 0.0
    output: float = 0.0
    thoughts: float = 0.0
    cached: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.output + other.output,
            self.thoughts + other.thoughts,
            self.cached + other.cached,
        )

    def share(self, count: int) -> Usage:
        """An equal share for one of `count` entries."""
        return Usage(
            self.prompt / count, self.output / count, self.thoughts / count, self.cached / count
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored answer.

    `source` is the provider that wrote it, `model` the model that the provider says it ran,
    `fingerprint` identifies the prompt (or the pieces) it was made from, `created` is a UTC time in
    ISO 8601, `cost_usd` the cost by the price table of that day. `decision` is a reviewer's, if the
    line is one.
    """

    key: str
    variant: int
    query: Query
    response: Mapping[str, str]
    source: str
    model: str
    fingerprint: str
    created: str
    usage: Usage | None = None
    cost_usd: float = 0.0
    decision: Decision | None = None

    @property
    def name(self) -> tuple[str, int]:
        """Key and variant, which one text in force has."""
        return self.key, self.variant

    @property
    def verdict(self) -> str:
        """The decision's verdict; empty if the line is an answer that was cooked."""
        return self.decision.verdict if self.decision else ""

    @property
    def gone(self) -> bool:
        """Whether the line takes a text away, and is no answer."""
        return self.verdict in GONE

    @property
    def approved(self) -> bool:
        """Whether a reviewer approved or wrote the text."""
        return self.verdict in GOOD

    @property
    def standing(self) -> str:
        """The source by which the text is ranked: no cooked text is as good as a reviewed one."""
        return REVIEWED if self.approved else self.source

    @property
    def writer(self) -> str:
        """The source that wrote the text before it was edited; else its source."""
        return (self.decision.writer if self.decision else "") or self.source

    def rank(self, order: Sequence[str]) -> int:
        """The rank of the text by an order of sources, the least the best."""
        return rank(order, self.standing)

    def same_text(self, other: Entry) -> bool:
        """Whether another line is about the same text; the line of a deletion has none."""
        mine = (self.name, self.source, self.model, self.created)
        return mine == (other.name, other.source, other.model, other.created)

    def to_line(self) -> bytes:
        """The entry as a line of the log, line break included."""
        record: dict[str, Any] = {
            "key": self.key,
            "variant": self.variant,
            "query": self.query.to_json(),
            "response": dict(self.response),
            "source": self.source,
            "model": self.model,
            "fingerprint": self.fingerprint,
            # orjson writes a dataclass as an object.
            "usage": self.usage,
            "cost_usd": self.cost_usd,
            "created": self.created,
        }
        if self.decision:
            record["decision"] = self.decision.to_json()
        return seal(orjson.dumps(record))

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Parse a line of the log. Raises DamagedLineError, which says what is wrong."""
        record, query, usage = read_line(line)
        return cls(
            key=record["key"],
            variant=record["variant"],
            query=query,
            response=record["response"],
            source=record["source"],
            model=record["model"],
            fingerprint=record["fingerprint"],
            created=record["created"],
            usage=usage,
            cost_usd=record["cost_usd"],
            decision=Decision.from_json(record.get("decision")),
        )


@dataclass(frozen=True, slots=True)
class Bill:
    """A line of the log without an answer: what was billed and is part of no entry.

    Every answer that it paid for was refused, or was no whole answer.
    """

    source: str
    model: str
    created: str
    usage: Usage
    cost_usd: float

    def to_line(self) -> bytes:
        """The bill as a line of the log, line break included."""
        return seal(orjson.dumps({"bill": True, **asdict(self)}))

    @classmethod
    def from_line(cls, line: bytes) -> Bill:
        """Parse a line of the log. Raises DamagedLineError."""
        record = unseal(line)
        try:
            usage = Usage(**record["usage"])
            _check_numbers(record, usage)
            return cls(
                record["source"], record["model"], record["created"], usage, record["cost_usd"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedLineError(f"not a bill: {error}") from None


def is_bill(line: bytes) -> bool:
    """Whether a line of the log is a bill, by its beginning."""
    return line.startswith(b'{"bill":')


def read_line(line: bytes) -> tuple[dict[str, Any], Query, Usage | None]:
    """Parse and check a line without making an Entry: its JSON object, query and usage.

    Used where every line of a large log is read and little of each is kept. The key must be that of
    the query, so that no line answers another query. Raises DamagedLineError.
    """
    record = unseal(line)
    try:
        usage = None if record["usage"] is None else Usage(**record["usage"])
        _check(record, usage)
        if "decision" in record:
            Decision.from_json(record["decision"])
        return record, _query(record), usage
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedLineError(f"not an entry: {error}") from None


def _query(record: dict[str, Any]) -> Query:
    query = Query.from_json(record["query"])
    if record["key"] != query.key:
        raise ValueError("the key is not that of its query")
    return query


def _check(record: dict[str, Any], usage: Usage | None) -> None:
    """Check types and ranges: a fitting checksum does not mean that the line is an entry."""
    variant = record["variant"]
    if type(variant) is not int or not 0 <= variant <= MAX_VARIANT:
        raise ValueError(f"the variant is not a whole number up to {MAX_VARIANT}")
    # To join them would say the same, and copy all letters.
    for text in (*_texts(record), *record["response"].values()):
        if type(text) is not str:
            raise ValueError("a member that should be a text is none")
    _check_numbers(record, usage)


def _check_numbers(record: dict[str, Any], usage: Usage | None) -> None:
    counts = (usage.prompt, usage.output, usage.thoughts, usage.cached) if usage else ()
    for number in (record["cost_usd"], *counts):
        if type(number) not in _NUMBER:
            raise ValueError("a member that should be a number is none")
        if not 0 <= number <= _MOST:
            raise ValueError("a number is out of range")


_NUMBER = frozenset({int, float})
# Most dollars or tokens of one entry; larger ones could add up to infinity, which JSON lacks.
_MOST = 1e12
_texts = operator.itemgetter("source", "model", "fingerprint", "created")


def seal(body: bytes) -> bytes:
    """Append the checksum to a serialised JSON object, and a line break."""
    return body[:-1] + _suffix(body[:-1]) + b"\n"


def _suffix(text: bytes) -> bytes:
    """How a line ends that begins with `text`."""
    return _BEFORE_SUM + xxhash.xxh3_64_hexdigest(text).encode() + _AFTER_SUM


def unseal(line: bytes) -> dict[str, Any]:
    """The JSON object of a line that `seal` made. Raises DamagedLineError."""
    text = line.rstrip(b"\r\n")
    if not text.endswith(_suffix(text[:-_SUFFIX_LENGTH])):
        raise DamagedLineError("the checksum does not fit")
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DamagedLineError(f"not JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise DamagedLineError("not an object")
    return value
