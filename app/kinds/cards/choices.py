"""Pseudo-random choices from a seed, the same on every machine and in every language.

A counter-based generator, as of Salmon and others, "Parallel random numbers: as easy as 1, 2, 3"
(2011): the n-th block of 128 bits, from n = 1, is the 128-bit xxh3 of the seed with n as xxh3's own
seed. A choice of `count` things is the block's remainder by `count`, and the block is then replaced
by the quotient; below 2 ** 32 a new block is taken, so that no thing is likelier than another by
more than one part in 2 ** 32 / `count`. `precompute/publish/browser/choices.js` does the same.

(Seeding `random.Random` takes longer than all choices for an answer, and only Python has it.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import xxhash

T = TypeVar("T")


class Choices:
    """The choices of one seed, in order."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._round = 0
        self._pool = 0

    def below(self, count: int) -> int:
        """A number from 0 to `count` - 1."""
        if self._pool < 1 << 32:
            self._round += 1
            self._pool = xxhash.xxh3_128_intdigest(self._seed, self._round)
        self._pool, choice = divmod(self._pool, count)
        return choice

    def one(self, items: Sequence[T]) -> T:
        return items[self.below(len(items))]

    def turned(self, items: Sequence[T]) -> Sequence[T]:
        """The items rotated to begin with a drawn one."""
        start = self.below(len(items))
        return [*items[start:], *items[:start]]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in any order, all equally likely (Durstenfeld's Algorithm 235, 1964)."""
        mixed = list(items)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
