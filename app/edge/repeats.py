"""Stored answers to requests that come again, kept as long as their index stays as it is.

What is cooked is asked again and again: a hand that is dealt from the stock is played as the page
sends it, a link is opened by everybody who gets it. A stored answer depends on the request's path
and body and on the index, so for the same of these nothing need be parsed, hashed and looked up.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

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
        self._kept: dict[Hashable, tuple[Kept, IndexHolder, IndexState]] = {}
        self._size = self._turned_away = 0

    def find(self, request: Hashable) -> Kept | None:
        """The answer to a request, unless its index has changed since."""
        found = self._kept.get(request)
        if found is None:
            return None
        kept, index, state = found
        return kept if index.state() is state else None

    def keep(
        self, request: Hashable, size: int, kept: Kept, index: IndexHolder, state: IndexState | None
    ) -> None:
        """Keep an answer to a request of `size` bytes.

        `state` is that of the index before the index was asked, None if it cannot tell.
        """
        if state is None:
            return
        if request in self._kept or self._made_room(size + len(kept.body) + _EACH):
            self._kept[request] = kept, index, state

    def _made_room(self, size: int) -> bool:
        if self._size + size > self._held:
            self._turned_away += 1
            if self._turned_away <= len(self._kept):
                return False
            self._kept.clear()
            self._size = self._turned_away = 0
        self._size += size
        return True
