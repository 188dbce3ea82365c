"""A cache of stored answers to repeated requests, valid until what is stored changes.

Stored answers are requested often: hands dealt from stock are played, links are opened by many, an
application asks its model the same at every start. A stored answer depends only on the request's
path and body and on what is stored, so that nothing need be parsed, hashed and looked up if these
are the same.
"""

from __future__ import annotations

import threading
from typing import NamedTuple, Protocol

import xxhash

# Bytes that the cache may take, and those of an answer besides its own body and its request's.
_HELD, _EACH = 5 << 20, 600


class Kept(NamedTuple):
    """An answer: its deck and tier, the headers that are particular to it, its body."""

    deck: str
    tier: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class StoredIn(Protocol):
    """Where an answer is from: an index, or the replies to prompts."""

    def state(self) -> object | None:
        """Equal for as long as what is stored is the same; None if that is not known."""


class Repeats:
    """A cache of answers by request, of at most `held` bytes.

    When it is full, it rejects new answers; once it has rejected as many as it holds, it drops all
    of them. Frequent ones are soon back. (Dropping the least recently used would cost a write for
    each hit, as much as the hit, and would never find requests that repeat in a cycle slightly
    longer than the cache.)
    """

    def __init__(self, held: int = _HELD) -> None:
        self._held = held
        self._kept: dict[int, tuple[str, bytes, Kept, StoredIn, object]] = {}
        self._size = self._turned_away = 0
        # Answers are found in the event loop, and kept by its threads too.
        self._lock = threading.Lock()

    def find(self, path: str, body: bytes) -> Kept | None:
        """The answer to a request, unless what is stored has changed since."""
        found = self._kept.get(_digest(path, body))
        # Two requests may have the same digest, if only because somebody made them so.
        if found is None or found[1] != body or found[0] != path or found[3].state() != found[4]:
            return None
        return found[2]

    def keep(
        self, path: str, body: bytes, kept: Kept, stored: StoredIn, state: object | None
    ) -> None:
        """Keep an answer to a request.

        `state` is that of what is stored before it was asked; if it is None, the answer is not kept.
        """
        if state is None:
            return
        digest = _digest(path, body)
        size = len(path) + len(body) + len(kept.body) + _EACH
        with self._lock:
            if digest in self._kept or self._made_room(size):
                self._kept[digest] = path, body, kept, stored, state

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
    # For a game's body of 3 KB, Python's own hash takes four times as long.
    return xxhash.xxh3_64_intdigest(body) if body else hash(path)
