"""Dealing from stock: every stocked hand once before any is repeated, over workers and restarts.

The shared state counts the hands dealt. A permutation of the stock, another one in each round,
turns that number into a hand.
"""

from __future__ import annotations

import math
import random


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
