"""Near copies: a check at build time that compares a text with all accepted ones.

Texts are sketched by one-permutation MinHash: each run of four characters (of three words, in a
language with spaces) is hashed, the hash determines a bin, and a bin keeps the least of its hashes.
The share of bins in which two sketches agree estimates the Jaccard similarity of the runs of two
texts. Only texts whose sketches agree in a whole band of bins are compared (locality-sensitive
hashing), so a text is compared with a few others, however many there are.

Two poems of one hand may share one or two of eight sentences, which is far below the limit.

A build sketches the log at its start, which takes 0.1 ms and 1 kB for each entry. (A file with the
sketches saved that, and cost as much again for each new entry, and twice the code.)
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Container
from functools import lru_cache
from pathlib import Path

import xxhash

from app.kinds.language import JAPANESE, Language
from app.kinds.refusal import Refusal
from app.store.log import log_path, read_records

CHECK = "near-copy"
LIMIT = 0.6
RUN = 4
WORD_RUN = 3
BINS = 64
# Eight bands of three bins, of the first 24: texts that share 60 % of their runs agree in a band
# with probability 0.86, those that share 80 % with 0.997.
ROWS = 3
BANDS = 8

_EMPTY = 0xFFFFFFFF
_SKETCH = struct.Struct(f">{BINS}I")
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


class NearCopies:
    """The sketches of the poems in a deck's log, and of those that come.

    `withdrawn` are key and variant of texts that keep no other out.
    """

    def __init__(
        self,
        store: Path,
        deck: str,
        language: Language = JAPANESE,
        withdrawn: Container[tuple[str, int]] = (),
    ) -> None:
        # The newest text with each band: its key and variant, and its sketch.
        self._by_band: dict[bytes, tuple[tuple[str, int], bytes]] = {}
        for record in read_records(log_path(store, deck)):
            entry = record.entry
            if not entry.gone and entry.name not in withdrawn:
                self.add(sketch(entry.response.get("poem", ""), language), entry.name)

    def add(self, packed: bytes, own: tuple[str, int]) -> None:
        """Add a text that was accepted."""
        self._by_band.update(dict.fromkeys(_bands(packed), (own, packed)))

    def examine(self, packed: bytes, own: tuple[str, int]) -> Refusal | None:
        """A refusal if a sketch is like that of a known text, else None.

        Another text with the same key and variant, `own`, does not count: it will be replaced.
        """
        found = {self._by_band[band] for band in _bands(packed) if band in self._by_band}
        share, like = max(
            ((likeness(packed, other), name[0]) for name, other in found if name != own),
            default=(0.0, ""),
        )
        if share < LIMIT:
            return None
        return Refusal(CHECK, f"{share:.0%} like {like[:8]}", f"less than {LIMIT:.0%}")
