"""What a set of plays of one hand covers: Hamming balls over the choice of phrases.

A word is one choice of phrase for each card of a hand, in the hand's canonical order. A hand is
stocked at radius r where every word is within r places of a stored one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

Word = tuple[int, ...]


def ball(word: Word, options: Sequence[int], radius: int) -> Iterator[Word]:
    """Every word within `radius` places of a word; `options` are the choices at each place."""
    places = range(len(options))
    for distance in range(radius + 1):
        for changed in itertools.combinations(places, distance):
            others = [[v for v in range(options[i]) if v != word[i]] for i in changed]
            for values in itertools.product(*others):
                neighbour = list(word)
                for place, value in zip(changed, values, strict=True):
                    neighbour[place] = value
                yield tuple(neighbour)


def ball_size(options: Sequence[int], radius: int) -> int:
    """How many words a ball holds."""
    sums = [1] + [0] * radius
    for count in options:
        for k in range(radius, 0, -1):
            sums[k] += sums[k - 1] * (count - 1)
    return sum(sums)


def sphere_bound(options: Sequence[int], radius: int) -> int:
    """No covering has fewer words than this (the sphere-covering bound)."""
    return -(-math.prod(options) // ball_size(options, radius))


def covered(words: Iterable[Word], options: Sequence[int], radius: int) -> set[Word]:
    """The words within `radius` of any of these."""
    return {near for word in words for near in ball(word, options, radius)}


def is_stocked(words: Sequence[Word], options: Sequence[int], radius: int) -> bool:
    """Whether every word of the hand is within `radius` of one of these."""
    if len(words) < sphere_bound(options, radius):
        return False
    return len(covered(words, options, radius)) == math.prod(options)
