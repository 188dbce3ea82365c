"""Where a store is and how it is served."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class StoreOptions(NamedTuple):
    """Where a store is and how it is served.

    `redis` is the address of the Redis that it is served from, empty if from `folder`. `sources`
    are in order of preference between entries of one key; `radius` is in how many phrases a
    same_hand answer may differ from the play; `approved`: only texts that a reviewer approved or wrote
    are served.
    """

    folder: Path
    redis: str
    sources: tuple[str, ...]
    radius: int
    approved: bool = False
