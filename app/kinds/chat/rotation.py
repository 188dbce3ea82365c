"""The rotation of lines: all that fit are said before one is repeated, and none twice in a row.

The order in a round is a shuffle by the seed and the round's number, so that the same seed gives
the same order. The lines said in a round are kept as bits, because the lines that fit change with
the time of day during a round.

State: round (u32), place of the last line + 1 (u32, 0: none), bits of the lines said.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random

_HEAD = struct.Struct("<II")
LINES = 256
SIZE = _HEAD.size + LINES // 8


def next_line(state: bytearray, count: int, fitting: Sequence[int], seed: str) -> int:
    """The place of the next line, of `count` lines; `fitting` are the places of those that fit now.

    Changes `state`, which has `SIZE` bytes. `fitting` must have a place below `LINES`, the places
    beyond are never chosen.
    """
    turn, last = _HEAD.unpack_from(state)
    said = int.from_bytes(state[_HEAD.size :], "little")
    usable = [place for place in fitting if place < LINES]
    left = [place for place in usable if not said >> place & 1]
    if not left:
        turn, said, left = turn + 1, 0, usable
    if len(usable) > 1:
        left = [place for place in left if place != last - 1] or left
    order = _shuffled(min(count, LINES), f"{seed} {turn}")
    chosen = min(left, key=order.__getitem__)
    _HEAD.pack_into(state, 0, turn, chosen + 1)
    state[_HEAD.size :] = (said | 1 << chosen).to_bytes(LINES // 8, "little")
    return chosen


def _shuffled(count: int, seed: str) -> list[int]:
    """The rank of each place in a round's order."""
    rng = Random(seed)
    return [rank for _, rank in sorted((rng.random(), rank) for rank in range(count))]
