"""The tally of a deck: how many answers each tier gave on each day, and what they cost.

It is kept in the shared state, over restarts, and contains no texts and no addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from app.ledger.state import State

NANO = 1_000_000_000


class Use(NamedTuple):
    """What one answer took.

    Characters are those that the strong model would have read (system prompt and history included)
    and written, had it answered; `prompt` and `output` tokens and `usd` are what was billed.
    """

    characters_in: int = 0
    characters_out: int = 0
    prompt: int = 0
    output: int = 0
    usd: float = 0.0


class DaySum(NamedTuple):
    """The answers of one tier on one day (ISO 8601), and the sums of their `Use`."""

    day: str
    tier: str
    answers: int
    characters_in: int
    characters_out: int
    prompt: int
    output: int
    usd: float


class Tally:
    """Counts the answers of one deck."""

    def __init__(self, state: State, deck: str) -> None:
        self._state = state
        self._space = f"tally {deck}"

    def add(self, day: str, tier: str, use: Use) -> None:
        """Count an answer that a tier gave on a day (ISO 8601, the date alone)."""
        numbers = [1, *use[:4], round(use.usd * NANO)]
        self._state.add_sums(self._space, {f"{day} {tier}": numbers})

    def rows(self) -> Iterator[DaySum]:
        """The sums of all days and tiers, oldest first."""
        for name, numbers in sorted(self._state.sums(self._space, _row).items()):
            yield _row(name, numbers)


def _row(name: str, numbers: list[int]) -> DaySum:
    day, tier = name.split(" ")
    answers, characters_in, characters_out, prompt, output, nano = numbers
    return DaySum(day, tier, answers, characters_in, characters_out, prompt, output, nano / NANO)
