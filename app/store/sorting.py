"""Sorting rows in little memory."""

from __future__ import annotations

import marshal
import operator
import struct
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from app.store.sealed import empty_copy

# About how many bytes of rows are in memory at a time, and how many files are open at most.
_PART = 8 << 20
_MOST_FILES = 200
_LENGTH = struct.Struct("<Q")


class Sorter:
    """Rows that come back sorted, in parts that follow each other; equal ones in the order they came.

    Each part is a range of the first two bytes, and has a temporary file, unless there is only one
    part. Rows are compared by their first `width` bytes; `size` is about how many bytes there will be of
    all. Raises OSError.
    """

    def __init__(self, folder: Path, width: int, size: int) -> None:
        self._name = operator.itemgetter(slice(width))
        count = min(size // _PART + 1, _MOST_FILES)
        self._starts = [((n << 16) // count).to_bytes(2, "big") for n in range(1, count)]
        self._rows: list[bytes] = []
        self._files = [empty_copy(folder) for _ in range(count)] if count > 1 else []

    def add(self, rows: list[bytes]) -> None:
        """Add some rows, which are sorted in place. Raises OSError."""
        if not self._files:
            self._rows += rows
            return
        rows.sort(key=self._name)
        edges = [
            0,
            *(bisect_left(rows, start, key=self._name) for start in self._starts),
            len(rows),
        ]
        for file, start, end in zip(self._files, edges, edges[1:], strict=False):
            if start < end:
                written = marshal.dumps(rows[start:end])
                file.write(_LENGTH.pack(len(written)) + written)

    def parts(self) -> Iterator[list[bytes]]:
        """The rows, once. Raises OSError."""
        for file in self._files:
            rows: list[bytes] = []
            # The file is gone as soon as its rows are in memory.
            with file:
                file.seek(0)
                while length := file.read(_LENGTH.size):
                    # Nobody else can write to the file. (`marshal.load` takes three times as long.)
                    rows += marshal.loads(file.read(*_LENGTH.unpack(length)))  # noqa: S302
            yield sorted(rows, key=self._name)
        if self._rows:
            yield sorted(self._rows, key=self._name)
