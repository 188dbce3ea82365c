"""Counting over all workers, with prometheus-client's multiprocess mode.

Every worker counts in memory-mapped files of its own in one folder; whoever is asked for figures
adds them up. prometheus-client looks for the folder in the environment when it is imported, which
is why it is imported here and not at the top.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import SettingError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
# Seconds, finely enough that a quantile between two of them means something: 1, 1.5, 2, 3, 5, 7.
BUCKETS = tuple(
    round(mantissa * 10.0**power, 9) for power in range(-6, 1) for mantissa in (1, 1.5, 2, 3, 5, 7)
)


@dataclass(frozen=True, slots=True)
class TierFigures:
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
        shutil.rmtree(folder, ignore_errors=True)


class Counters:
    """The counters of one worker, and the sums over all."""

    def __init__(self) -> None:
        self._folder = prepare_folder()
        import prometheus_client as prometheus
        from prometheus_client import multiprocess

        self._prometheus = prometheus
        self._multiprocess = multiprocess
        # A registry of its own: two applications in one process do not count for each other twice.
        registry = prometheus.CollectorRegistry()
        self._latency = prometheus.Histogram(
            "tsukurioki_answer_seconds",
            "Time to an answer, by deck and tier",
            ["deck", "tier"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._passed = prometheus.Counter(
            "tsukurioki_chat_passed",
            "Times that a chat tier passed, by what stopped it (guard, fault, gate) and the reason",
            ["deck", "tier", "why", "reason"],
            registry=registry,
        )
        self._refused = prometheus.Counter(
            "tsukurioki_refused_requests",
            "Requests refused with a 4xx, by status",
            ["status"],
            registry=registry,
        )

    def answered(self, deck: str, tier: str, seconds: float) -> None:
        """Count an answer."""
        self._latency.labels(deck, tier).observe(seconds)

    def passed(self, deck: str, tier: str, why: str, reason: str) -> None:
        """Count that a tier of a chat had no answer to give."""
        self._passed.labels(deck, tier, why, reason).inc()

    def refused(self, status: int) -> None:
        """Count a refused request."""
        self._refused.labels(str(status)).inc()

    def _summed(self) -> CollectorRegistry:
        registry = self._prometheus.CollectorRegistry()
        self._multiprocess.MultiProcessCollector(registry, path=self._folder)  # type: ignore[no-untyped-call]
        return registry

    def exposition(self) -> bytes:
        """All counters in Prometheus's text format."""
        return self._prometheus.generate_latest(self._summed())

    def by_tier(self, deck: str) -> dict[str, TierFigures]:
        """Answers and latency by tier, over all workers since the start."""
        buckets: dict[str, dict[float, float]] = {}
        for family in self._summed().collect():
            if family.name != "tsukurioki_answer_seconds":
                continue
            for sample in family.samples:
                if sample.name.endswith("_bucket") and sample.labels["deck"] == deck:
                    tier = buckets.setdefault(sample.labels["tier"], {})
                    tier[float(sample.labels["le"])] = sample.value
        return {tier: _figures(counts) for tier, counts in buckets.items()}

    def passes(self, deck: str) -> dict[str, dict[str, dict[str, int]]]:
        """Why tiers of a chat passed: tier → guard, fault or gate → reason → times."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for family in self._summed().collect():
            for sample in family.samples:
                if sample.name == "tsukurioki_chat_passed_total" and sample.labels["deck"] == deck:
                    why = found.setdefault(sample.labels["tier"], {}).setdefault(
                        sample.labels["why"], {}
                    )
                    why[sample.labels["reason"]] = int(sample.value)
        return found

    def refusals(self) -> dict[str, int]:
        """Refused requests by status."""
        return {
            sample.labels["status"]: int(sample.value)
            for family in self._summed().collect()
            if family.name == "tsukurioki_refused_requests"
            for sample in family.samples
            if sample.name.endswith("_total")
        }


def _figures(cumulative: Mapping[float, float]) -> TierFigures:
    edges = sorted(cumulative)
    total = cumulative[edges[-1]] if edges else 0.0
    return TierFigures(
        int(total), _quantile(cumulative, edges, 0.5), _quantile(cumulative, edges, 0.99)
    )


def _quantile(cumulative: Mapping[float, float], edges: list[float], share: float) -> float:
    """A quantile by interpolation within its bucket, as Prometheus's histogram_quantile does."""
    total = cumulative[edges[-1]] if edges else 0.0
    if total == 0:
        return 0.0
    wanted = share * total
    below, start = 0.0, 0.0
    for edge in edges:
        if cumulative[edge] >= wanted:
            if edge == float("inf"):
                return start
            part = (wanted - below) / (cumulative[edge] - below)
            return start + (edge - start) * part
        below, start = cumulative[edge], edge
    return start
