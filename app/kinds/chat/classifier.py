"""What a message probably means: a linear model over runs of characters, learned from examples.

`python -m precompute.learn.classifier` learns it and writes a deck's `classifier.json`. For each class
(an intent, a tone, `DANGER`, `NONE`) it is a logistic regression over the sets of runs of some characters,
the usual baseline for short texts (Wang and Manning, Baselines and Bigrams, 2012). Runs are hashed
into buckets (Weinberger et al., Feature Hashing, 2009), so that no text of the examples is kept, and
weights have 8 bits: three bytes for each weight in place of a dictionary of texts.
"""

from __future__ import annotations

import base64
import bisect
import itertools
import math
import operator
import sys
import zlib
from array import array
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.message import in_hiragana
from app.kinds.reading import Reader

CLASSIFIER_FILE, BY_EXAMPLE_FILE = "classifier.json", "by_example.json"
TONES_FILE = "tones.json"
# The classes beside intents: somebody may be in danger; nothing that a line answers.
DANGER, NONE = "danger", "none"
# Runs are hashed into so many buckets.
BUCKETS = 1 << 17
# From how many weights on a bucket is kept as lanes of 16 bits, and how many such buckets fit in their sum.
_FREQUENT, _SUMMED = 96, 256
_LANE = array("H").itemsize
# In place of a weight that was not looked up yet; weights are from -127 on.
_UNKNOWN = -128
# What is added to the score of a class that is likely.
_LIKELY = 0.7
# The greatest weight of 8 bits.
MOST = 127
# The longest run of characters that can be learned; longer ones are seen too seldom to tell anything.
LONGEST_RUN = 16


class Runs(NamedTuple):
    """How long the runs of characters are: of a text in hiragana, and of the text as it was written."""

    hiragana: tuple[int, ...] = (1, 2, 3, 4)
    written: tuple[int, ...] = ()

    def buckets(self, text: str) -> set[int]:
        """The buckets of every run of a normalised text, its ends marked."""
        found = _buckets(f"\n{in_hiragana(text)}\n", self.hiragana)
        return found | _buckets(f"\r{text}\r", self.written) if self.written else found


def _buckets(marked: str, sizes: Collection[int]) -> set[int]:
    signs = [sign.encode("utf-8", "surrogatepass") for sign in marked]
    found: set[int] = set()
    hashes: Iterable[int] = itertools.repeat(0)
    for size in range(1, max(sizes, default=0) + 1):
        # The hash of a run goes on from that of the run without its last sign.
        hashes = list(map(zlib.crc32, signs[size - 1 :], hashes))
        if size in sizes:
            found.update(map((BUCKETS - 1).__and__, hashes))
    return found


class Cells(NamedTuple):
    """The weights that are not zero, bucket by bucket: the number of the class (u16), the weight (i8)."""

    names: array[int]
    weights: array[int]


class Classifier:
    """A learned model. Scores are logarithms of odds: above 0, a class is more likely than not.

    `counts` has the numbers of cells of the buckets, in whose order `cells` are; their weights are rounded to
    `scale` / 127.
    `sure` is the score (`sure <class>` that of this class) and `lead` the distance to the second class
    that the best one needs to count as an intent, `clear` the score of one that no tone of the message
    can replace, and `contradicts` the distance to an intent that expressions found. Where there is a class `DANGER`, `danger` is its score
    from which she asks, `certain` that from which she asks without a cue and even if a veto holds,
    `plainly` that from which she asks whether the user thinks of dying, and not only whether something
    is hard; below `grave` and below `harmless` it contradicts what expressions find to be grave and
    doubtful.
    `examples` identifies the examples that it was learned from.
    """

    def __init__(
        self,
        classes: Sequence[str],
        bias: Sequence[float],
        scale: float,
        counts: array[int],
        cells: Cells,
        limits: Mapping[str, float],
        runs: Runs,
        examples: str = "",
    ) -> None:
        self.classes = tuple(classes)
        self.sure, self.lead, self.contradicts = (limits[name] for name in LIMITS)
        self.danger, self.certain, self.grave, self.harmless = (
            limits[name] if DANGER in classes else 0.0 for name in DANGER_LIMITS
        )
        self.clear = limits.get("clear", self.sure)
        self._sure = {name: limits.get(f"sure {name}", self.sure) for name in classes}
        self.plainly = limits.get("plainly", self.certain)
        self.examples = examples
        # Several steps of reading a message ask about the same text.
        self._cached = lru_cache(maxsize=8)(self._scored)
        self._buckets = lru_cache(maxsize=8)(runs.buckets)
        self._bias = tuple(bias)
        self._scale = scale
        # The cells of bucket b are those from starts[b] to starts[b + 1].
        code = "I" if len(cells.names) >> 16 else "H"
        starts = self._starts = array(code, itertools.accumulate(counts, initial=0))
        self._cells = cells
        # A bucket has at most one cell for each class.
        frequent = map(_FREQUENT.__le__, counts) if len(self.classes) >= _FREQUENT else ()
        self._frequent = {
            bucket: self._lanes(starts[bucket], starts[bucket + 1])
            for bucket in itertools.compress(itertools.count(), frequent)
        }
        self._danger = self.classes.index(DANGER) if DANGER in classes else None
        # The weights of `DANGER`, as far as they were asked for: to find all takes a tenth of the start.
        self._known = array("b", [_UNKNOWN]) * (BUCKETS if DANGER in classes else 0)

    def scores(self, text: str) -> list[float]:
        """The score of each class for a normalised text."""
        return list(self._cached(text))

    def _scored(self, text: str) -> list[float]:
        found = self._buckets(text)
        frequent = [self._frequent[bucket] for bucket in found if bucket in self._frequent]
        # Most weights are those of few buckets.
        totals = self._summed(frequent)
        starts, (names, weights) = self._starts, self._cells
        for bucket in found.difference(self._frequent):
            # Most buckets have no weight, and most others few.
            for cell in range(starts[bucket], starts[bucket + 1]):
                totals[names[cell]] += weights[cell]
        unit = self._unit(len(found))
        return [bias + unit * total for bias, total in zip(self._bias, totals, strict=True)]

    def _summed(self, frequent: Sequence[int]) -> list[int]:
        """The sum of the weights of frequent buckets for each class."""
        if len(frequent) > _SUMMED:
            parts = frequent[:_SUMMED], frequent[_SUMMED:]
            return [*map(operator.add, *map(self._summed, parts))]
        # One addition of long numbers for all classes.
        lanes = array("H", sum(frequent).to_bytes(_LANE * len(self.classes), sys.byteorder))
        shift = 128 * len(frequent)
        return [lane - shift for lane in lanes]

    def _unit(self, count: int) -> float:
        """What a weight counts in a text of so many buckets."""
        return self._scale / MOST / math.sqrt(max(1, count))

    def _lanes(self, start: int, end: int) -> int:
        """The weights of a bucket, each plus 128, as one number with a lane for each class."""
        lanes = array("H", [128]) * len(self.classes)
        names, weights = self._cells
        for name, weight in zip(names[start:end], weights[start:end], strict=True):
            lanes[name] += weight
        return int.from_bytes(lanes.tobytes(), sys.byteorder)

    def guess(self, text: str, intent: str | None = None) -> str | None:
        """The class of a normalised text; None if no class is sure, or `NONE` is the best.

        If expressions found an `intent`, only a class that contradicts it.
        """
        return (self.best(text, intent) or (None,))[0]

    def best(
        self, text: str, intent: str | None = None, likely: Container[str] = ()
    ) -> tuple[str, bool] | None:
        """The same, and whether the class is clear. Those that are `likely` need less."""
        scores = self.scores(text)
        if likely:
            pairs = zip(self.classes, scores, strict=True)
            scores = [score + _LIKELY * (name in likely) for name, score in pairs]
        best = max(scores)
        place = scores.index(best)
        second = max(itertools.chain(scores[:place], scores[place + 1 :]), default=-math.inf)
        name = self.classes[place]
        if name in (NONE, intent) or best < self._sure[name] or best - second < self.lead:
            return None
        if intent is not None:
            own = scores[self.classes.index(intent)] if intent in self.classes else 0.0
            if best - own < self.contradicts:
                return None
        return name, best >= self.clear

    @property
    def memory(self) -> int:
        """Bytes of the weights in memory."""
        parts = (self._starts, *self._cells, self._known)
        cells = sum(len(part) * part.itemsize for part in parts)
        return cells + _LANE * len(self.classes) * len(self._frequent)

    def danger_of(self, text: str) -> float:
        """The score of `DANGER` for a normalised text."""
        if self._danger is None:
            return 0.0
        # The sentences of long messages are read for it alone.
        found, known, total = self._buckets(text), self._known, 0
        for bucket in found:
            weight = known[bucket]
            if weight == _UNKNOWN:
                weight = known[bucket] = self._weight(bucket, self._danger)
            total += weight
        return self._bias[self._danger] + self._unit(len(found)) * total

    def _weight(self, bucket: int, number: int) -> int:
        """The weight of a bucket for a class; its cells are in the order of the classes' numbers."""
        start, end = self._starts[bucket], self._starts[bucket + 1]
        names, weights = self._cells
        cell = bisect.bisect_left(names, number, start, end)
        return weights[cell] if cell < end and names[cell] == number else 0


LIMITS = ("sure", "lead", "contradicts")
DANGER_LIMITS = ("danger", "certain", "grave", "harmless")


def packed(
    classes: Sequence[str],
    bias: Iterable[float],
    weights: Sequence[Mapping[int, float]],
    limits: Mapping[str, float],
    runs: Runs,
    examples: str,
) -> dict[str, Any]:
    """The content of `classifier.json` for `weights`, which has the buckets' weights for each class."""
    scale = max(abs(weight) for of in weights for weight in of.values())
    rows: list[list[tuple[int, int]]] = [[] for _ in range(BUCKETS)]
    for number, of in enumerate(weights):
        for bucket, weight in of.items():
            if rounded := round(weight / scale * MOST):
                rows[bucket].append((number, rounded))
    counts = array("H", map(len, rows))
    cells = [cell for row in rows for cell in row]
    parts = (counts, array("H", [name for name, _ in cells]), array("b", [w for _, w in cells]))
    return {
        "classes": list(classes),
        "limits": dict(limits),
        "runs": runs,
        "examples": examples,
        "scale": scale,
        "bias": [round(value, 3) for value in bias],
        "cells": base64.b64encode(zlib.compress(b"".join(map(_bytes, parts)), 9)).decode(),
    }


def load_classifier(folder: Path, name: str, intents: Collection[str]) -> Classifier | None:
    """What a file of a deck holds; None if there is no file. Raises DeckError."""
    if not (folder / name).exists():
        return None
    reader = Reader(folder, name)
    try:
        found = unpacked(reader.value)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise reader.fail("", f"is damaged ({error}): learn it again") from None
    if strange := set(found.classes) - {*intents, DANGER, NONE}:
        raise reader.fail("classes", f"there is no {min(strange)!r}: learn it again")
    return found


def unpacked(content: Mapping[str, Any]) -> Classifier:
    """The classifier of what `packed` made. Raises KeyError, TypeError, ValueError or zlib.error."""
    whole = zlib.decompress(base64.b64decode(content["cells"]))
    counts, rest = _array("H", whole, BUCKETS)
    number = sum(counts)
    names, rest = _array("H", rest, number)
    weights, rest = _array("b", rest, number)
    classes, bias = content["classes"], [float(value) for value in content["bias"]]
    if rest or len(weights) != number or len(bias) != len(classes):
        raise ValueError("its parts have not one size")
    if not all(isinstance(name, str) for name in classes) or max(names, default=0) >= len(classes):
        raise ValueError("its classes are no names, or too few")
    runs = Runs(*(tuple(int(length) for length in lengths) for lengths in content["runs"]))
    if not all(1 <= length <= LONGEST_RUN for lengths in runs for length in lengths):
        raise ValueError(f"a run has 1 to {LONGEST_RUN} characters")
    return Classifier(
        list(classes),
        bias,
        float(content["scale"]),
        counts,
        Cells(names, weights),
        {name: float(limit) for name, limit in dict(content["limits"]).items()},
        runs,
        str(content["examples"]),
    )


def _array(code: str, data: bytes, count: int) -> tuple[array[int], bytes]:
    """So many numbers from the start of `data`, little endian, and the bytes after them."""
    found = array(code)
    size = count * found.itemsize
    found.frombytes(data[:size])
    if sys.byteorder == "big":
        found.byteswap()
    return found, data[size:]


def _bytes(numbers: array[int]) -> bytes:
    """The numbers, little endian."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
