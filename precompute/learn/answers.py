"""Answers that models wrote at the event for a deck of cards, as entries to store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import RequestError
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import FIELDS, Gate
from app.store.entry import Entry
from app.store.key import Query

# The fingerprint of entries that were written at the event.
FINGERPRINT = "event"


def written_entries(deck: Deck, lines: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Entries from the candidates in a ledger that fit the present deck and pass its gate.

    Of several for the same play and variant, the first.
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
    """Parse a line; None if it has no candidate, or none that fits the present deck."""
    try:
        answer = line["candidate"]
        query = deck.legal_query(Query.from_json(dict(line)).picks)
        return Entry(
            key=query.key,
            variant=int(answer["variant"]),
            query=query,
            response={name: str(answer[name]) for name in FIELDS},
            source=str(answer["source"]),
            model=str(answer["model"]),
            fingerprint=FINGERPRINT,
            created=str(line["at"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RequestError):
        return None
