"""Stored answers to requests that come again byte for byte, kept while their index stays as it is.

What is cooked is asked again and again: a hand that is dealt from the stock is played as the page
sends it, a link is opened by everybody who gets it. A stored answer hangs on the bytes of a request
and on the index alone, so that for the same bytes and the same state of the index nothing need be
parsed, hashed and looked up again.
"""

from __future__ import annotations

from typing import NamedTuple

from app.indexes import IndexHolder, State

# Bytes that may be held, and what each answer takes besides its own and its request's.
_HELD, _EACH = 5 << 20, 600


class Response(NamedTuple):
    """An answer as it goes out: `start`, then the headers for `origin`, then `body`.

    `tier` is the one that gave it, None where it was fetched by its key.
    """

    deck: str
    tier: str | None
    origin: bytes
    start: bytes
    body: bytes


class Repeats:
    """What was answered, by the bytes of the request, as much as there is room for.

    Where it is full, what is new is turned away, until as much was as is here: then all of it goes.
    What is asked often is soon here again. (To drop what was not asked for long, every hit would
    have to be noted, which costs as much as the hit; and what comes in a circle that is a little too
    long for the room would never be hit.)
    """

    def __init__(self, held: int = _HELD) -> None:
        self._held = held
        self._kept: dict[bytes, tuple[Response, IndexHolder, State]] = {}
        self._size = self._turned_away = 0

    def find(self, request: bytes) -> Response | None:
        """What was answered, unless its index has changed since."""
        kept = self._kept.get(request)
        if kept is None:
            return None
        response, index, state = kept
        return response if index.state() is state else None

    def keep(
        self, request: bytes, response: Response, index: IndexHolder, state: State | None
    ) -> None:
        """Keep an answer. `state` is that of the index before it was asked for it."""
        if state is None:
            return
        if request in self._kept or self._made_room(len(request) + len(response.body) + _EACH):
            self._kept[request] = response, index, state

    def _made_room(self, size: int) -> bool:
        if self._size + size > self._held:
            self._turned_away += 1
            if self._turned_away <= len(self._kept):
                return False
            self._kept.clear()
            self._size = self._turned_away = 0
        self._size += size
        return True
