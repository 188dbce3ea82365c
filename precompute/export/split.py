"""Splits by group: rows of a group never stand on both sides."""

from __future__ import annotations

from collections.abc import Iterable

import xxhash

from precompute.export.rows import Item

TRAIN, VALIDATION = "train", "validation"
_PARTS = 1 << 32


def side(group: str, share: float, seed: int) -> str:
    """The side of a group. It depends on nothing else, so that added rows move no others."""
    drawn = xxhash.xxh3_64_intdigest(f"{seed} {group}".encode()) % _PARTS
    return VALIDATION if drawn < share * _PARTS else TRAIN


def split(items: Iterable[Item], share: float, seed: int) -> dict[str, list[Item]]:
    """Items by side; about `share` of the groups are for validation."""
    sides: dict[str, list[Item]] = {TRAIN: [], VALIDATION: []}
    for item in items:
        sides[side(item.group, share, seed)].append(item)
    return sides
