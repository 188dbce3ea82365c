"""Dealing from stock: every stocked hand once before any comes again, over workers and restarts.

One small file in the ledger's folder counts the hands dealt; a worker takes a number from it under
a lock. The number is turned into a hand by a permutation of the stock that changes every round.
Where the folder cannot be written, a worker counts for itself.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
from pathlib import Path


def permuted(number: int, count: int) -> int:
    """The position dealt as the `number`-th: rounds of `count`, each in an order of its own.

    An affine map with a step coprime to `count` is a permutation that needs no list in memory.
    """
    turn, place = divmod(number, count)
    rng = random.Random(turn)
    step = 1 + int(rng.random() * count)
    while _gcd(step, count) != 1:
        step += 1
    return (place * step + int(rng.random() * count)) % count


def _gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


class DealCounter:
    """Numbers 0, 1, 2, … for one deck, none given twice to any worker; anew for another stock."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._path = folder / f"{deck}.dealt"
        self._own = itertools.count()

    def take(self, stock: int) -> int:
        """The next number, for a stock of so many hands."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return next(self._own)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            number = _parse(os.pread(descriptor, 64, 0), stock)
            os.pwrite(descriptor, b"%020d %020d\n" % (stock, number + 1), 0)
        except OSError:
            return next(self._own)
        else:
            return number
        finally:
            os.close(descriptor)

    def taken(self, stock: int) -> int:
        """How many have been dealt from a stock of so many hands."""
        try:
            return _parse(self._path.read_bytes(), stock)
        except OSError:
            return 0


def _parse(text: bytes, stock: int) -> int:
    """The number that is next; a file that says nothing of this stock starts again at 0."""
    parts = text.split()
    if len(parts) == 2 and all(part.isdigit() for part in parts) and int(parts[0]) == stock:
        return int(parts[1])
    return 0
