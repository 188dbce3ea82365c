"""The tally of a deck: how many answers each tier gave on each day, and what they cost.

It is kept over restarts, holds no text and no address, and is a file of rows of one length that a
person can read:

    2026-11-21 rules     <answers> <characters in> <characters out> <prompt tokens> <output tokens> <nano-USD>

A row is found by its place and changed where it stands, under a lock that the workers share. A row
is some 120 bytes, so that five tiers grow a file by about 220 kB a year.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_NUMBERS = 6
_ROW = 10 + 1 + 12 + _NUMBERS * 17 + 1
NANO = 1_000_000_000


class Use(NamedTuple):
    """What one answer took.

    Characters are what the strong model would have read and written, had it answered (system
    prompt and history included); tokens and USD are what was really billed.
    """

    characters_in: int = 0
    characters_out: int = 0
    prompt: int = 0
    output: int = 0
    usd: float = 0.0


class Row(NamedTuple):
    """A day's sum of one tier."""

    day: str
    tier: str
    answers: int
    characters_in: int
    characters_out: int
    prompt: int
    output: int
    usd: float


def tally_path(folder: Path, deck: str) -> Path:
    """Where the tally of a deck is."""
    return folder / f"{deck}.tally"


class Tally:
    """Adds answers up. A full or read-only disk loses counts, never an answer."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._path = tally_path(folder, deck)
        self._places: dict[tuple[str, str], int] = {}

    def add(self, day: str, tier: str, use: Use) -> None:
        """Count an answer that a tier gave on a day (ISO 8601, the date alone)."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._add(descriptor, day, tier, use)
        except OSError:
            return
        finally:
            os.close(descriptor)

    def _add(self, file: int, day: str, tier: str, use: Use) -> None:
        place = self._place(file, day, tier)
        row = _parse(os.pread(file, _ROW, place)) or Row(day, tier, 0, 0, 0, 0, 0, 0.0)
        numbers = (
            row.answers + 1,
            row.characters_in + use.characters_in,
            row.characters_out + use.characters_out,
            row.prompt + use.prompt,
            row.output + use.output,
            round((row.usd + use.usd) * NANO),
        )
        text = f"{day:<10} {tier:<12}" + "".join(f" {number:016d}" for number in numbers) + "\n"
        os.pwrite(file, text.encode("ascii"), place)

    def _place(self, file: int, day: str, tier: str) -> int:
        """Where the row is or is to be. Another worker may have begun it: look before appending."""
        known = self._places.get((day, tier))
        if known is not None and _names(os.pread(file, _ROW, known)) == (day, tier):
            return known
        self._places.clear()
        size = os.fstat(file).st_size
        for place in range(0, size, _ROW):
            self._places[_names(os.pread(file, _ROW, place))] = place
        return self._places.setdefault((day, tier), size - size % _ROW)


def _names(raw: bytes) -> tuple[str, str]:
    return raw[:10].decode("ascii", "replace").strip(), raw[11:23].decode(
        "ascii", "replace"
    ).strip()


def _parse(raw: bytes) -> Row | None:
    numbers = raw[23:].split()
    if len(raw) != _ROW or len(numbers) != _NUMBERS or not all(n.isdigit() for n in numbers):
        return None
    day, tier = _names(raw)
    *counts, nano = map(int, numbers)
    return Row(day, tier, counts[0], counts[1], counts[2], counts[3], counts[4], nano / NANO)


def read_tally(folder: Path | None, deck: str) -> Iterator[Row]:
    """The rows of a tally, oldest first."""
    try:
        raw = tally_path(folder, deck).read_bytes() if folder else b""
    except FileNotFoundError:
        return
    for place in range(0, len(raw), _ROW):
        row = _parse(raw[place : place + _ROW])
        if row:
            yield row
