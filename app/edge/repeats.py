"""Stored answers to requests that come again, kept as long as their index stays as it is.

What is cooked is asked again and again: a hand that is dealt from the stock is played as the page
sends it, a link is opened by everybody who gets it. A stored answer depends on the request's path
and body and on the index, so for the same of these nothing need be parsed, hashed and looked up.
"""

from __future__ import annotations

from typing import NamedTuple

import xxhash

from app.store.holder import IndexHolder, IndexState

# Bytes that may be held, and what each answer takes besides its own and its request's.
_HELD, _EACH = 5 << 20, 600


class Kept(NamedTuple):
    """An answer: the deck and tier that gave it, the header that belongs to it alone, its body."""

    deck: str
    tier: str
    header: tuple[str, str]
    body: bytes


class Repeats:
    """Answers by what asked for them, up to a number of bytes.

    When it is full, new answers are turned away until as many were turned away as are kept; then all
    are dropped. What is asked often is soon kept again. (Dropping what was not asked for longest
    would need a note at every hit, which costs as much as the hit, and requests that come in a cycle
    slightly longer than the room would never be found.)
    """

    def __init__(self, held: int = _HELD) -> None:
        self._held = held
        self._kept: dict[int, tuple[str, bytes, Kept, IndexHolder, IndexState]] = {}
        self._size = self._turned_away = 0

    def find(self, path: str, body: bytes) -> Kept | None:
        """The answer to a request, unless its index has changed since."""
        found = self._kept.get(_digest(path, body))
        # Two requests may share a digest; who is clever makes them.
        if (
            found is None
            or found[1] != body
            or found[0] != path
            or found[3].state() is not found[4]
        ):
            return None
        return found[2]

    def keep(
        self, path: str, body: bytes, kept: Kept, index: IndexHolder, state: IndexState | None
    ) -> None:
        """Keep an answer to a request.

        `state` is that of the index before the index was asked, None if it cannot tell.
        """
        if state is None:
            return
        digest = _digest(path, body)
        size = len(path) + len(body) + len(kept.body) + _EACH
        if digest in self._kept or self._made_room(size):
            self._kept[digest] = path, body, kept, index, state

    def _made_room(self, size: int) -> bool:
        if self._size + size > self._held:
            self._turned_away += 1
            if self._turned_away <= len(self._kept):
                return False
            self._kept.clear()
            self._size = self._turned_away = 0
        self._size += size
        return True


def _digest(path: str, body: bytes) -> int:
    # Python's own hash of a game's body, 3 KB, takes four times as long.
    return xxhash.xxh3_64_intdigest(body) if body else hash(path)
