"""Splits by group: rows of a group never stand on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import xxhash

TRAIN, VALIDATION = "train", "validation"
_PARTS = 1 << 32


class Grouped(Protocol):
    """What has a group."""

    @property
    def group(self) -> str:
        """The name of the group."""


T = TypeVar("T", bound=Grouped)


def side(group: str, share: float, seed: int) -> str:
    """The side of a group. It depends on nothing else, so that added rows move no others."""
    drawn = xxhash.xxh3_64_intdigest(f"{seed} {group}".encode()) % _PARTS
    return VALIDATION if drawn < share * _PARTS else TRAIN


def split(items: Iterable[T], share: float, seed: int) -> dict[str, list[T]]:
    """Items by side; about `share` of the groups are for validation."""
    sides: dict[str, list[T]] = {TRAIN: [], VALIDATION: []}
    for item in items:
        sides[side(item.group, share, seed)].append(item)
    return sides
