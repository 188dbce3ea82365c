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

    def vote(self, key: str, variant: int, vote: str, at: str, created: str = "") -> None:
        """Note a vote; `at` is a UTC time in ISO 8601, `created` that of the stored text, if any."""
        line = {"key": key, "variant": variant, "vote": vote, "at": at, "created": created}
        self._journal.append(line)


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


def disliked(folder: Path, deck: str) -> dict[tuple[str, int, str], int]:
    """Stored texts that players turned down, by key, variant and creation, with their downs.

    The time of creation tells a text from the one that was cooked in its place: a vote is for the
    text that was read.
    """
    ups: Counter[tuple[str, int, str]] = Counter()
    downs: Counter[tuple[str, int, str]] = Counter()
    for line in read_journal(folder, _name(deck)):
        variant = line.get("variant")
        name = (
            str(line.get("key")),
            variant if isinstance(variant, int) else 0,
            str(line.get("created")),
        )
        (ups if line.get("vote") == UP else downs)[name] += 1
    return {
        name: count
        for name, count in downs.items()
        if count >= DISLIKED_FROM and count >= ups[name]
    }
