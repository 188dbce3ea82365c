"""The stored replies to prompts: those of the store, and those recorded since."""

from __future__ import annotations

from itertools import islice

import orjson

from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.recordings import Recordings
from app.kinds.prompts.reply import Reply
from app.store.entry import MAX_VARIANT
from app.store.index import IndexReader, IndexSource


class Replies:
    """Finds replies by the keys of prompts, and by their place among the replies to one prompt.

    Replies that a reviewer rejected have no place. `approved`: recordings are replayed only once they
    are in the store, where they can be approved.
    """

    def __init__(
        self, index: IndexSource, recordings: Recordings, *, approved: bool = False
    ) -> None:
        self._index = index
        self._approved = approved
        self.recordings = recordings

    def count(self, key: str) -> int:
        """The number of replies to a prompt."""
        return next(n for n in range(MAX_VARIANT + 2) if not self.has(key, n))

    def has(self, key: str, place: int) -> bool:
        """Whether there is such a reply."""
        return self._text(key, place) is not None

    def stored(self, key: str, variant: int) -> bool:
        """Whether the store has such a reply, served or not; the recordings may have it besides."""
        index, raw = self._index(), bytes.fromhex(key)
        return index is not None and (
            index.get(raw, variant) is not None or index.is_held(raw, variant)
        )

    def find(self, key: str, place: int) -> Reply | None:
        """A reply; None if there is none."""
        text = self._text(key, place)
        try:
            return None if text is None else Reply.from_text(text)
        except (ValueError, KeyError, TypeError):
            # Nothing that this program has written.
            return None

    def _text(self, key: str, place: int) -> str | None:
        index, raw = self._index(), bytes.fromhex(key)
        variant = _variant(index, raw, place) if index and index.meta().held else place
        body = index.get(raw, variant) if index else None
        if body is not None:
            text: str | None = orjson.loads(body).get(REPLY)
            return text
        entry = None if self._approved else self.recordings.find(key, variant)
        return None if entry is None else entry.response.get(REPLY)


def _variant(index: IndexReader, key: bytes, place: int) -> int:
    """The variant at a place among those that are not held back."""
    shown = (n for n in range(MAX_VARIANT + 2) if not index.is_held(key, n))
    return next(islice(shown, place, None), MAX_VARIANT + 1)
