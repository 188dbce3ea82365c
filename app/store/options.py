"""Where a store is and how it is served."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class StoreOptions(NamedTuple):
    """A store: its `folder`, and the address of the Redis that it is served from (empty: none).

    `sources` is the order in which entries of the same key are preferred, `radius` in how many
    phrases a stored hand may differ from a play.
    """

    folder: Path
    redis: str
    sources: tuple[str, ...]
    radius: int
