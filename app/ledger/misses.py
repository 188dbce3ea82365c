"""The ledger: requests that no stored entry answered, in one journal for each deck."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from app.ledger.journal import Journal, JournalCounts, read_journal
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


class MissCounts:
    """How often each play was missed; follows the ledger as it grows."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._counts = JournalCounts(folder, deck, missed_plays)

    def most_wanted(self, most: int) -> dict[str, Any]:
        """The `miss_summary` up to now."""
        return self._counts.read(lambda counts: miss_summary(counts, most))


def missed_plays(lines: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The plays in the lines of a ledger, by their phrases."""
    return (phrases for line in lines if (phrases := _phrases(line)))


def miss_summary(counts: Counter[tuple[str, ...]], most: int) -> dict[str, Any]:
    """Misses in total, distinct plays among them, and the phrases of the `most` frequent plays."""
    return {
        "total": counts.total(),
        "distinct": len(counts),
        "most_wanted": [
            {"phrases": list(phrases), "times": times}
            for phrases, times in counts.most_common(most)
        ],
    }


def _phrases(line: dict[str, Any]) -> tuple[str, ...]:
    hand = line.get("hand")
    if not isinstance(hand, list):
        return ()
    # Interned to save memory: a ledger holds many plays of few phrases.
    return tuple(
        sorted(sys.intern(str(pick.get("phrase"))) for pick in hand if isinstance(pick, dict))
    )
