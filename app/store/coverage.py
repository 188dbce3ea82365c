"""Which plays of a hand the stored ones cover: Hamming balls over the choice of phrases.

A word is one choice of phrase for each card of a hand, in the hand's canonical order, written as
the numbers of the phrases. A hand is stocked at radius r if every word differs from some stored
word in at most r places.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

Word = tuple[int, ...]


def ball(word: Word, options: Sequence[int], radius: int) -> Iterator[Word]:
    """Every word that differs from `word` in at most `radius` places.

    `options` is the number of choices at each place.
    """
    places = range(len(options))
    for distance in range(radius + 1):
        for changed in itertools.combinations(places, distance):
            others = [[v for v in range(options[i]) if v != word[i]] for i in changed]
            for values in itertools.product(*others):
                neighbour = list(word)
                for place, value in zip(changed, values, strict=True):
                    neighbour[place] = value
                yield tuple(neighbour)


def elementary(sizes: Iterable[int], degree: int) -> list[int]:
    """The elementary symmetric polynomials of `sizes`, of degrees 0 to `degree`."""
    sums = [1] + [0] * degree
    for size in sizes:
        for k in range(degree, 0, -1):
            sums[k] += sums[k - 1] * size
    return sums


def ball_size(options: Sequence[int], radius: int) -> int:
    """The number of words in a ball."""
    return sum(elementary([count - 1 for count in options], radius))


def sphere_bound(options: Sequence[int], radius: int) -> int:
    """The sphere-covering bound: the least number of words that can cover a hand."""
    return -(-math.prod(options) // ball_size(options, radius))


def covered(words: Iterable[Word], options: Sequence[int], radius: int) -> set[Word]:
    """Every word within `radius` of at least one of `words`."""
    return {near for word in words for near in ball(word, options, radius)}


def is_stocked(words: Sequence[Word], options: tuple[int, ...], radius: int) -> bool:
    """Whether every word of the hand is within `radius` of at least one of `words`."""
    if len(words) < sphere_bound(options, radius):
        return False
    found = 0
    for word in words:
        found |= _ball_bits(word, options, radius)
    return found.bit_count() == math.prod(options)


# The hands of a deck have the same few words, and a set of all neighbours took 20 times as long.
@lru_cache(maxsize=1 << 10)
def _ball_bits(word: Word, options: tuple[int, ...], radius: int) -> int:
    """A ball as a number with one bit for each word of the hand."""
    bits = 0
    for near in ball(word, options, radius):
        position = 0
        for choice, count in zip(near, options, strict=True):
            position = position * count + choice
        bits |= 1 << position
    return bits
