"""Bodies of answers: one JSON object each, serialised when the entry is stored.

`tier` and `shared` come last, so that only the end of a stored body changes when it is sent as a
same_hand answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from app.store.key import Query

# Tiers that answer with a whole stored entry.
WHOLE_TIERS = frozenset({"exact", "same_hand"})
EXACT_TAIL = b'"tier":"exact"}'


class Answer(NamedTuple):
    """A finished body, and the tier that gave it."""

    tier: str
    body: bytes


def exact_body(record: Mapping[str, Any], deck: str) -> bytes:
    """The body of an entry, as the index keeps it and as an exact hit is sent.

    `record` is the object of the entry's line in the log, `deck` the deck of its query.
    """
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
    """A stored body as an answer to another play of the same cards; `shared` phrases are the same.

    `key` remains the entry's key: `GET /api/answers/<key>` finds the text under it.
    """
    return stored[: -len(EXACT_TAIL)] + b'"tier":"same_hand","shared":%d}' % shared


def made_body(
    response: dict[str, str], query: Query, variant: int, *, source: str, model: str, tier: str
) -> bytes:
    """The body of an answer that was made for this request and is not stored."""
    return orjson.dumps(
        {
            **response,
            "deck": query.deck,
            "key": query.key,
            "variant": variant,
            "source": source,
            "model": model,
            "tier": tier,
        }
    )
