"""A balanced order of a matrix: first rows that show every pair of values, then all others.

Faults of an answer, and what a visitor notices, hang on one or two values far more often than on
three; so a small sample that has every pair of values of any two slots tells most (D. R. Kuhn et
al., NIST SP 800-142, Practical Combinatorial Testing). The rows are chosen greedily (D. M. Cohen et
al., The AETG System, 1997): of some candidates, the one with the most pairs that are still missing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from random import Random

Row = tuple[int, ...]
_Pair = tuple[int, int, int, int]
# Rows that are tried for each that is taken.
_CANDIDATES = 20


def pairwise(sizes: Sequence[int], seed: int) -> Iterator[Row]:
    """Every row of a matrix once, the rows that show all pairs first.

    `sizes` are the numbers of values of the slots; a row has the number of a value for each.
    """
    rng = Random(f"pairwise {seed}")
    seen: set[Row] = set()
    for row in _covering(sizes, rng):
        seen.add(row)
        yield row
    for row in _all(sizes, rng):
        if row not in seen:
            yield row


def _covering(sizes: Sequence[int], rng: Random) -> Iterator[Row]:
    """Rows that show every pair of values of any two slots; of a single slot, every value."""
    missing: dict[_Pair, None] = {
        (a, x, b, y): None
        for a, b in itertools.combinations(range(len(sizes)), 2)
        for x in range(sizes[a])
        for y in range(sizes[b])
    }
    while missing:
        rows = [_candidate(sizes, missing, rng) for _ in range(_CANDIDATES)]
        row = max(rows, key=lambda row: sum(pair in missing for pair in _pairs(row)))
        for pair in _pairs(row):
            missing.pop(pair, None)
        yield row


def _pairs(row: Row) -> Iterator[_Pair]:
    for a, b in itertools.combinations(range(len(row)), 2):
        yield a, row[a], b, row[b]


def _candidate(sizes: Sequence[int], missing: dict[_Pair, None], rng: Random) -> Row:
    """A row with the first missing pair, its other values each with the most missing pairs."""
    a, x, b, y = next(iter(missing))
    values: dict[int, int] = {a: x, b: y}
    rest = [slot for slot in range(len(sizes)) if slot not in values]
    rng.shuffle(rest)
    for slot in rest:
        options = list(range(sizes[slot]))
        rng.shuffle(options)
        values[slot] = max(options, key=lambda value: _gain(slot, value, values, missing))
    return tuple(values[slot] for slot in range(len(sizes)))


def _gain(slot: int, value: int, values: dict[int, int], missing: dict[_Pair, None]) -> int:
    pairs = (
        (other, v, slot, value) if other < slot else (slot, value, other, v)
        for other, v in values.items()
    )
    return sum(pair in missing for pair in pairs)


def _all(sizes: Sequence[int], rng: Random) -> Iterator[Row]:
    """Every row once, in an order that mixes all slots, without a list of them.

    Multiples of a number without common divisor pass every residue once; near the golden section,
    they spread evenly (H. Weyl's equidistribution).
    """
    total = math.prod(sizes)
    step = round(total * (math.sqrt(5) - 1) / 2) or 1
    while math.gcd(step, total) != 1:
        step += 1
    at = rng.randrange(total)
    for _ in range(total):
        number, row = at, []
        for size in sizes:
            number, value = divmod(number, size)
            row.append(value)
        yield tuple(row)
        at = (at + step) % total
