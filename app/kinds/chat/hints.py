"""Hints of danger in messages that no expression knows: a linear model over runs of characters.

It is learned from written examples by `python -m precompute.learn.hints` and only ever makes her ask;
an intent's vetoes hold against it. Logistic regression over the sets of runs of 1 to 4 characters,
which is the usual baseline for short texts (Wang and Manning, Baselines and Bigrams, 2012).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from app.kinds.chat.message import normalise
from app.kinds.reading import Reader

HINTS_FILE = "hints.json"
# Longer messages are stories, which the model has not seen; expressions read them.
LONGEST = 80
_RUNS = (1, 2, 3, 4)
_ROUNDS, _RATE, _DECAY, _SLOWER = 25, 0.3, 2e-5, 0.1


class Hints(NamedTuple):
    """A learned model. A message with a score over `threshold` may be about danger."""

    threshold: float
    bias: float
    weights: Mapping[str, float]

    def score(self, message: str) -> float:
        """How much a message sounds like the dangerous examples; 0 is as much as like the others."""
        found = runs(message)
        total = sum(self.weights.get(run, 0.0) for run in found)
        return self.bias + total / math.sqrt(max(1, len(found)))

    def found(self, message: str) -> bool:
        """Whether a message may be about danger."""
        return len(message) <= LONGEST and self.score(message) > self.threshold


def runs(message: str) -> set[str]:
    """Every run of 1 to 4 characters of a message, its ends marked."""
    text = f"\n{normalise(message)}\n"
    return {text[i : i + size] for size in _RUNS for i in range(len(text) - size + 1)}


def trained(dangerous: Iterable[str], others: Iterable[str], threshold: float) -> Hints:
    """A model of examples, by stochastic gradient descent; the same examples give the same model."""
    examples = [(sorted(runs(text)), 1) for text in dangerous]
    examples += [(sorted(runs(text)), 0) for text in others]
    order = random.Random(1)
    weights: dict[str, float] = {}
    bias = 0.0
    for number in range(_ROUNDS):
        order.shuffle(examples)
        rate = _RATE / (1 + number * _SLOWER)
        for found, wanted in examples:
            norm = 1 / math.sqrt(len(found))
            score = bias + norm * sum(weights.get(run, 0.0) for run in found)
            error = rate * (wanted - 1 / (1 + math.exp(-score)))
            bias += error * 0.05
            for run in found:
                weights[run] = weights.get(run, 0.0) * (1 - _DECAY) + error * norm
    kept = {run: round(weight, 2) for run, weight in weights.items() if abs(weight) >= 0.05}
    return Hints(threshold, round(bias, 3), dict(sorted(kept.items())))


def load_hints(folder: Path) -> Hints | None:
    """What a deck's `hints.json` holds; None if it has none. Raises DeckError."""
    if not (folder / HINTS_FILE).exists():
        return None
    reader = Reader(folder, HINTS_FILE)
    root = reader.value
    threshold, bias = (reader.member(root, name, float, "") for name in ("threshold", "bias"))
    return Hints(threshold, bias, reader.member(root, "weights", dict, ""))
