"""The tally of a deck: how many answers each tier gave on each day, and what they cost.

It is kept over restarts, in the shared state, and holds no text and no address.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from app.ledger.state import State

NANO = 1_000_000_000


class Use(NamedTuple):
    """What one answer took.

    Characters are what the strong model would have read and written, had it answered (system
    prompt and history included); tokens and USD are what was really billed.
    """

    characters_in: int = 0
    characters_out: int = 0
    prompt: int = 0
    output: int = 0
    usd: float = 0.0


class Row(NamedTuple):
    """A day's sum of one tier."""

    day: str
    tier: str
    answers: int
    characters_in: int
    characters_out: int
    prompt: int
    output: int
    usd: float


class Tally:
    """Adds answers up."""

    def __init__(self, state: State, deck: str) -> None:
        self._state = state
        self._space = f"tally {deck}"

    def add(self, day: str, tier: str, use: Use) -> None:
        """Count an answer that a tier gave on a day (ISO 8601, the date alone)."""
        numbers = [1, *use[:4], round(use.usd * NANO)]
        self._state.add_sums(self._space, {f"{day} {tier}": numbers})

    def rows(self) -> Iterator[Row]:
        """The rows, oldest first."""
        for name, numbers in sorted(self._state.sums(self._space, _row).items()):
            yield _row(name, numbers)


def _row(name: str, numbers: list[int]) -> Row:
    day, tier = name.split(" ")
    answers, characters_in, characters_out, prompt, output, nano = numbers
    return Row(day, tier, answers, characters_in, characters_out, prompt, output, nano / NANO)
