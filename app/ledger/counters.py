"""Counters over all workers.

A worker counts in memory, which takes less than a microsecond, and adds its new counts to the
shared state once a second: a worker that is killed loses the counts of a second at most. A worker
that is asked for figures adds its own counts first, then reads the sums. Each run of a server keeps
sums of its own, so that the figures of several runs, and of several machines, can be added up.

A counter is one number. A histogram is a number of observations for each of `BUCKETS` (not
cumulative) and for all larger ones, then the sum of the observations in nanoseconds.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.ledger.state import NAME, State, add_to
from app.store.answer import WHOLE_TIERS

# Upper bounds in seconds, close enough to interpolate quantiles: 1, 1.5, 2, 3, 5, 7 in each decade.
BUCKETS = tuple(
    round(mantissa * 10.0**power, 9) for power in range(-6, 1) for mantissa in (1, 1.5, 2, 3, 5, 7)
)
ANSWER_LABELS = ("deck", "tier")
_LATENCY, _PASSED = "tsukurioki_answer_seconds", "tsukurioki_passed"
_REFUSED, _FETCHED = "tsukurioki_refused_requests", "tsukurioki_fetched_answers"
# The number of labels and of numbers of each family; other families have one number.
_SHAPES = {
    _LATENCY: (2, len(BUCKETS) + 2),
    _REFUSED: (1, 1),
    _FETCHED: (1, 1),
    _PASSED: (4, 1),
}
# Seconds between two additions of a worker's counts to the sums.
FLUSH_EVERY = 1.0
# The prefix of a run's name in the shared state; to be changed whenever BUCKETS change.
_RUN = "counters-1 "

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

# Numbers by family name followed by the values of its labels.
Sums = dict[tuple[str, ...], list[int]]


class TierFigures(NamedTuple):
    """The number of answers that a tier gave, and the 50th and 99th percentile of seconds taken."""

    answers: int
    p50: float
    p99: float


class Counter:
    """A family of counters, one for each combination of its labels' values."""

    size = 1

    def __init__(self, owner: Counters, name: str, meaning: str, labels: Sequence[str]) -> None:
        self._owner = owner
        self.name = name
        self.meaning = meaning
        self.labels = tuple(labels)

    @property
    def exposed(self) -> str:
        """The family's name for Prometheus."""
        return f"{self.name}_total"

    def samples(self, values: Sequence[str], numbers: Sequence[int]) -> Iterator[str]:
        """What Prometheus reads of the counts under some values of the labels."""
        yield _sample(self.exposed, self.labels, values, numbers[0])

    def inc(self, *values: str) -> None:
        """Add one under the values of the labels."""
        with self._owner.lock:
            self._owner.numbers(self.name, values, self.size)[0] += 1


class Histogram(Counter):
    """A family of histograms over `BUCKETS`."""

    size = len(BUCKETS) + 2

    @property
    def exposed(self) -> str:
        return self.name

    def samples(self, values: Sequence[str], numbers: Sequence[int]) -> Iterator[str]:
        labels = (*self.labels, "le")
        for edge, count in cumulative(numbers).items():
            bound = "+Inf" if edge == math.inf else str(edge)
            yield _sample(f"{self.name}_bucket", labels, (*values, bound), count)
        yield _sample(f"{self.name}_count", self.labels, values, sum(numbers[:-1]))
        yield _sample(f"{self.name}_sum", self.labels, values, numbers[-1] / 1e9)

    def observe(self, seconds: float, *values: str) -> None:
        """Add an observation in seconds under the values of the labels."""
        place, nano = bisect_left(BUCKETS, seconds), int(seconds * 1e9)
        owner = self._owner
        with owner.lock:
            numbers = owner.new.get((self.name, *values)) or owner.numbers(
                self.name, values, self.size
            )
            numbers[place] += 1
            numbers[-1] += nano


class Counters:
    """The counters of one worker, and the sums over all workers of the same `run`.

    `counter` adds further families. `clock` gives seconds.
    """

    def __init__(self, state: State, run: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._clock = clock
        self._flush_at = 0.0
        self._space = _RUN + run
        self.lock = threading.Lock()
        # Counts that are not yet added to the shared state; read and changed under the lock.
        self.new: Sums = {}
        self._flushing = threading.Lock()
        self._families: dict[str, Counter] = {}
        self._latency = Histogram(
            self, _LATENCY, "Time to an answer, by deck and tier", ANSWER_LABELS
        )
        self._families[self._latency.name] = self._latency
        self._refused = self.counter(
            _REFUSED, "Requests refused with a 4xx, by status", ("status",)
        )
        self._fetched = self.counter(
            _FETCHED, "Stored answers fetched by their key, by deck", ("deck",)
        )
        self._passed = self.counter(
            _PASSED,
            "Times that a tier passed, by what stopped it (guard, fault, gate) and the reason",
            ("deck", "tier", "why", "reason"),
        )
        _forking.add(self)

    def numbers(self, name: str, values: tuple[str, ...], size: int) -> list[int]:
        """The counts not yet added to the shared state; the caller must hold the lock."""
        key = (name, *values)
        numbers = self.new.get(key)
        if numbers is None:
            numbers = self.new[key] = [0] * size
        return numbers

    def forget(self) -> None:
        """Drop all counts in a forked child: the parent adds what was counted before the fork."""
        self.lock, self._flushing = threading.Lock(), threading.Lock()
        self.new = {}

    def flush(self) -> None:
        """Add new counts to the sums of all workers."""
        with self._flushing:
            with self.lock:
                new, self.new = self.new, {}
            if new:
                named = {orjson.dumps(name).decode(): numbers for name, numbers in new.items()}
                self._state.add_sums(self._space, named)

    def flush_due(self) -> None:
        """Flush unless this method did so within the last second."""
        now = self._clock()
        if now >= self._flush_at:
            self._flush_at = now + FLUSH_EVERY
            self.flush()

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """The family of counters with this name (without `_total`); made if there is none."""
        if name not in self._families:
            self._families[name] = Counter(self, name, meaning, labels)
        return self._families[name]

    def answered(self, deck: str, tier: str, seconds: float) -> None:
        """Count an answer of a tier and the seconds that it took."""
        self._latency.observe(seconds, deck, tier)

    def passed(self, deck: str, tier: str, why: str, reason: str) -> None:
        """Count that a model's tier gave no answer: why (guard, fault or gate), and the reason."""
        self._passed.inc(deck, tier, why, reason)

    def refused(self, status: int) -> None:
        self._refused.inc(str(status))

    def fetched(self, deck: str) -> None:
        """Count a stored answer that was fetched by its key."""
        self._fetched.inc(deck)

    def sums(self) -> Sums:
        """The sums over all workers of this run, this one's new counts included."""
        self.flush()
        return _sums(self._state, self._space)

    def exposition(self) -> str:
        """All counters in Prometheus's text format.

        https://prometheus.io/docs/instrumenting/exposition_formats/
        """
        sums = self.sums()
        lines: list[str] = []
        for name, family in self._families.items():
            rows = ((of[1:], numbers) for of, numbers in sums.items() if of[0] == name)
            kind = "histogram" if isinstance(family, Histogram) else "counter"
            lines += [
                f"# HELP {family.exposed} {family.meaning}",
                f"# TYPE {family.exposed} {kind}",
            ]
            lines += itertools.chain.from_iterable(itertools.starmap(family.samples, rows))
        return "\n".join([*lines, ""])

    def by_tier(self, deck: str) -> dict[str, TierFigures]:
        """Answers and latency by tier, over all workers of this run."""
        return tier_figures(self.sums(), deck)

    def passes(self, deck: str) -> dict[str, dict[str, dict[str, int]]]:
        """How often tiers gave no answer: tier → guard, fault or gate → reason → times."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for name, numbers in self.sums().items():
            if name[:2] == (_PASSED, deck):
                _, _, tier, why, reason = name
                found.setdefault(tier, {}).setdefault(why, {})[reason] = numbers[0]
        return found

    def refusals(self) -> dict[str, int]:
        """Refused requests by status."""
        return refusals(self.sums())


def _sample(name: str, labels: Sequence[str], values: Sequence[str], number: float) -> str:
    pairs = zip(labels, (value.translate(_ESCAPED) for value in values), strict=True)
    named = ",".join(f'{label}="{value}"' for label, value in pairs)
    return f"{name}{{{named}}} {float(number)}"


_forking: weakref.WeakSet[Counters] = weakref.WeakSet()


def _after_fork() -> None:
    for counters in _forking:
        counters.forget()


os.register_at_fork(after_in_child=_after_fork)


def _sums(state: State, space: str) -> Sums:
    sums = state.sums(space, _name)
    return {_name(name, numbers): numbers for name, numbers in sums.items()}


def _name(name: str, numbers: list[int]) -> tuple[str, ...]:
    """Parse a stored family name and its labels' values. Raises ValueError if they do not fit."""
    parts = tuple(map(str, orjson.loads(name)))
    labels, size = _SHAPES.get(parts[0], (len(parts) - 1, 1))
    if (len(parts) - 1, len(numbers)) != (labels, size):
        raise ValueError(f"{name}: has {len(parts) - 1} labels and {len(numbers)} numbers")
    return parts


def kept_sums(ledger: Path, now: Callable[[], float]) -> Sums:
    """The counts of all runs together, from a machine's ledger folder."""
    # State would make its file in a folder that has none.
    state = State(ledger if (ledger / NAME).exists() else None, now)
    total: Sums = {}
    for space in state.spaces(_RUN):
        for name, numbers in _sums(state, space).items():
            add_to(total, name, numbers)
    state.close()
    return total


def tier_figures(sums: Sums, deck: str) -> dict[str, TierFigures]:
    """Answers and latency by tier of one deck."""
    found = {
        name[2]: cumulative(numbers)
        for name, numbers in sums.items()
        if name[:2] == (_LATENCY, deck)
    }
    return {
        tier: TierFigures(counts[math.inf], _quantile(counts, 0.5), _quantile(counts, 0.99))
        for tier, counts in found.items()
    }


def answer_summary(figures: Mapping[str, TierFigures]) -> dict[str, Any]:
    """Answers as in `/stats`: in total, those that were whole stored entries, and by tier."""
    total = sum(tier.answers for tier in figures.values())
    whole = sum(tier.answers for name, tier in figures.items() if name in WHOLE_TIERS)
    return {
        "total": total,
        "whole": whole,
        "hit_rate": whole / total if total else None,
        "by_tier": {
            name: {
                "answers": tier.answers,
                "share": tier.answers / total if total else 0.0,
                "p50_us": round(tier.p50 * 1e6, 1),
                "p99_us": round(tier.p99 * 1e6, 1),
            }
            for name, tier in sorted(figures.items())
        },
    }


def refusals(sums: Sums) -> dict[str, int]:
    """Refused requests by status."""
    return {name[1]: numbers[0] for name, numbers in sums.items() if name[0] == _REFUSED}


def cumulative(numbers: Sequence[int]) -> dict[float, int]:
    """Observations up to each bound in seconds, as in Prometheus, from a histogram's numbers."""
    return dict(zip((*BUCKETS, math.inf), itertools.accumulate(numbers[:-1]), strict=True))


def _quantile(counts: Mapping[float, int], share: float) -> float:
    """A quantile by interpolation within its bucket, as Prometheus's histogram_quantile does."""
    wanted = share * counts[math.inf]
    below, start = 0, 0.0
    for edge, count in counts.items():
        if edge == math.inf:
            break
        if wanted and count >= wanted:
            return start + (edge - start) * (wanted - below) / (count - below)
        below, start = count, edge
    return start if wanted else 0.0
