"""The records of a hand: the stored plays of the same cards, to find the nearest ones.

Format: the number of cards (u8), then one record for each entry of variant 0: its key (16 bytes)
and, for each card in canonical order, the hash of the chosen phrase (8 bytes).
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Sequence
from functools import lru_cache

from app.store.coverage import Word, is_stocked, sphere_bound
from app.store.key import phrase_hash

KEY_SIZE = 16
HASH_SIZE = 8


def records_of(joined: bytes) -> list[bytes]:
    """Split a hand's records; `joined` is in the format above, or empty."""
    width = KEY_SIZE + HASH_SIZE * joined[0] if joined else 1
    return [joined[at : at + width] for at in range(1, len(joined), width)]


@lru_cache(maxsize=64)
def _runs(cards: int, count: int) -> tuple[slice, ...]:
    edges = [HASH_SIZE * (i * cards // count) for i in range(count + 1)]
    return tuple(map(slice, edges, edges[1:]))


@lru_cache(maxsize=16)
def _phrases(cards: int) -> struct.Struct:
    return struct.Struct(f"={cards}Q")


def nearest_records(joined: bytes, digests: bytes, radius: int) -> list[tuple[int, bytes]]:
    """The records that differ in 1 to `radius` phrases, as (number of differences, key), sorted.

    `digests` are the phrase hashes of the requested play. If they are cut into radius + 1 runs, a
    record within the radius has at least one run unchanged (the pigeonhole principle), so only
    records that contain one of the runs are compared. (Comparing all 27 records of a stocked hand
    took ten times as long.)
    """
    width, cards = KEY_SIZE + len(digests), len(digests) // HASH_SIZE
    phrases = _phrases(cards)
    wanted = phrases.unpack(digests)
    near = set()
    for run in _runs(cards, radius + 1):
        part, before = digests[run], KEY_SIZE + run.start
        at = joined.find(part)
        while at >= 0:
            start = at - before
            if start > 0 and start % width == 1:
                key_end = start + KEY_SIZE
                found = phrases.unpack_from(joined, key_end)
                differing = sum(map(operator.ne, found, wanted))
                if 0 < differing <= radius:
                    near.add((differing, joined[start:key_end]))
            at = joined.find(part, at + 1)
    return sorted(near)


_fewest = lru_cache(maxsize=1 << 10)(sphere_bound)


def is_hand_stocked(joined: bytes, phrases: Sequence[Sequence[str]], radius: int) -> bool:
    """Whether every play of a hand is within `radius` of at least one of its records.

    `phrases` are the ids of the phrases of each card, the cards in canonical order.
    """
    options = tuple([len(ids) for ids in phrases])
    if len(joined) <= _fewest(options, radius) * (KEY_SIZE + HASH_SIZE * len(options)):
        return False
    places = [{phrase_hash(phrase): i for i, phrase in enumerate(ids)} for ids in phrases]
    words = (_word(record[KEY_SIZE:], places) for record in records_of(joined))
    return is_stocked([word for word in words if word], options, radius)


def _word(hashes: bytes, places: Sequence[dict[bytes, int]]) -> Word | None:
    word = [
        place.get(hashes[HASH_SIZE * i : HASH_SIZE * (i + 1)], -1) for i, place in enumerate(places)
    ]
    return tuple(word) if min(word) >= 0 else None
