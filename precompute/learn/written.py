"""Answers that a model wrote at the event for a deck of cards, out of the ledger into the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import RequestError
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import FIELDS, Gate
from app.store.entry import Entry
from app.store.key import Query

# Stands for the prompt of an entry that was written at the event.
FINGERPRINT = "event"


def written_entries(deck: Deck, lines: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """The entries of a ledger's candidates that are of today's deck and pass its gate.

    Of several for the same play and variant the first is taken.
    """
    gate = Gate.of(deck)
    seen: set[tuple[str, int]] = set()
    for line in lines:
        entry = _entry(deck, line)
        if entry is None or (entry.key, entry.variant) in seen:
            continue
        if gate.examine(entry.query, entry.response) is None:
            seen.add((entry.key, entry.variant))
            yield entry


def _entry(deck: Deck, line: Mapping[str, Any]) -> Entry | None:
    """A line's entry; None if it is no candidate, or one of a deck that has changed."""
    try:
        told = line["candidate"]
        query = deck.legal_query(Query.from_json(dict(line)).picks)
        return Entry(
            key=query.key,
            variant=int(told["variant"]),
            query=query,
            response={name: str(told[name]) for name in FIELDS},
            source=str(told["source"]),
            model=str(told["model"]),
            fingerprint=FINGERPRINT,
            created=str(line["at"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RequestError):
        return None
