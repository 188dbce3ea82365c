"""The ledger: what was asked and not found as a whole, one JSON object a line.

Lines are appended with one write to a file opened for appending, which the system keeps whole
between processes; nothing is synced, for a lost line costs a count and not an answer. A ledger that
reaches half its limit is set aside as `<deck>.1.jsonl`, over the one set aside before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from app.core.key import Query

Clock = Callable[[], str]


def ledger_path(folder: Path, deck: str) -> Path:
    """Where the ledger of a deck is."""
    return folder / f"{deck}.jsonl"


class Ledger:
    """Appends misses. `clock` gives a UTC time in ISO 8601; `limit` is in bytes."""

    def __init__(self, folder: Path, deck: str, limit: int, clock: Clock) -> None:
        self._folder = folder
        self._path = ledger_path(folder, deck)
        self._aside = folder / f"{deck}.1.jsonl"
        self._half = limit // 2
        self._clock = clock
        self._file = -1
        self._left = 0

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._file >= 0:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._file).st_size
        if size >= self._half:
            self._set_aside()
            return
        # Look again before the file could have doubled, whatever other workers write meanwhile.
        self._left = max(1, (self._half - size) // 1024)

    def _set_aside(self) -> None:
        if os.fstat(self._file).st_ino == self._path.stat().st_ino:
            self._path.replace(self._aside)
        os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._left = max(1, self._half // 1024)

    def miss(self, query: Query, variant: int, tier: str) -> None:
        """Note a request that no stored entry answered. A full disk loses the line, not the answer."""
        line = orjson.dumps(
            {**query.to_json(), "variant": variant, "tier": tier, "at": self._clock()},
            option=orjson.OPT_APPEND_NEWLINE,
        )
        try:
            if self._left <= 0:
                self._open()
            os.write(self._file, line)
        except OSError:
            return
        self._left -= 1


def read_ledger(folder: Path, deck: str) -> Iterator[dict[str, Any]]:
    """The lines of a ledger, oldest first; lines that are not ours are passed over."""
    for path in (folder / f"{deck}.1.jsonl", ledger_path(folder, deck)):
        yield from _read(path)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(value, dict):
                yield value
