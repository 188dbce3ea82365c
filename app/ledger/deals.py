"""Dealing from stock: every stocked hand once before any comes again, over workers and restarts.

The hands dealt are counted in the shared state. A number is turned into a hand by a permutation of
the stock that changes every round.
"""

from __future__ import annotations

import math
import random

from app.ledger.state import State


def permuted(number: int, count: int) -> int:
    """The position dealt as the `number`-th: rounds of `count`, each in an order of its own.

    An affine map with a step coprime to `count` is a permutation that needs no list in memory.
    """
    turn, place = divmod(number, count)
    rng = random.Random(turn)
    step = 1 + int(rng.random() * count)
    while math.gcd(step, count) != 1:
        step += 1
    return (place * step + int(rng.random() * count)) % count


class DealCounter:
    """Numbers 0, 1, 2, … for one deck, none given twice to any worker; anew for another stock."""

    def __init__(self, state: State, deck: str) -> None:
        self._state = state
        self._name = f"dealt {deck}"

    def take(self, stock: int) -> int:
        """The next number, for a stock of so many hands."""
        return self._state.take_number(self._name, stock)

    def taken(self, stock: int) -> int:
        """How many were dealt from a stock of so many hands."""
        return self._state.taken(self._name, stock)
