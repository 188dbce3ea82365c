"""Covering codes: few words, such that every word is within a radius of one of them.

A hand of 5 cards with 3 phrases each is the football pool problem for 5 matches: 27 words suffice
at radius 1 and 8 at radius 2, and these numbers are optimal (H. J. L. Kamps and J. H. van Lint,
"The football pool problem for 5 matches", Journal of Combinatorial Theory 3, 1967; K₃(5,1) = 27 and
K₃(5,2) = 8 are in G. Kéri's tables of covering codes). For other hands a covering is searched for,
which need not be optimal.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from functools import lru_cache

from app.store.coverage import Word, ball

# K₃(5,2): found by simulated annealing over sets of 8 words; tests check that it covers all words.
_EIGHT: tuple[Word, ...] = (
    (0, 0, 0, 2, 1),
    (0, 1, 1, 1, 2),
    (0, 2, 1, 0, 0),
    (1, 0, 2, 0, 0),
    (1, 2, 2, 0, 1),
    (1, 2, 2, 2, 0),
    (2, 0, 1, 2, 1),
    (2, 1, 0, 1, 2),
)
_SEARCH_STEPS = 4_000
MAX_WORDS = 100_000


def _hamming_times_three() -> tuple[Word, ...]:
    """K₃(5,1): the perfect ternary Hamming code of length 4, with each symbol appended."""
    hamming = [
        (a, b, (a + b) % 3, (a + 2 * b) % 3) for a, b in itertools.product(range(3), repeat=2)
    ]
    return tuple((*word, last) for word in hamming for last in range(3))


@lru_cache(maxsize=64)
def covering(options: tuple[int, ...], radius: int) -> tuple[Word, ...]:
    """Words such that every word is within `radius` of one of them.

    `options` is the number of choices at each place. Each word is the one that covers most of what
    the words before it do not.
    """
    if radius == 0:
        return tuple(itertools.product(*map(range, options)))
    if radius >= len(options):
        return (tuple(0 for _ in options),)
    if options == (3,) * 5 and radius == 1:
        return _best_first(_hamming_times_three(), options, radius)
    if options == (3,) * 5 and radius == 2:
        return _best_first(_EIGHT, options, radius)
    candidates = [_searched(options, radius)]
    # A covering of all places but the last, with each symbol appended, is often smaller.
    rest = covering(options[:-1], radius)
    candidates.append(tuple((*word, last) for word in rest for last in range(options[-1])))
    return _best_first(min(candidates, key=len), options, radius)


def _searched(options: Sequence[int], radius: int) -> tuple[Word, ...]:
    """A greedy covering, from which words are removed while the rest can be made a covering."""
    words = list(itertools.product(*map(range, options)))
    number = {word: i for i, word in enumerate(words)}
    balls = [[number[near] for near in ball(word, options, radius)] for word in words]
    code = _greedy(balls)
    rng = random.Random(0)
    while len(code) > 1:
        fewer = _mended(code[:-1], balls, rng)
        if fewer is None:
            break
        code = fewer
    return tuple(words[i] for i in code)


def _greedy(balls: Sequence[Sequence[int]]) -> list[int]:
    uncovered = set(range(len(balls)))
    gain = [len(near) for near in balls]
    code = []
    while uncovered:
        best = max(range(len(balls)), key=gain.__getitem__)
        code.append(best)
        for near in balls[best]:
            if near in uncovered:
                uncovered.discard(near)
                for other in balls[near]:
                    gain[other] -= 1
    return code


def _mended(
    code: Sequence[int], balls: Sequence[Sequence[int]], rng: random.Random
) -> list[int] | None:
    """Exchange words until they are a covering; None if a limited search finds none."""
    current = list(code)
    times = [0] * len(balls)
    for word in current:
        for near in balls[word]:
            times[near] += 1
    for _ in range(_SEARCH_STEPS if len(balls) <= 2048 else 0):
        bare = [i for i, count in enumerate(times) if count == 0]
        if not bare:
            return current
        target = balls[bare[int(rng.random() * len(bare))]]
        incoming = target[int(rng.random() * len(target))]
        place = int(rng.random() * len(current))
        outgoing = current[place]
        _shift(times, balls, outgoing, incoming)
        if sum(count == 0 for count in times) > len(bare) + (rng.random() < 0.1):
            _shift(times, balls, incoming, outgoing)
        else:
            current[place] = incoming
    return None if 0 in times else current


def _shift(times: list[int], balls: Sequence[Sequence[int]], outgoing: int, incoming: int) -> None:
    for near in balls[outgoing]:
        times[near] -= 1
    for near in balls[incoming]:
        times[near] += 1


def _best_first(words: Sequence[Word], options: Sequence[int], radius: int) -> tuple[Word, ...]:
    left = {word: set(ball(word, options, radius)) for word in words}
    ordered = []
    while left:
        best = max(left, key=lambda word: len(left[word]))
        gained = left.pop(best)
        ordered.append(best)
        for near in left.values():
            near.difference_update(gained)
    return tuple(ordered)
