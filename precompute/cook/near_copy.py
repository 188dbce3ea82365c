"""Near-copies: a gate check at build time that knows every answer accepted so far.

A text is sketched by one-permutation MinHash: each of its runs of four characters is hashed, the
hash says which of the bins it falls into, and a bin keeps its least hash. The share of bins in which
two sketches agree estimates the share of runs that two texts have in common. Sketches that agree in
a whole band of bins are compared; so a text is compared with a few others, however many there are.

Two poems of one hand may share a sentence or two of eight; that is far below the limit.

The sketches stand in a sealed file beside the index, `<deck>.copies.lmdb` (see `app.store.sealed`),
derived from the log like it and built again from it if it is damaged or does not fit. (Sketching the whole log at every start costs
0.1 ms an entry: at 50,000 entries a build of ten would begin with five seconds of it.)

    sketches   number (u64, big endian)           →  key (16 bytes) + variant (u16) + bins (u32 each)
    bands      band (u8) + hash of its bins (8)   →  number of the newest sketch with it
    meta       b"offset", b"first"                →  how much of which log it holds
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import lmdb
import xxhash

from app.errors import IndexUnusableError, StoreWriteError
from app.kinds.refusal import Refusal
from app.store.entry import Entry
from app.store.log import Record, log_path, read_log
from app.store.plain import open_file
from app.store.sealed import empty_copy, environment, private_copy, publish

CHECK = "near-copy"
LIMIT = 0.6
RUN = 4
BINS = 64
# Bands of three bins each, of the first 24: of texts that share 60 % of their runs, 86 in 100 meet in
# one, of those that share 80 %, 997 in 1,000. Every further band is a random page of the database
# to be written for every entry.
ROWS = 3
BANDS = 8
FORMAT = b"2"
# So many sketches are written at once: in a large database they share the pages that they dirty.
FLUSH = 1_000

_DATABASES = ("sketches", "bands", "meta")
_EMPTY = 0xFFFFFFFF
_SKETCH = struct.Struct(f">{BINS}I")
_NUMBER = struct.Struct(">Q")
_NAME = struct.Struct(">16sH")
_NOTHING = _SKETCH.pack(*[_EMPTY] * BINS)
_EMPTY_BAND = _NOTHING[: ROWS * 4]


def sketch(text: str) -> bytes:
    """The bins of a text, packed; line breaks do not count."""
    runs = "".join(text.split()).encode("utf-16-le", "surrogatepass")
    hashed = xxhash.xxh3_64_intdigest
    values = [hashed(runs[i : i + 2 * RUN]) for i in range(0, len(runs) - 2 * RUN + 2, 2)]
    # Largest first: the least of each bin is the last one put there.
    bins = {value & (BINS - 1): value >> 32 for value in sorted(values, reverse=True)}
    return _SKETCH.pack(*(bins.get(place, _EMPTY) for place in range(BINS)))


def likeness(a: bytes, b: bytes) -> float:
    """The share of the filled bins in which two sketches agree: 0 unlike, 1 the same."""
    left, right = _SKETCH.unpack(a), _SKETCH.unpack(b)
    same: int = sum(map(operator.eq, left, right))
    # Bins that both texts leave empty, because they are short, say nothing.
    empty: int = sum(x == y == _EMPTY for x, y in zip(left, right, strict=True)) if same else 0
    return float((same - empty) / max(1, BINS - empty))


@lru_cache(maxsize=256)
def _bands(packed: bytes) -> tuple[bytes, ...]:
    """The keys of a sketch's bands: asked for when it is examined, accepted and written."""
    rows = (packed[band * ROWS * 4 : (band + 1) * ROWS * 4] for band in range(BANDS))
    return tuple(
        bytes([band]) + xxhash.xxh3_64_digest(values)
        for band, values in enumerate(rows)
        if values != _EMPTY_BAND
    )


class NearCopies:
    """Knows the texts of a deck's log. Whoever makes one holds the log's lock.

    `field` is the member of the response whose text is compared. Raises StoreWriteError where the
    folder cannot be written.
    """

    def __init__(
        self,
        store: Path,
        deck: str,
        field: str = "poem",
        progress: Callable[[int], None] = lambda offset: None,
    ) -> None:
        self._log = log_path(store, deck)
        self._field = field
        self._path = store / f"{deck}.copies.lmdb"
        # What was accepted and is not in the database yet: name and sketch by band.
        self._expected: dict[bytes, tuple[bytes, bytes]] = {}
        # Of these, what is in the log, which ends where `_end` says.
        self._unwritten: list[tuple[bytes, bytes]] = []
        self._end = 0
        try:
            if not self._opened(private_copy):
                self._opened(lambda path: empty_copy(path.parent))
            self.catch_up(progress)
        except (OSError, lmdb.Error) as error:
            raise StoreWriteError(f"{self._path}: cannot be written: {error}") from None

    def _opened(self, copy: Callable[[Path], BinaryIO]) -> bool:
        """Open a copy; whether it fits the log. Raises OSError, lmdb.Error."""
        try:
            self._file = copy(self._path)
            self._env, handles = environment(self._file, _DATABASES, write=True)
        except (FileNotFoundError, IndexUnusableError):
            return False
        self._sketches, self._band_db, self._meta = handles
        if self._fits():
            return True
        self._close()
        return False

    def _close(self) -> None:
        self._env.close()
        self._file.close()

    def _first(self) -> bytes:
        try:
            with open_file(self._log, "rb") as file:
                return FORMAT + xxhash.xxh3_64_digest(file.readline())
        except FileNotFoundError:
            return b""

    def _fits(self) -> bool:
        size = self._log.stat().st_size if self._log.exists() else 0
        with self._env.begin() as txn:
            first = txn.get(b"first", b"", db=self._meta)
            return self._offset(txn) <= size and (not first or first == self._first())

    def _offset(self, txn: lmdb.Transaction) -> int:
        return int(_NUMBER.unpack(txn.get(b"offset", _NUMBER.pack(0), db=self._meta))[0])

    def __enter__(self) -> NearCopies:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # What is not written is read from the log next time; the disk that is full has been told of.
        try:
            if error is None:
                self.flush()
                publish(self._env, self._file, self._path)
        except OSError as fault:
            raise self._write_fault(fault) from None
        finally:
            self._close()

    def catch_up(self, progress: Callable[[int], None] = lambda offset: None) -> None:
        """Take in what the log has beyond this."""
        with self._env.begin() as txn:
            start = self._offset(txn)
        batch: list[Entry] = []
        end = start
        for item in read_log(self._log, start):
            if not isinstance(item, Record):
                continue
            batch.append(item.entry)
            end = item.end
            if len(batch) == 5_000:
                self.add(batch, end)
                batch = []
                progress(end)
        if batch:
            self.add(batch, end)

    def add(self, entries: Sequence[Entry], end: int) -> None:
        """Remember entries that stand in the log, which now ends at byte `end`."""
        self.remember([(e, sketch(e.response.get(self._field, ""))) for e in entries], end)
        self.flush()

    def remember(self, sketched: Iterable[tuple[Entry, bytes]], end: int) -> None:
        """The same, of entries that are sketched already; written later, many at a time."""
        for entry, packed in sketched:
            self.expect(packed, (entry.key, entry.variant))
            self._unwritten.append((_name(entry.key, entry.variant), packed))
        self._end = end
        if len(self._unwritten) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what was remembered. Raises StoreWriteError where the disk is full."""
        if not self._unwritten:
            return
        try:
            self._write()
        except (OSError, lmdb.Error) as error:
            raise self._write_fault(error) from None
        self._unwritten.clear()
        self._expected.clear()

    def _write_fault(self, error: Exception) -> StoreWriteError:
        return StoreWriteError(
            f"{self._path}: cannot be written: {error}; what is in the log is safe, make room "
            "and start again"
        )

    def _write(self) -> None:
        with self._env.begin(write=True) as txn:
            number = txn.stat(self._sketches)["entries"]
            for name, packed in self._unwritten:
                place = _NUMBER.pack(number)
                txn.put(place, name + packed, db=self._sketches, append=True)
                for band in _bands(packed):
                    txn.put(band, place, db=self._band_db)
                number += 1
            txn.put(b"offset", _NUMBER.pack(self._end), db=self._meta)
            if not txn.get(b"first", db=self._meta):
                txn.put(b"first", self._first(), db=self._meta)

    def examine(self, packed: bytes, own: tuple[str, int]) -> Refusal | None:
        """A refusal where a sketch is of a near-copy of a text that is known.

        The text that is known of this very answer (another source's, or an older one) is passed
        over: it is there to be replaced.
        """
        me = _name(*own)
        share, like = max(
            (
                (likeness(packed, other), name)
                for name, other in self._candidates(packed)
                if name != me
            ),
            default=(0.0, b""),
        )
        if share < LIMIT:
            return None
        return Refusal(CHECK, f"{share:.0%} like {like[:4].hex()}", f"less than {LIMIT:.0%}")

    def expect(self, packed: bytes, own: tuple[str, int]) -> None:
        """Know a text that is about to be in the log."""
        for band in _bands(packed):
            self._expected[band] = (_name(*own), packed)

    def _candidates(self, packed: bytes) -> set[tuple[bytes, bytes]]:
        """Names and sketches of the texts that share a band."""
        bands = list(_bands(packed))
        found = {self._expected[band] for band in bands if band in self._expected}
        with self._env.begin() as txn:
            places = {txn.get(band, b"", db=self._band_db) for band in bands} - {b""}
            for place in places:
                value = bytes(txn.get(place, b"", db=self._sketches))
                if value:
                    found.add((value[: _NAME.size], value[_NAME.size :]))
        return found


def _name(key: str, variant: int) -> bytes:
    return _NAME.pack(bytes.fromhex(key), variant)
