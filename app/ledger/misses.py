"""The ledger: requests that no stored entry answered, in one journal for each deck."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.ledger.journal import Journal, read_journal
from app.store.key import Query


class Ledger:
    """Writes a deck's ledger."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._journal = Journal(folder, deck)

    def miss(self, query: Query, variant: int, tier: str, at: str) -> None:
        """Note a request that no stored entry answered; `at` is a UTC time in ISO 8601."""
        self._journal.append({**query.to_json(), "variant": variant, "tier": tier, "at": at})

    def candidate(self, query: Query, tier: str, answer: dict[str, Any], at: str) -> None:
        """Note an answer that a model gave; the next build may store it after a review."""
        self._journal.append({**query.to_json(), "tier": tier, "candidate": answer, "at": at})


def read_ledger(folder: Path, deck: str) -> Iterator[dict[str, Any]]:
    """The lines of a deck's ledger, oldest first."""
    return read_journal(folder, deck)
