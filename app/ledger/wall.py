"""The wall: the latest finished flyers, for a second screen.

What is kept is which play was made and when, never its text: the wall asks the ladder again, and
nothing that a visitor could type ever reaches it. It hangs in the shared state of the workers.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from app.ledger.state import State
from app.store.key import Query

MOST = 24
_NAME = "wall"


class Flyer(NamedTuple):
    """A finished play: the query, the variant that was shown last, and when."""

    query: Query
    variant: int
    shown: str

    @property
    def id(self) -> str:
        """The play's key: another wording of the same play takes the place of the one before."""
        return self.query.key


class Wall:
    """The flyers of one deck, newest first, at most `MOST`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def flyers(self) -> tuple[Flyer, ...]:
        """What hangs there now."""
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
        """Take one down; whether it hung there."""
        hung = False

        def without(old: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
            nonlocal hung
            hung = any(name == key for name, _ in old)
            return [one for one in old if one[0] != key]

        self._state.changed_list(_NAME, without)
        return hung

    def clear(self) -> None:
        """Take all of them down."""
        self._state.changed_list(_NAME, lambda old: [])


def _flyer(value: bytes) -> Flyer:
    one = orjson.loads(value)
    return Flyer(Query.from_json(one["query"]), int(one["variant"]), str(one["shown"]))
