"""How often each of very many things occurs, in little memory."""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

import xxhash

# Marks are kept by their highest bits, so that a new one is put into a short array.
_BITS = 8


class Frequencies:
    """Counts plays, each a tuple of texts; names the most frequent ones, up to `named`.

    One that occurred once takes 8 bytes, its mark (a 64-bit xxh3); in a Counter it takes 140, and each
    worker would have those of 80,000 misses. Of 80,000, two have the same mark with a probability of
    2e-10.
    """

    def __init__(self, named: int) -> None:
        self._named = named
        self._marks = [array("Q") for _ in range(1 << _BITS)]
        # The first ones, to be named if too few occur again; how often others do, once more than here.
        self._first: list[tuple[str, ...]] = []
        self._again: Counter[tuple[str, ...]] = Counter()
        self.total = 0

    @property
    def distinct(self) -> int:
        """How many different ones there are."""
        return sum(map(len, self._marks))

    def update(self, plays: Iterable[tuple[str, ...]]) -> None:
        """Count some more."""
        for play in plays:
            self.total += 1
            mark = xxhash.xxh3_64_intdigest("\0".join(play).encode("utf-8", "surrogatepass"))
            marks = self._marks[mark >> (64 - _BITS)]
            place = bisect_left(marks, mark)
            if place < len(marks) and marks[place] == mark:
                self._again[play] += 1
                continue
            marks.insert(place, mark)
            if len(self._first) < self._named:
                self._first.append(play)

    def most_common(self) -> list[tuple[tuple[str, ...], int]]:
        """The most frequent ones and how often each occurred."""
        again = ((play, times + 1) for play, times in self._again.most_common(self._named))
        once = ((play, 1) for play in self._first if play not in self._again)
        return list(itertools.islice(itertools.chain(again, once), self._named))
