"""Dealing from stock: every stocked hand once before any is repeated, over workers and restarts.

The shared state counts the hands dealt. A permutation of the stock, another one in each round,
turns that number into a hand.
"""

from __future__ import annotations

import math
import random

from app.ledger.state import State


def permuted(number: int, count: int) -> int:
    """The position to deal as the `number`-th (from 0), in rounds of `count`.

    Each round is an affine map with a step coprime to `count`: a permutation without a list in
    memory.
    """
    turn, place = divmod(number, count)
    rng = random.Random(turn)
    step = 1 + int(rng.random() * count)
    while math.gcd(step, count) != 1:
        step += 1
    return (place * step + int(rng.random() * count)) % count


class DealCounter:
    """Numbers 0, 1, 2, … for one deck, each given to one worker only; from 0 if the stock changes.

    `stock` is the number of stocked hands.
    """

    def __init__(self, state: State, deck: str) -> None:
        self._state = state
        self._name = f"dealt {deck}"

    def take(self, stock: int) -> int:
        """The next number."""
        return self._state.take_number(self._name, stock)

    def taken(self, stock: int) -> int:
        """How many numbers were taken."""
        return self._state.taken(self._name, stock)
