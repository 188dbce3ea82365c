"""What a message probably means: a linear model over runs of characters, learned from examples.

`python -m precompute.learn.classifier` learns it and writes a deck's `classifier.json`. For each class
(an intent, `DANGER`, `NONE`) it is a logistic regression over the sets of runs of 1 to 4 characters,
the usual baseline for short texts (Wang and Manning, Baselines and Bigrams, 2012). Runs are hashed
into buckets (Weinberger et al., Feature Hashing, 2009), so that no text of the examples is kept, and
weights have 8 bits: two bytes for each weight in place of a dictionary of texts.
"""

from __future__ import annotations

import base64
import itertools
import math
import zlib
from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.kinds.chat.message import in_hiragana
from app.kinds.reading import Reader

CLASSIFIER_FILE = "classifier.json"
# The classes beside intents: somebody may be in danger; nothing that a line answers.
DANGER, NONE = "danger", "none"
# Runs are hashed into so many buckets.
BUCKETS = 1 << 16
_RUNS = (1, 2, 3, 4)
# The greatest weight of 8 bits.
MOST = 127


class Classifier:
    """A learned model. Scores are logarithms of odds: above 0, a class is more likely than not.

    `weights` has, for each class, the weights of its buckets; those are rounded to `scale` / 127.
    `sure` is the score and `lead` the distance to the second class that the best one needs to count as
    an intent. Against one that expressions found it needs `contradicts`, and that one must score less
    than minus as much. `danger` is the score of `DANGER` from which she asks, `certain` that from
    which she asks even if a veto holds; below `grave` and below `harmless` it contradicts what
    expressions find to be grave and doubtful.
    `examples` identifies the examples that it was learned from.
    """

    def __init__(
        self,
        classes: Sequence[str],
        bias: Sequence[float],
        scale: float,
        starts: array[int],
        cells: bytes,
        limits: Mapping[str, float],
        examples: str = "",
    ) -> None:
        self.classes = tuple(classes)
        self.sure, self.lead, self.contradicts = (limits[name] for name in LIMITS[:3])
        self.danger, self.certain, self.grave, self.harmless = (limits[name] for name in LIMITS[3:])
        self.examples = examples
        self._bias = tuple(bias)
        self._scale = scale
        # The cells of bucket b are the pairs of bytes (class, weight + 128) from starts[b] to starts[b + 1].
        self._starts = starts
        self._cells = cells

    def scores(self, text: str) -> list[float]:
        """The score of each class for a normalised text."""
        found = buckets(text)
        totals = [0] * len(self.classes)
        starts, cells = self._starts, self._cells
        for bucket in found:
            row = cells[2 * starts[bucket] : 2 * starts[bucket + 1]]
            for name, weight in zip(row[::2], row[1::2], strict=True):
                totals[name] += weight - 128
        unit = self._scale / MOST / math.sqrt(max(1, len(found)))
        return [bias + unit * total for bias, total in zip(self._bias, totals, strict=True)]

    def guess(self, text: str, intent: str | None = None) -> str | None:
        """The class of a normalised text; None if no class is sure, or `NONE` is the best.

        If expressions found an `intent`, only a class that contradicts it.
        """
        scores = self.scores(text)
        second, best = sorted(scores)[-2:]
        name = self.classes[scores.index(best)]
        if name in (NONE, intent) or best < self.sure or best - second < self.lead:
            return None
        if intent is not None:
            own = scores[self.classes.index(intent)] if intent in self.classes else 0.0
            if best < self.contradicts or own > -self.contradicts:
                return None
        return name

    @property
    def memory(self) -> int:
        """Bytes of the weights in memory."""
        return len(self._starts) * self._starts.itemsize + len(self._cells)

    def danger_of(self, text: str) -> float:
        """The score of `DANGER` for a normalised text."""
        if DANGER not in self.classes:
            return 0.0
        return self.scores(text)[self.classes.index(DANGER)]


LIMITS = ("sure", "lead", "contradicts", "danger", "certain", "grave", "harmless")


def buckets(text: str) -> set[int]:
    """The buckets of every run of 1 to 4 characters of a normalised text, its ends marked, in hiragana."""
    marked = f"\n{in_hiragana(text)}\n"
    return {
        zlib.crc32(marked[start : start + size].encode("utf-8", "surrogatepass")) % BUCKETS
        for size in _RUNS
        for start in range(len(marked) - size + 1)
    }


def packed(
    classes: Sequence[str],
    bias: Iterable[float],
    weights: Sequence[Mapping[int, float]],
    limits: Mapping[str, float],
    examples: str,
) -> dict[str, Any]:
    """The content of `classifier.json` for `weights`, which has the buckets' weights for each class."""
    scale = max(abs(weight) for of in weights for weight in of.values())
    rows: dict[int, bytearray] = {}
    for number, of in enumerate(weights):
        for bucket, weight in of.items():
            if rounded := round(weight / scale * MOST):
                rows.setdefault(bucket, bytearray()).extend((number, rounded + 128))
    counts = bytes(len(rows.get(bucket, b"")) // 2 for bucket in range(BUCKETS))
    cells = b"".join(bytes(rows[bucket]) for bucket in sorted(rows))
    return {
        "classes": list(classes),
        "limits": dict(limits),
        "examples": examples,
        "scale": scale,
        "bias": [round(value, 3) for value in bias],
        "cells": base64.b64encode(zlib.compress(counts + cells, 9)).decode(),
    }


def load_classifier(folder: Path, intents: Collection[str]) -> Classifier | None:
    """What a deck's `classifier.json` holds; None if it has none. Raises DeckError."""
    if not (folder / CLASSIFIER_FILE).exists():
        return None
    reader = Reader(folder, CLASSIFIER_FILE)
    try:
        found = unpacked(reader.value)
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise reader.fail("", f"is damaged ({error}): learn it again") from None
    if strange := set(found.classes) - {*intents, DANGER, NONE}:
        raise reader.fail("classes", f"there is no intent {min(strange)!r}: learn it again")
    return found


def unpacked(content: Mapping[str, Any]) -> Classifier:
    """The classifier of what `packed` made. Raises KeyError, TypeError, ValueError or zlib.error."""
    whole = zlib.decompress(base64.b64decode(content["cells"]))
    counts, cells = whole[:BUCKETS], whole[BUCKETS:]
    starts = array("I", [0, *itertools.accumulate(counts)])
    if 2 * starts[-1] != len(cells) or len(content["bias"]) != len(content["classes"]):
        raise ValueError("its parts have not one size")
    return Classifier(
        content["classes"],
        content["bias"],
        float(content["scale"]),
        starts,
        cells,
        content["limits"],
        content["examples"],
    )
