"""The stored replies to prompts: those of the store, and those recorded since."""

from __future__ import annotations

import orjson

from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.recordings import Recordings
from app.kinds.prompts.reply import Reply
from app.store.entry import MAX_VARIANT
from app.store.index import IndexSource


class Replies:
    """Finds replies by the keys of prompts; the several replies to one prompt are its variants."""

    def __init__(self, index: IndexSource, recordings: Recordings) -> None:
        self._index = index
        self.recordings = recordings

    def count(self, key: str) -> int:
        """The number of replies to a prompt."""
        return next(n for n in range(MAX_VARIANT + 2) if not self.has(key, n))

    def has(self, key: str, variant: int) -> bool:
        """Whether there is such a reply."""
        return self._text(key, variant) is not None

    def stored(self, key: str, variant: int) -> bool:
        """Whether the store has such a reply; the recordings may have it besides."""
        index = self._index()
        return index is not None and index.get(bytes.fromhex(key), variant) is not None

    def find(self, key: str, variant: int) -> Reply | None:
        """A reply; None if there is none."""
        text = self._text(key, variant)
        try:
            return None if text is None else Reply.from_text(text)
        except (ValueError, KeyError, TypeError):
            # Nothing that this program has written.
            return None

    def _text(self, key: str, variant: int) -> str | None:
        index = self._index()
        body = index.get(bytes.fromhex(key), variant) if index else None
        if body is not None:
            text: str | None = orjson.loads(body).get(REPLY)
            return text
        entry = self.recordings.find(key, variant)
        return None if entry is None else entry.response.get(REPLY)
