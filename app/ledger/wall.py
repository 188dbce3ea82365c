"""The wall: the latest finished flyers, for a second screen, kept in the shared state.

A flyer is kept as the ids of its play and the time, never as text: the wall asks the ladder again,
so that nothing that a visitor typed can appear on it.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from app.ledger.state import State
from app.store.key import Query

MOST = 24
_NAME = "wall"


class Flyer(NamedTuple):
    """A finished play: the query, the variant shown last, and when (UTC, ISO 8601)."""

    query: Query
    variant: int
    shown: str

    @property
    def id(self) -> str:
        """The play's key, so that another variant of the same play replaces the flyer."""
        return self.query.key


class Wall:
    """The flyers, newest first, at most `MOST`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def flyers(self) -> tuple[Flyer, ...]:
        """The flyers on the wall now."""
        return tuple(self._state.list_of(_NAME, _flyer))

    def hang(self, flyer: Flyer) -> None:
        """Hang a flyer in front of the others."""
        value = orjson.dumps(
            {"query": flyer.query.to_json(), "variant": flyer.variant, "shown": flyer.shown}
        )
        new = (flyer.id, value)
        self._state.changed_list(
            _NAME, lambda old: [new, *(one for one in old if one[0] != flyer.id)][:MOST]
        )

    def remove(self, key: str) -> bool:
        """Remove the flyer with this key; returns whether there was one."""
        hung = False

        def without(old: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
            nonlocal hung
            hung = any(name == key for name, _ in old)
            return [one for one in old if one[0] != key]

        self._state.changed_list(_NAME, without)
        return hung

    def clear(self) -> None:
        self._state.changed_list(_NAME, lambda old: [])


def _flyer(value: bytes) -> Flyer:
    one = orjson.loads(value)
    return Flyer(Query.from_json(one["query"]), int(one["variant"]), str(one["shown"]))
