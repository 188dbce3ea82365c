"""Sorting more than memory holds: items go into parts by their key, and each part is sorted alone.

An item is a tuple whose first member is its key: 16 bytes or more that a hash has made. Hashes lie
evenly, so that parts cut by the first two bytes of the key are about even in size, and putting the
sorted parts behind each other is all the merging there is. (Merging sorted runs costs a comparison
for each run and item, in Python.)

What is held grows to a bound and then goes to a file without a name: nobody can see it, and it is
gone with the process however that ends.
"""

from __future__ import annotations

import marshal
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# What may be held until it goes to the disk.
_HELD = 24 << 20


def pack(items: Iterable[tuple[Any, ...]], count: int) -> list[bytes]:
    """Items as bytes, by part; empty for a part that has none."""
    parts: list[list[tuple[Any, ...]]] = [[] for _ in range(count)]
    for item in items:
        key = item[0]
        parts[((key[0] << 8 | key[1]) * count) >> 16].append(item)
    return [marshal.dumps(part) if part else b"" for part in parts]


def unpack(pieces: Iterable[bytes]) -> list[Any]:
    """The items of what `pack` gave for one part, sorted."""
    items: list[Any] = []
    for piece in pieces:
        if piece:
            # Not from outside: this very build has packed it.
            items += marshal.loads(piece)  # noqa: S302
    items.sort()
    return items


class Parts:
    """What `pack` gave, batch after batch, to be had again part by part. A context manager."""

    def __init__(self, count: int, folder: Path) -> None:
        self._held: list[list[bytes]] = [[] for _ in range(count)]
        self._size = 0
        # Where the blocks of each part are in the file: offset, length, offset, length, …
        self._blocks = [array("Q") for _ in range(count)]
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 closed by __exit__

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, packed: Iterable[bytes]) -> None:
        """Take in what `pack` gave. Raises OSError where the disk is full."""
        for held, piece in zip(self._held, packed, strict=True):
            if piece:
                held.append(piece)
                self._size += len(piece)
        if self._size > _HELD:
            self._spill()

    def _spill(self) -> None:
        for held, blocks in zip(self._held, self._blocks, strict=True):
            if held:
                block = marshal.dumps(held)
                blocks.extend((self._file.tell(), len(block)))
                self._file.write(block)
                held.clear()
        self._size = 0

    def __iter__(self) -> Iterator[list[Any]]:
        """The items of each part, sorted; one part after the other, all of them are sorted."""
        for number in range(len(self._held)):
            yield unpack(self._pieces(number))

    def _pieces(self, number: int) -> Iterator[bytes]:
        blocks = self._blocks[number]
        for offset, length in zip(blocks[::2], blocks[1::2], strict=True):
            self._file.seek(offset)
            yield from marshal.loads(self._file.read(length))  # noqa: S302 as above
        yield from self._held[number]
