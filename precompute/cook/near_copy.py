"""Near copies: a check at build time that compares a text with all accepted ones.

Texts are sketched by one-permutation MinHash: each run of four characters (of three words, in a
language with spaces) is hashed, the hash
determines a bin, and a bin keeps the least of its hashes. The share of bins in which two sketches
agree estimates the Jaccard similarity of the runs of two texts. Only texts whose sketches agree in
a whole band of bins are compared (locality-sensitive hashing), so a text is compared with a few
others, however many there are.

Two poems of one hand may share one or two of eight sentences, which is far below the limit.

The sketches are kept in a sealed file, `<deck>.copies.lmdb` (see `app.store.sealed`), which is
built again from the log if it is damaged or does not fit. (Sketching the whole log at every start
would take 0.1 ms an entry: 5 seconds at 50,000 entries.)

    sketches   number (u64, big endian)           →  key (16 bytes) + variant (u16) + bins (u32 each)
    bands      band (u8) + hash of its bins (8)   →  number of the newest sketch with it
    meta       b"offset", b"first"                →  the bytes of the log that it covers, and a hash
                                                     of the log's first line
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import lmdb
import xxhash

from app.errors import IndexUnusableError, StoreWriteError
from app.kinds.language import JAPANESE, Language
from app.kinds.refusal import Refusal
from app.store.entry import Entry
from app.store.log import log_path, read_records
from app.store.plain import open_file
from app.store.sealed import empty_copy, environment, private_copy, publish

CHECK = "near-copy"
LIMIT = 0.6
RUN = 4
WORD_RUN = 3
BINS = 64
# Eight bands of three bins, of the first 24: texts that share 60 % of their runs agree in a band
# with probability 0.86, those that share 80 % with 0.997. Each further band would mean writing one
# more random page of the database for each entry.
ROWS = 3
BANDS = 8
FORMAT = b"2"
# Sketches that are written at once, because in a large database they then share pages.
FLUSH = 1_000

_DATABASES = ("sketches", "bands", "meta")
_EMPTY = 0xFFFFFFFF
_SKETCH = struct.Struct(f">{BINS}I")
_NUMBER = struct.Struct(">Q")
_NAME = struct.Struct(">16sH")
_NOTHING = _SKETCH.pack(*[_EMPTY] * BINS)
_EMPTY_BAND = _NOTHING[: ROWS * 4]


def sketch(text: str, language: Language = JAPANESE) -> bytes:
    """The sketch of a text without its white space: its bins, packed."""
    hashed = xxhash.xxh3_64_intdigest
    if language.spaced:
        words = language.words(text)
        runs_of_words = zip(*(words[at:] for at in range(WORD_RUN)), strict=False)
        values = [hashed(" ".join(run).encode()) for run in runs_of_words]
    else:
        runs = "".join(text.split()).encode("utf-16-le", "surrogatepass")
        values = [hashed(runs[i : i + 2 * RUN]) for i in range(0, len(runs) - 2 * RUN + 2, 2)]
    # Sorted in descending order, so that the least hash of each bin is put there last.
    bins = {value & (BINS - 1): value >> 32 for value in sorted(values, reverse=True)}
    return _SKETCH.pack(*(bins.get(place, _EMPTY) for place in range(BINS)))


def likeness(a: bytes, b: bytes) -> float:
    """The share of bins in which two sketches agree, from 0 to 1; empty bins do not count."""
    left, right = _SKETCH.unpack(a), _SKETCH.unpack(b)
    same: int = sum(map(operator.eq, left, right))
    # In sketches of short texts, bins are empty in both without similarity.
    empty: int = sum(x == y == _EMPTY for x, y in zip(left, right, strict=True)) if same else 0
    return float((same - empty) / max(1, BINS - empty))


@lru_cache(maxsize=256)
def _bands(packed: bytes) -> tuple[bytes, ...]:
    """The keys of a sketch's bands; cached, because a draft needs them several times."""
    rows = (packed[band * ROWS * 4 : (band + 1) * ROWS * 4] for band in range(BANDS))
    return tuple(
        bytes([band]) + xxhash.xxh3_64_digest(values)
        for band, values in enumerate(rows)
        if values != _EMPTY_BAND
    )


def near_copy_path(store: Path, deck: str) -> Path:
    """The file of a deck's sketches, which can be made anew from its log."""
    return store / f"{deck}.copies.lmdb"


class NearCopies:
    """The sketches of all texts in a deck's log. The caller must hold the log's lock.

    `withdrawn` are key and variant of texts that keep no other out. `field` is the member of responses that is compared. Raises StoreWriteError if the folder cannot
    be written.
    """

    def __init__(
        self,
        store: Path,
        deck: str,
        field: str = "poem",
        progress: Callable[[int], None] = lambda offset: None,
        language: Language = JAPANESE,
        withdrawn: Iterable[tuple[str, int]] = (),
    ) -> None:
        self._language = language
        self._log = log_path(store, deck)
        # Key and variant of texts that no longer count.
        self._withdrawn = {_name(*one) for one in withdrawn}
        self._field = field
        self._path = near_copy_path(store, deck)
        # Name and sketch, by band, of accepted texts that are not in the database yet.
        self._expected: dict[bytes, tuple[bytes, bytes]] = {}
        # Those of them that are in the log, which ends at byte `_end`.
        self._unwritten: list[tuple[bytes, bytes]] = []
        self._end = 0
        try:
            if not self._opened(private_copy):
                self._opened(lambda path: empty_copy(path.parent))
            self.catch_up(progress)
        except (OSError, lmdb.Error) as error:
            raise StoreWriteError(f"{self._path}: cannot be written: {error}") from None

    def _opened(self, copy: Callable[[Path], BinaryIO]) -> bool:
        """Open a copy; returns whether it fits the log. Raises OSError, lmdb.Error."""
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
                # Words and characters make different sketches.
                spaced = b"words" if self._language.spaced else b""
                return FORMAT + spaced + xxhash.xxh3_64_digest(file.readline())
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

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        # After an error nothing is written: it is read from the log next time.
        try:
            if kind is None:
                self.flush()
                publish(self._env, self._file, self._path)
        except OSError as fault:
            raise self._write_fault(fault) from None
        finally:
            self._close()

    def catch_up(self, progress: Callable[[int], None] = lambda offset: None) -> None:
        """Add the entries that the log has beyond the database."""
        with self._env.begin() as txn:
            start = self._offset(txn)
        entries: list[Entry] = []
        end = start
        for item in read_records(self._log, start):
            if item.entry.gone:
                continue
            entries.append(item.entry)
            end = item.end
            if len(entries) == 5_000:
                self.add(entries, end)
                entries = []
                progress(end)
        if entries:
            self.add(entries, end)

    def add(self, entries: Sequence[Entry], end: int) -> None:
        """Add entries that are in the log, which ends at byte `end`."""
        self.remember(
            [(e, sketch(e.response.get(self._field, ""), self._language)) for e in entries], end
        )
        self.flush()

    def remember(self, sketched: Iterable[tuple[Entry, bytes]], end: int) -> None:
        """The same for entries with their sketches, which are written later, many at a time."""
        for entry, packed in sketched:
            self.expect(packed, (entry.key, entry.variant))
            self._unwritten.append((_name(entry.key, entry.variant), packed))
        self._end = end
        if len(self._unwritten) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what was remembered. Raises StoreWriteError."""
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
        """A refusal if a sketch is like that of a known text, else None.

        Another text with the same key and variant, `own`, does not count: it will be replaced.
        """
        me = _name(*own)
        share, like = max(
            (
                (likeness(packed, other), name)
                for name, other in self._candidates(packed)
                if name != me and name not in self._withdrawn
            ),
            default=(0.0, b""),
        )
        if share < LIMIT:
            return None
        return Refusal(CHECK, f"{share:.0%} like {like[:4].hex()}", f"less than {LIMIT:.0%}")

    def expect(self, packed: bytes, own: tuple[str, int]) -> None:
        """Add a text that will be in the log."""
        for band in _bands(packed):
            self._expected[band] = (_name(*own), packed)

    def _candidates(self, packed: bytes) -> set[tuple[bytes, bytes]]:
        """Names and sketches of the texts that agree in a band."""
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
