"""Replies recorded by the server, until `precompute` takes them into the store.

The server does not write the store. Recordings are entries in a log of the store's format, with its
checksums and lock, in the ledger's folder: `<ledger>/recordings/<deck>.jsonl`. Every worker follows
it, so that a recording is replayed by all of them at once. A recording is synced to the disk before
its lock is released. Taking recordings in leaves the log as it is: the store's entries have the same
keys and variants, and come first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from app.errors import DamagedLineError
from app.store.entry import MAX_VARIANT, Entry
from app.store.log import LogFollower, LogWriter, entry_at, log_path
from app.store.proof import identity


def recordings_folder(ledger: Path) -> Path:
    """The folder of the logs of recordings."""
    return ledger / "recordings"


class Recordings:
    """The recordings of one deck, of which only their places in the log are in memory."""

    def __init__(self, ledger: Path, deck: str) -> None:
        self._folder = recordings_folder(ledger)
        self._deck = deck
        self._path = log_path(self._folder, deck)
        self._lock = threading.Lock()
        self._log = LogFollower(self._path)
        self._offsets: dict[tuple[str, int], int] = {}

    def state(self) -> object:
        """Equal for as long as the recordings are the same.

        It waits for nobody: the event loop asks, and another thread may be reading a long recording.
        """
        return identity(self._path)

    def find(self, key: str, variant: int) -> Entry | None:
        """A recording; None if there is none, or if it is damaged."""
        self._catch_up()
        offset = self._offsets.get((key, variant))
        if offset is None:
            return None
        try:
            return entry_at(self._path, offset)
        except (DamagedLineError, OSError):
            return None

    def keep(self, entry_of: Callable[[int], Entry], is_free: Callable[[int], bool]) -> Entry:
        """Append a recording as the first variant that is free in the store and here.

        Raises StoreWriteError if it cannot be written.
        """
        with LogWriter(self._folder, self._deck, wait=True) as log:
            self._catch_up()
            for variant in range(MAX_VARIANT + 1):
                entry = entry_of(variant)
                if is_free(variant) and (entry.key, variant) not in self._offsets:
                    break
            log.append([entry])
        self._catch_up()
        return entry

    def _catch_up(self) -> None:
        """Take in the lines that the log has got since; from the beginning if it is another file."""
        with self._lock:
            another, entries = self._log.news()
            if another:
                self._offsets = {}
            for offset, entry in entries:
                self._offsets.setdefault((entry.key, entry.variant), offset)
