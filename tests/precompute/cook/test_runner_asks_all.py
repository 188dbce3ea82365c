"""Whatever is refused, every planned task is asked for and none is lost."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Drafts, Task
from app.providers import NamedModel
from app.store.key import Query
from precompute.cook.meter import Meter
from precompute.cook.report import Report
from precompute.cook.runner import Budget, Pace, Runner
from precompute.plan.strategies import Job
from tests.kit import FakeClock


class Writer:
    """Writes for every task, and counts how often each was asked for."""

    name = fingerprint = "writer"

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def write(self, tasks: Sequence[Task]) -> Drafts:
        with self._lock:
            self.asked.update(task.name for task in tasks)
        return Drafts(tuple(Draft(task, {}) for task in tasks), "model")

    def close(self) -> None:
        """Do nothing."""


class Sink:
    """Refuses a share of what is written."""

    def __init__(self, refused: float, rng: Random) -> None:
        self.report = Report()
        self._refused = refused
        self._rng = rng

    def take(self, tasks: Sequence[Task], written: Drafts) -> list[Task]:
        again = [task for task in tasks if self._rng.random() < self._refused]
        self.report.cooked += len(tasks) - len(again)
        return [task.refused((Refusal("length"),)) for task in again]

    def settle(self) -> float:
        return 0.0

    def set_reply_aside(self, tasks: Sequence[Task], fault: str, reply: str) -> None:
        """Do nothing."""


class Nothing:
    """A store without entries."""

    def source_of(self, key: str, variant: int = 0) -> str | None:
        return None

    def catch_up(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("refused", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("size", [1, 2, 3, 10])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_every_planned_task_is_asked_for_and_counted(
    size: int, concurrency: int, refused: float
) -> None:
    """Each is asked for at least once, and is cooked or named as not cooked; requests are bounded."""
    rng = Random(f"{size} {concurrency} {refused}")
    for count in (1, 2, 5, 23):
        writer, sink = Writer(), Sink(refused, rng)
        meter = Meter(NamedModel("writer", "model"), sink.report)
        # Without the brake, which ends a run of which nothing can be kept.
        pace = Pace(per_request=size, concurrency=concurrency, outage=math.inf)
        runner = Runner(writer, sink, Nothing(), FakeClock(), pace, meter, Budget(), (), rng)
        runner.run(Job(Query.pattern("", [("n", str(n))]), 0, "") for n in range(count))
        assert len(writer.asked) == count
        assert sink.report.cooked + len(sink.report.unmet) == count
        assert len({task.name for task, _ in sink.report.unmet}) == len(sink.report.unmet)
        planned = -(-count // size)
        assert max(writer.asked.values()) <= 4
        assert writer.asked.total() <= size * 2 * planned
