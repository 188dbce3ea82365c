"""Votes of players on answers, up or down. A journal, one a deck; shares in `/stats`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from app.core.journal import Journal, JournalReader, read_journal

UP, DOWN = "up", "down"
# An answer is disliked from so many downs on, where they are at least half of its votes.
DISLIKED_FROM = 3


def _name(deck: str) -> str:
    return f"{deck}.votes"


class VoteBox:
    """Takes votes."""

    def __init__(self, folder: Path, deck: str, limit: int) -> None:
        self._journal = Journal(folder, _name(deck), limit)

    def vote(self, key: str, variant: int, vote: str, at: str) -> None:
        """Note a vote; `at` is a UTC time in ISO 8601."""
        self._journal.append({"key": key, "variant": variant, "vote": vote, "at": at})


class VoteCounts:
    """Votes in all; follows the journal as it grows."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._reader = JournalReader(folder, _name(deck))
        self._counts: Counter[str] = Counter()

    def totals(self) -> dict[str, Any]:
        """Ups, downs, and the share of ups, None before the first vote."""
        again, lines = self._reader.news()
        if again:
            self._counts.clear()
        self._counts.update(str(line.get("vote")) for line in lines)
        up, down = self._counts[UP], self._counts[DOWN]
        return {
            "up": up,
            "down": down,
            "of": up + down,
            "share_up": up / (up + down) if up + down else None,
        }


def disliked(folder: Path, deck: str) -> dict[tuple[str, int], str]:
    """Answers that players turned down, by key and variant, with the time of the last vote."""
    ups: Counter[tuple[str, int]] = Counter()
    downs: Counter[tuple[str, int]] = Counter()
    last: dict[tuple[str, int], str] = {}
    for line in read_journal(folder, _name(deck)):
        name = (str(line.get("key")), int(line.get("variant") or 0))
        (ups if line.get("vote") == UP else downs)[name] += 1
        last[name] = max(last.get(name, ""), str(line.get("at")))
    return {
        name: last[name]
        for name, count in downs.items()
        if count >= DISLIKED_FROM and count >= ups[name]
    }
