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
# A flyer in the state: its id, and the rest as JSON.
Row = tuple[str, bytes]


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
    """The flyers, newest first, at most `MOST` of a deck."""

    def __init__(self, state: State) -> None:
        self._state = state

    def flyers(self, deck: str) -> list[Flyer]:
        """The flyers of a deck now."""
        return [one for one in self._state.list_of(_NAME, _flyer) if one.query.deck == deck]

    def hang(self, flyer: Flyer) -> None:
        """Hang a flyer in front of the others."""
        value = orjson.dumps(
            {"query": flyer.query.to_json(), "variant": flyer.variant, "shown": flyer.shown}
        )
        new = (flyer.id, value)

        def changed(old: list[Row]) -> list[Row]:
            others = [row for row in old if row[0] != flyer.id]
            of_deck = [row for row in others if _deck(row) == flyer.query.deck]
            return [new, *(row for row in others if row not in of_deck[MOST - 1 :])]

        self._state.changed_list(_NAME, changed)

    def remove(self, key: str) -> bool:
        """Remove the flyer with this key; returns whether there was one."""
        hung = False

        def without(old: list[Row]) -> list[Row]:
            nonlocal hung
            hung = any(name == key for name, _ in old)
            return [one for one in old if one[0] != key]

        self._state.changed_list(_NAME, without)
        return hung

    def clear(self, deck: str) -> None:
        """Remove the flyers of a deck."""
        self._state.changed_list(_NAME, lambda old: [row for row in old if _deck(row) != deck])


def _deck(row: Row) -> str:
    return _flyer(row[1]).query.deck


def _flyer(value: bytes) -> Flyer:
    one = orjson.loads(value)
    return Flyer(Query.from_json(one["query"]), int(one["variant"]), str(one["shown"]))
