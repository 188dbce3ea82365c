"""Entries: stored answers with their provenance, and how one stands as a line in the log.

Layout of a line: a JSON object whose last member is `checksum`, the 64-bit xxh3 of all bytes before
`,"checksum"`, as 16 hex digits. The checksum is taken over bytes, not over a re-serialised object,
so that a reader in another language or a later orjson need not write JSON as we do.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import xxhash

from app.errors import DamagedLineError
from app.store.key import Query

# What the index has room for: two bytes.
MAX_VARIANT = 0xFFFF
_SUFFIX = b',"checksum":"%b"}'
_SUFFIX_LENGTH = len(_SUFFIX % (b"0" * 16))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens billed for an entry: its share of what was billed to get it, refused tries included.

    `prompt` counts the cached ones too.
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
        """The part of one among `count`."""
        return Usage(
            self.prompt / count, self.output / count, self.thoughts / count, self.cached / count
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored answer.

    `source` names the provider that wrote it, `model` what the provider says it ran, `fingerprint`
    the prompt (or the pieces) that it came from, `created` a UTC time in ISO 8601, `cost_usd` what
    it cost by the price table in force at the time.
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

    def to_line(self) -> bytes:
        """The entry as a line of the log, line break included."""
        usage = self.usage
        record = {
            "key": self.key,
            "variant": self.variant,
            "query": self.query.to_json(),
            "response": dict(self.response),
            "source": self.source,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "usage": None
            if usage is None
            else {
                "prompt": usage.prompt,
                "output": usage.output,
                "thoughts": usage.thoughts,
                "cached": usage.cached,
            },
            "cost_usd": self.cost_usd,
            "created": self.created,
        }
        return seal(orjson.dumps(record))

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Back from a line of the log. Raises DamagedLineError, saying what is wrong with it."""
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
        )


def read_line(line: bytes) -> tuple[dict[str, Any], Query, Usage | None]:
    """The members of an entry as they stand in its line, its query and its usage, all checked.

    The key is compared with its query's, so that no line can answer what it does not ask. Raises
    DamagedLineError. For those who read every line of a large log and keep little of each.
    """
    record = unseal(line)
    try:
        usage = None if record["usage"] is None else Usage(**record["usage"])
        _check(record, usage)
        return record, _query(record), usage
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedLineError(f"not an entry: {error}") from None


def _query(record: dict[str, Any]) -> Query:
    query = Query.from_json(record["query"])
    if record["key"] != query.key:
        raise ValueError("the key is not that of its query")
    return query


def _check(record: dict[str, Any], usage: Usage | None) -> None:
    """A checksum says that a line is as it was written, not that an entry was written."""
    variant = record["variant"]
    if type(variant) is not int or not 0 <= variant <= MAX_VARIANT:
        raise ValueError(f"the variant is not a whole number up to {MAX_VARIANT}")
    if {*map(type, _texts(record)), *map(type, record["response"].values())} != _TEXT:
        raise ValueError("a member that should be a text is none")
    numbers = [record["cost_usd"]]
    if usage:
        numbers += (usage.prompt, usage.output, usage.thoughts, usage.cached)
    if not _NUMBER.issuperset(map(type, numbers)):
        raise ValueError("a member that should be a number is none")
    if not 0 <= min(numbers) <= max(numbers) <= _MOST:
        raise ValueError("a number is out of range")


_TEXT = {str}
_NUMBER = frozenset({int, float})
# Dollars or tokens of one entry: sums of more would end as infinity, which JSON does not have.
_MOST = 1e12
_texts = operator.itemgetter("source", "model", "fingerprint", "created")


def seal(body: bytes) -> bytes:
    """Append the checksum to a serialised JSON object, and a line break."""
    checksum = xxhash.xxh3_64_hexdigest(body[:-1]).encode()
    return body[:-1] + _SUFFIX % checksum + b"\n"


def unseal(line: bytes) -> dict[str, Any]:
    """The object of a sealed line. Raises DamagedLineError."""
    text = line.rstrip(b"\r\n")
    body = text[:-_SUFFIX_LENGTH]
    if text[-_SUFFIX_LENGTH:] != _SUFFIX % xxhash.xxh3_64_hexdigest(body).encode():
        raise DamagedLineError("the checksum does not fit")
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DamagedLineError(f"not JSON: {error.msg}") from None
    if not isinstance(value, dict):
        raise DamagedLineError("not an object")
    return value
