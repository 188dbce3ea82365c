"""Answers as they are sent: one JSON object, finished when it is stored.

`tier` and `shared` stand last, so that a stored body becomes a same_hand answer by its tail alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from app.store.entry import Entry

# What a stored entry answered as a whole.
WHOLE_TIERS = frozenset({"exact", "same_hand"})
EXACT_TAIL = b'"tier":"exact"}'


class Answer(NamedTuple):
    """A finished body, and the tier that gave it."""

    tier: str
    body: bytes


def exact_body(entry: Entry) -> bytes:
    """The body of an entry, as the index keeps it and as an exact hit is sent."""
    return body_of_line(
        {
            "response": entry.response,
            "key": entry.key,
            "variant": entry.variant,
            "source": entry.source,
            "model": entry.model,
            "created": entry.created,
        },
        entry.query.deck,
    )


def body_of_line(record: Mapping[str, Any], deck: str) -> bytes:
    """The same of an entry as it stands in its line; `deck` is its query's."""
    head = {
        **record["response"],
        "deck": deck,
        "key": record["key"],
        "variant": record["variant"],
        "source": record["source"],
        "model": record["model"],
        "created": record["created"],
        "tier": "exact",
    }
    return orjson.dumps(head)


def same_hand_body(stored: bytes, shared: int) -> bytes:
    """A stored body, told as an answer for another play of the same five cards.

    `key` stays the entry's: it is the address of the text that was given.
    """
    return stored[: -len(EXACT_TAIL)] + b'"tier":"same_hand","shared":%d}' % shared


def made_body(
    response: dict[str, str],
    *,
    deck: str,
    key: str,
    variant: int,
    source: str,
    model: str,
    tier: str,
) -> bytes:
    """The body of an answer that was made for this request and is not stored."""
    return orjson.dumps(
        {
            **response,
            "deck": deck,
            "key": key,
            "variant": variant,
            "source": source,
            "model": model,
            "tier": tier,
        }
    )
