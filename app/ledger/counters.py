"""Counting over all workers.

Every worker counts in memory-mapped files of its own in one folder; whoever is asked for figures adds
them up. What is counted is in the file at once, so that it outlives a worker that is killed.
prometheus-client's multiprocess mode did this before and cost 5 µs an answer, a fifth of a hit; this
costs under 1. prometheus-client still writes `/metrics`.

Layout of a file (`<process>-<random>.counters`, of `_SIZE` bytes, native byte order): one series
after another, each

    u32 length of the name, u32 how many numbers, the name: a JSON list of a family and the values of
    its labels, padded with zeros to a multiple of 8; then the numbers, u64.

A length of 0 ends the file. A counter has one number. A histogram has one for each of `BUCKETS` and
one beyond (each the observations in just that bucket), then the sum in nanoseconds.
"""

from __future__ import annotations

import mmap
import os
import secrets
import shutil
import struct
import tempfile
import threading
import weakref
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from app.errors import SettingError
from app.ledger.journal import Journal, read_journal
from app.store.answer import WHOLE_TIERS

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Seconds, finely enough that a quantile between two of them means something: 1, 1.5, 2, 3, 5, 7.
BUCKETS = tuple(
    round(mantissa * 10.0**power, 9) for power in range(-6, 1) for mantissa in (1, 1.5, 2, 3, 5, 7)
)

# The journal of runs in the ledger's folder; no deck has a point in its name.
JOURNAL = "service.counters"
_SIZE = 1 << 16
ANSWER_LABELS = ("deck", "tier")
_HEAD = struct.Struct("=II")
_ENDING = ".counters"

# A family and the values of its labels, and its numbers.
Sums = dict[tuple[str, ...], list[int]]


class TierFigures(NamedTuple):
    """What one tier gave: answers, and the latency of half and of 99 in 100 of them, in seconds."""

    answers: int
    p50: float
    p99: float


def prepare_folder() -> str:
    """The folder for counters, made for this process and its children where none is named."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        folder = tempfile.mkdtemp(prefix="tsukurioki-counters-")
        os.environ[FOLDER_VARIABLE] = folder
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fault = f"a folder that can be written ({error.strerror})"
        raise SettingError(FOLDER_VARIABLE, folder, fault) from None
    return folder


@contextmanager
def counters_folder() -> Iterator[None]:
    """Counters in a folder that goes at the end, unless the environment names one to keep."""
    if os.environ.get(FOLDER_VARIABLE):
        yield
        return
    folder = prepare_folder()
    try:
        yield
    finally:
        del os.environ[FOLDER_VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


class CounterFiles:
    """A worker's files: gives room for numbers under a name. A second file where one is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._new_file()

    def _new_file(self) -> None:
        path = self._folder / f"{os.getpid()}-{secrets.token_hex(4)}{_ENDING}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            # Given its blocks now: on a disk that is full a page written later would kill us.
            os.posix_fallocate(descriptor, 0, _SIZE)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._end = 0

    def room(self, name: tuple[str, ...], count: int) -> memoryview[int]:
        """Numbers from 0 under a name. On a full disk they are this process's own, and lost."""
        text = orjson.dumps(name)
        text += bytes(-len(text) % 8)
        start = self._end + _HEAD.size + len(text)
        if start + 8 * count + _HEAD.size > _SIZE and self._end:
            try:
                self._new_file()
            except OSError:
                return memoryview(bytearray(8 * count)).cast("Q")
            return self.room(name, count)
        self._map[self._end + _HEAD.size : start] = text
        # The length last: a reader sees a whole series or none.
        _HEAD.pack_into(self._map, self._end, len(text), count)
        self._end = start + 8 * count
        return memoryview(self._map)[start : self._end].cast("Q")


def read_sums(folder: Path) -> Sums:
    """The numbers of every worker that counted or counts in a folder, added up by name."""
    sums: Sums = {}
    for path in sorted(folder.glob(f"*{_ENDING}")):
        for name, numbers in _series(path.read_bytes()):
            add_to(sums, name, numbers)
    return sums


def add_to(sums: Sums, name: tuple[str, ...], numbers: Sequence[int]) -> None:
    """Add numbers to those of the same name."""
    old = sums.get(name, [0] * len(numbers))
    sums[name] = [a + b for a, b in zip(old, numbers, strict=True)]


def _series(data: bytes) -> Iterator[tuple[tuple[str, ...], Sequence[int]]]:
    at = 0
    while at + _HEAD.size <= len(data):
        length, count = _HEAD.unpack_from(data, at)
        if not length:
            return
        start = at + _HEAD.size + length
        at = start + 8 * count
        name = tuple(orjson.loads(data[start - length : start].rstrip(b"\0")))
        yield name, memoryview(data)[start:at].cast("Q")


class Counter:
    """A family of counters, one for each combination of its labels' values."""

    size = 1

    def __init__(self, owner: Counters, name: str, meaning: str, labels: Sequence[str]) -> None:
        self._owner = owner
        self.name = name
        self.meaning = meaning
        self.labels = tuple(labels)
        self._numbers: dict[tuple[str, ...], memoryview[int]] = {}

    def forget(self) -> None:
        """Count in files of this process from now on."""
        self._numbers.clear()

    def _of(self, values: tuple[str, ...]) -> memoryview[int]:
        # Only under the lock: two threads that see a series first would make it twice.
        numbers = self._numbers.get(values)
        if numbers is None:
            numbers = self._owner.files.room((self.name, *values), self.size)
            self._numbers[values] = numbers
        return numbers

    def inc(self, *values: str) -> None:
        """One more."""
        with self._owner.lock:
            (self._numbers.get(values) or self._of(values))[0] += 1


class Histogram(Counter):
    """A family of histograms over `BUCKETS`."""

    size = len(BUCKETS) + 2

    def observe(self, seconds: float, *values: str) -> None:
        """One more, of so many seconds."""
        with self._owner.lock:
            numbers = self._numbers.get(values) or self._of(values)
            numbers[bisect_left(BUCKETS, seconds)] += 1
            numbers[-1] += int(seconds * 1e9)


class Counters:
    """The counters of one worker, and the sums over all. Others add families with `counter`."""

    def __init__(self) -> None:
        self._folder = Path(prepare_folder())
        self.lock = threading.Lock()
        self._families: dict[str, Counter] = {}
        self._open()
        self._latency = Histogram(
            self, "tsukurioki_answer_seconds", "Time to an answer, by deck and tier", ANSWER_LABELS
        )
        self._families[self._latency.name] = self._latency
        self._refused = self.counter(
            "tsukurioki_refused_requests", "Requests refused with a 4xx, by status", ("status",)
        )
        self._fetched = self.counter(
            "tsukurioki_fetched_answers", "Stored answers fetched by their key, by deck", ("deck",)
        )
        self._passed = self.counter(
            "tsukurioki_chat_passed",
            "Times that a chat tier passed, by what stopped it (guard, fault, gate) and the reason",
            ("deck", "tier", "why", "reason"),
        )
        _forking.add(self)

    def _open(self) -> None:
        try:
            self.files = CounterFiles(self._folder)
        except OSError as error:
            fault = f"a folder that can be written ({error.strerror})"
            raise SettingError(FOLDER_VARIABLE, str(self._folder), fault) from None

    def after_fork(self) -> None:
        """In a child: count in files of its own, for two processes would overwrite each other."""
        self.lock = threading.Lock()
        self._open()
        for family in self._families.values():
            family.forget()

    def counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        """A family of counters by its name (without `_total`), made where it is not there yet."""
        if name not in self._families:
            self._families[name] = Counter(self, name, meaning, labels)
        return self._families[name]

    def answered(self, deck: str, tier: str, seconds: float) -> None:
        """Count an answer."""
        self._latency.observe(seconds, deck, tier)

    def passed(self, deck: str, tier: str, why: str, reason: str) -> None:
        """Count that a tier of a chat had no answer to give."""
        self._passed.inc(deck, tier, why, reason)

    def refused(self, status: int) -> None:
        """Count a refused request."""
        self._refused.inc(str(status))

    def fetched(self, deck: str) -> None:
        """Count a stored answer that was fetched by its key."""
        self._fetched.inc(deck)

    def sums(self) -> Sums:
        """The sums over all workers."""
        return read_sums(self._folder)

    def exposition(self) -> bytes:
        """All counters in Prometheus's text format."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self._collector())
        return generate_latest(registry)

    def _collector(self) -> Collector:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
        from prometheus_client.registry import Collector

        sums, families = self.sums(), self._families

        class Summed(Collector):
            def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
                for name, family in families.items():
                    found = {n[1:]: numbers for n, numbers in sums.items() if n[0] == name}
                    if isinstance(family, Histogram):
                        told = HistogramMetricFamily(name, family.meaning, labels=family.labels)
                        for values, numbers in found.items():
                            edges = [(str(e), c) for e, c in cumulative(numbers).items()]
                            edges[-1] = ("+Inf", edges[-1][1])
                            told.add_metric(values, edges, numbers[-1] / 1e9)
                        yield told
                    else:
                        counted = CounterMetricFamily(name, family.meaning, labels=family.labels)
                        for values, numbers in found.items():
                            counted.add_metric(values, numbers[0])
                        yield counted

        return Summed()

    def by_tier(self, deck: str) -> dict[str, TierFigures]:
        """Answers and latency by tier, over all workers since the start."""
        return tier_figures(self.sums(), deck)

    def passes(self, deck: str) -> dict[str, dict[str, dict[str, int]]]:
        """Why tiers of a chat passed: tier → guard, fault or gate → reason → times."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for name, numbers in self.sums().items():
            if name[:2] == ("tsukurioki_chat_passed", deck):
                _, _, tier, why, reason = name
                found.setdefault(tier, {}).setdefault(why, {})[reason] = numbers[0]
        return found

    def refusals(self) -> dict[str, int]:
        """Refused requests by status."""
        return refusals(self.sums())


_forking: weakref.WeakSet[Counters] = weakref.WeakSet()


def _after_fork() -> None:
    for counters in _forking:
        counters.after_fork()


os.register_at_fork(after_in_child=_after_fork)


def tier_figures(sums: Sums, deck: str) -> dict[str, TierFigures]:
    """Answers and latency by tier of one deck."""
    return {
        name[2]: _figures(cumulative(numbers))
        for name, numbers in sums.items()
        if name[:2] == ("tsukurioki_answer_seconds", deck)
    }


def seen(figures: Mapping[str, TierFigures]) -> dict[str, Any]:
    """Answers as `/stats` tells them: in all, how many were whole entries, and by tier."""
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
    return {
        name[1]: numbers[0]
        for name, numbers in sums.items()
        if name[0] == "tsukurioki_refused_requests"
    }


def keep_sums(ledger: Path, limit: int, before: Sums, started: str, ended: str) -> None:
    """Note in the ledger's folder what was counted since `before`, once the workers have ended.

    So that the counts of several machines, or of several runs, can be put together. What the run
    before has counted in a folder that is kept is in that run's line.
    """
    sums = read_sums(Path(prepare_folder()))
    for name, numbers in before.items():
        add_to(sums, name, [-number for number in numbers])
    line = {
        "started": started,
        "ended": ended,
        "edges": list(BUCKETS),
        "sums": [[list(name), numbers] for name, numbers in sorted(sums.items()) if any(numbers)],
    }
    Journal(ledger, JOURNAL, limit).append(line)


def kept_sums(ledger: Path) -> Sums:
    """The counts of every run that has ended, by a machine's ledger folder."""
    sums: Sums = {}
    for line in read_journal(ledger, JOURNAL):
        # With other buckets, as another version may have, histograms cannot be added up.
        if line.get("edges") == list(BUCKETS):
            for name, numbers in line["sums"]:
                add_to(sums, tuple(name), numbers)
    return sums


def cumulative(numbers: Sequence[int]) -> dict[float, float]:
    """A histogram's numbers as Prometheus tells them: how many were at most so many seconds."""
    return dict(zip((*BUCKETS, float("inf")), accumulate(numbers[:-1]), strict=True))


def _figures(counts: Mapping[float, float]) -> TierFigures:
    edges = sorted(counts)
    total = counts[edges[-1]] if edges else 0.0
    return TierFigures(int(total), _quantile(counts, edges, 0.5), _quantile(counts, edges, 0.99))


def _quantile(counts: Mapping[float, float], edges: list[float], share: float) -> float:
    """A quantile by interpolation within its bucket, as Prometheus's histogram_quantile does."""
    total = counts[edges[-1]] if edges else 0.0
    if total == 0:
        return 0.0
    wanted = share * total
    below, start = 0.0, 0.0
    for edge in edges:
        if counts[edge] >= wanted:
            if edge == float("inf"):
                return start
            part = (wanted - below) / (counts[edge] - below)
            return start + (edge - start) * part
        below, start = counts[edge], edge
    return start
