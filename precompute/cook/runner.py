"""The runner: tasks go to a provider, drafts to the intake, refused tasks back to the provider.

The store is the checkpoint: a job whose entry exists is not cooked again, and entries stay,
whatever ends the run. A limited number of threads make requests; the thread that called `run` does
everything else as soon as there is a reply.

The number of requests of a run is limited: splitting a request, repeating it and asking again for
refused answers share one budget, as many requests as were planned, so that a run makes twice the
planned requests at most. (Requests that got no reply at all may be repeated a few times more.) When
it is used up, only planned requests are made. Many requests in a row without an answer that can be
kept end the run.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

from app.errors import ProviderRetryError, ProviderStopError, UnfinishedError
from app.kinds.tasks import Drafts, Provider, Task
from app.providers.prices import Price
from app.store.sources import is_as_good
from precompute.cook.clock import Clock
from precompute.cook.cost import NOTHING, Estimate, Estimator
from precompute.cook.meter import Meter, StoppedError
from precompute.cook.progress import Show
from precompute.cook.report import Report
from precompute.plan.strategies import Job

# Requests without any reply that a run may repeat beyond its budget, so that a small plan outlasts
# an overloaded service.
_MORE_REPEATS = 8
# Seconds of a wait from which on it is shown, and beyond which the run ends instead.
_SHOWN_WAIT = 10.0
LONGEST_WAIT = 600.0
# How much counts towards ending the run: a request without a reply, with an empty or unreadable one,
# with a blocked one (the service works, and may answer other requests), and each answer of a reply of
# which the gate refused all.
_NO_REPLY, _BARREN_REPLY, _BLOCKED, _REFUSED = 4.0, 3.0, 2.0, 0.3


# The source of what is stored under a key and variant; None if nothing is.
SourceOf = Callable[[str, int], str | None]


class StoredSources(Protocol):
    """Says what is stored already; for entries, the index does."""

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of what is stored under this key; None if nothing is."""

    def catch_up(self) -> object:
        """Add what the log has beyond this."""


def is_cooked(source_of: SourceOf, job: Job, order: Sequence[str], source: str) -> bool:
    """Whether something is stored for a job that is as good as an answer of this source would be."""
    old = None if job.again else source_of(job.query.key, job.variant)
    return old is not None and is_as_good(order, old, source)


class Sink(Protocol):
    """Receives drafts; for entries, the intake does."""

    report: Report

    def settle(self) -> float:
        """Store a bill for what was paid for nothing that was stored; returns its sum in USD."""

    def take(self, tasks: Sequence[Task], written: Drafts) -> list[Task]:
        """Store the drafts that pass; returns the tasks to ask for again."""

    def set_reply_aside(self, tasks: Sequence[Task], fault: str, reply: str) -> None:
        """Keep an unreadable reply for a person to look at."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a provider is asked.

    `per_request` is the number of answers in a request, `concurrency` the number of requests at
    once. `ask_again` is how often a refused answer is asked for again, `retries` how often a
    request without a reply is repeated, `patience` the same if the service asked for a pause.
    `first_wait` and `most_wait` are the least and greatest seconds between. `outage` is the sum of
    `_NO_REPLY`, `_BARREN_REPLY`, `_BLOCKED` and `_REFUSED` in a row at which the run ends. `extra` is
    the number of requests beyond the planned ones; if it is None, as many as are planned.
    """

    per_request: int = 100
    concurrency: int = 1
    ask_again: int = 3
    retries: int = 5
    patience: int = 30
    first_wait: float = 1.0
    most_wait: float = 30.0
    outage: float = 12
    extra: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit in USD, and the price and estimator to keep it; each may be missing."""

    price: Price | None = None
    estimate: Estimator | None = None
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    """Tasks for one request.

    `faults` counts earlier requests for them without a readable reply, `fault` is the last one's.
    """

    tasks: tuple[Task, ...]
    faults: int = 0
    fault: str = ""
    estimate: Estimate = NOTHING
    bound_usd: float = 0.0


class _Here(Executor):
    """An executor that works in the calling thread, for providers that wait for nothing."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **named))
        except (ProviderRetryError, ProviderStopError, StoppedError) as error:
            future.set_exception(error)
        return future


class Runner:
    """Cooks the jobs of a plan into a store.

    `meter` is the model's, if the provider asks one. With `keep_awake`, the clock is not woken at
    the end of a successful run, because other runs use it too.
    """

    def __init__(
        self,
        provider: Provider,
        intake: Sink,
        index: StoredSources,
        clock: Clock,
        pace: Pace = Pace(),
        meter: Meter | None = None,
        budget: Budget = Budget(),
        sources: Sequence[str] = (),
        rng: Random | None = None,
        progress: Show | None = None,
        *,
        keep_awake: bool = False,
    ) -> None:
        self._keep_awake = keep_awake
        self._provider = provider
        self._intake = intake
        self._index = index
        self._clock = clock
        self._pace = pace
        self._meter = meter
        self._budget = budget
        self._sources = tuple(sources)
        self._rng = rng or Random()
        self._progress = progress or Show()
        self._again: list[Task] = []
        self._split: deque[_Group] = deque()
        self._in_flight: dict[Future[Drafts], _Group] = {}
        self._barren = 0.0
        self._spare = 0
        self._stop: ProviderStopError | None = None
        self._lock = threading.Lock()
        self._over = meter.over if meter else threading.Event()
        self.report = intake.report

    def run(self, jobs: Iterable[Job], again: Iterable[Task] = ()) -> Report:
        """Cook the jobs that are not stored yet, and `again`, tasks that were refused elsewhere.

        Raises UnfinishedError if the provider or the budget ends the run, and StoreError; what was
        cooked is kept.
        """
        self._index.catch_up()
        self._again = list(again)
        missing = list(self._missing(jobs))
        planned = -(-(len(missing) + len(self._again)) // self._pace.per_request)
        self._spare = planned if self._pace.extra is None else self._pace.extra
        pool: Executor = ThreadPoolExecutor(self._pace.concurrency) if self._meter else _Here()
        try:
            self._cook(iter(missing), pool)
        except BaseException:
            self._end()
            # Replies in flight are paid for: wait for them and keep them.
            for future in wait(self._in_flight).done:
                self._take(future)
            raise
        finally:
            if not self._keep_awake:
                self._end()
            pool.shutdown(wait=False, cancel_futures=True)
            self.report.owed_usd = self._intake.settle()
            self._index.catch_up()
        return self.report

    def _end(self) -> None:
        self._over.set()
        self._clock.wake()

    def _missing(self, jobs: Iterable[Job]) -> Iterator[Task]:
        for job in jobs:
            if is_cooked(self._index.source_of, job, self._sources, self._provider.name):
                self.report.already += 1
            else:
                yield job.task
        self._progress(self.report)

    def _cook(self, missing: Iterator[Task], pool: Executor) -> None:
        while True:
            while len(self._in_flight) < self._width() and self._stop is None:
                group = self._next(missing)
                if group is None:
                    break
                self._in_flight[pool.submit(self._request, group)] = group
            if not self._in_flight:
                break
            for future in wait(self._in_flight, return_when=FIRST_COMPLETED).done:
                self._take(future)
        if self._stop is not None:
            raise UnfinishedError(self._unfinished(self._stop)) from None

    def _width(self) -> int:
        """The number of requests at once: one after some in a row without an answer."""
        return 1 if self._barren > _NO_REPLY else self._pace.concurrency

    def _next(self, missing: Iterator[Task]) -> _Group | None:
        """The next request: split ones first, then new tasks, then refused ones.

        Refused ones that fill a request go before new tasks, while requests may be repeated.
        """
        size = self._pace.per_request
        while self._split:
            group = self._split.popleft()
            if self._may_repeat():
                return self._affordable(group)
            self._stop_repeating(group.tasks, group.fault)
        if len(self._again) >= size and self._may_repeat():
            return self._affordable(_Group(tuple(self._waiting(size))))
        tasks = list(itertools.islice(missing, size))
        if not tasks and self._again and not self._may_repeat():
            self._stop_repeating(self._waiting(len(self._again)))
        # The refused ones share the requests at the end.
        tasks += self._waiting(size - len(tasks))
        return self._affordable(_Group(tuple(tasks))) if tasks else None

    def _waiting(self, count: int) -> list[Task]:
        """Take some of the refused tasks, those that have waited longest."""
        tasks, self._again = self._again[:count], self._again[count:]
        return tasks

    def _may_repeat(self, more: int = 0) -> bool:
        """Take one request from the budget of repetitions; returns whether there was one.

        With `more`, the budget may be exceeded by so many.
        """
        with self._lock:
            if self._spare + more <= 0:
                return False
            self._spare -= 1
            return True

    def _stop_repeating(self, tasks: Iterable[Task], fault: str = "") -> None:
        self.report.limited = True
        self._give_up(tasks, fault)

    def _give_up(self, tasks: Iterable[Task], fault: str = "") -> None:
        for task in tasks:
            refused = "; ".join(map(str, task.refusals[-1])) if task.refusals else ""
            self.report.unmet.append((task, fault or refused or "no readable reply"))

    def _affordable(self, group: _Group) -> _Group | None:
        """The tasks of a request with its estimate; None, which ends the run, if it may exceed the budget."""
        budget = self._budget
        if budget.estimate is None:
            return group
        estimate = budget.estimate(group.tasks)
        bound = estimate.bound(budget.price) if budget.price else 0.0
        out = sum(other.bound_usd for other in self._in_flight.values())
        spent = self.report.cost_usd + self.report.unseen_usd
        if budget.budget_usd is not None and spent + out + bound > budget.budget_usd:
            if self._in_flight:
                # Requests in flight may cost less than their bound: look again when they are back.
                self._split.appendleft(group)
                return None
            self._stop = ProviderStopError(
                f"the budget of {budget.budget_usd:.4f} USD has no room for another request "
                f"(spent {spent:.4f}, one more may cost {bound:.4f})",
                "raise --budget-usd",
            )
            return None
        return replace(group, estimate=estimate, bound_usd=bound)

    # What follows runs in the threads that make requests.

    def _request(self, group: _Group) -> Drafts:
        """Make a request, and repeat it within limits if there is no reply."""
        failed = paused = 0
        if group.faults:
            self._clock.sleep(self._backoff(group.faults))
        while True:
            if self._over.is_set():
                raise StoppedError
            try:
                return self._provider.write(group.tasks)
            except ProviderRetryError as error:
                self._note(error, group)
                paused += error.hold
                failed += not error.hold
                if failed > self._pace.retries or paused > self._pace.patience:
                    raise
                # A pause that the service asked for does not count as a try.
                if not error.hold and not self._may_repeat(_MORE_REPEATS):
                    raise
                self._pause(error, failed + paused)

    def _note(self, error: ProviderRetryError, group: _Group) -> None:
        with self._lock:
            self.report.faults[error.kind] += 1
            if error.sent:
                price = self._budget.price
                self.report.unseen += 1
                self.report.unseen_usd += group.estimate.cost(price) if price else 0.0
            if error.reply:
                self._intake.set_reply_aside(group.tasks, error.kind, error.reply)

    def _pause(self, error: ProviderRetryError, failed: int) -> None:
        """Wait as long as the service asked, or by exponential back-off with jitter."""
        asked = error.retry_after
        # A service may ask for no wait at all, again and again.
        patient = asked is not None and asked >= self._pace.first_wait
        seconds = asked if asked is not None and patient else self._backoff(failed)
        if seconds > LONGEST_WAIT:
            raise ProviderStopError(
                f"{error}; it asks for {_duration(seconds)}", f"wait {_duration(seconds)}"
            )
        if seconds >= _SHOWN_WAIT:
            self._progress.note(f"{error}; waiting {_duration(seconds)}")
        if not (error.hold and self._meter and self._meter.hold(seconds)):
            self._clock.sleep(seconds)

    def _backoff(self, failed: int) -> float:
        longest = min(self._pace.most_wait, self._pace.first_wait * 2.0 ** (failed - 1))
        with self._lock:
            return longest * self._rng.uniform(0.5, 1.0)

    # What follows runs in the thread that called `run`.

    def _take(self, future: Future[Drafts]) -> None:
        group = self._in_flight.pop(future)
        error = future.exception()
        if isinstance(error, ProviderStopError):
            self._stop = self._stop or error
            self._end()
        elif isinstance(error, ProviderRetryError):
            self._set_aside(group, error)
        elif isinstance(error, StoppedError):
            pass
        elif error is not None:
            raise error
        else:
            self._take_written(group, future.result())
        self._progress(self.report)

    def _set_aside(self, group: _Group, error: ProviderRetryError) -> None:
        self.report.unmet.extend((task, str(error)) for task in group.tasks)
        self._count_barren(_NO_REPLY, str(error), "see that the service is up")

    def _count_barren(self, weight: float, why: str, step: str) -> None:
        self._barren += weight
        # Concurrent requests may all meet the same temporary fault.
        most = self._pace.outage + _BARREN_REPLY * (self._pace.concurrency - 1)
        if self._barren >= most and self._stop is None:
            self._stop = ProviderStopError(
                f"{self._provider.name} has not given an answer that can be kept for many requests "
                f"in a row, the last: {why}",
                f"{step}, or choose another model",
            )
            self._end()

    def _take_written(self, group: _Group, written: Drafts) -> None:
        again = self._intake.take(group.tasks, written)
        if len(again) < len(group.tasks):
            self._barren = 0.0
        elif self._meter:
            self._count_fruitless(again, written)
        if written.fault and len(again) > 1:
            # The service may refuse one of them, or they are too many: split the request.
            unrefused = [_unrefused(task, group.tasks) for task in again]
            self._cut(group, unrefused, written.fault)
            return
        for task in again:
            blocked = written.fault.startswith("blocked")
            if blocked or len(task.refusals) + group.faults > self._pace.ask_again:
                self._give_up([task])
            else:
                self._again.append(task)

    def _count_fruitless(self, again: Sequence[Task], written: Drafts) -> None:
        """Count a reply of which nothing was kept."""
        step = "read what was refused in the store's .refused.jsonl, change the prompt"
        if written.drafts:
            why = f"the answer was refused: {'; '.join(map(str, again[-1].refusals[-1]))}"
            self._count_barren(_REFUSED * len(again), why, step)
        elif written.fault.startswith("blocked"):
            self._count_barren(_BLOCKED, f"the reply was {written.fault}", step)
        else:
            self._count_barren(_BARREN_REPLY, f"the reply was {written.fault or 'empty'}", step)

    def _cut(self, group: _Group, tasks: Sequence[Task], fault: str) -> None:
        middle = (len(tasks) + 1) // 2
        for half in (tasks[:middle], tasks[middle:]):
            self._split.append(_Group(tuple(half), group.faults + 1, fault))

    def _unfinished(self, stop: ProviderStopError) -> str:
        there = self.report.already + self.report.cooked
        safe = f"{there:,} of the entries planned are in the store and safe"
        step = f"{stop.next_step}, then" if stop.next_step else "to go on,"
        return f"{stop.message}; {safe}; {step} run the same command again"


def _duration(seconds: float) -> str:
    """An approximate duration, for a person."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else "more than two days"


def _unrefused(task: Task, before: Sequence[Task]) -> Task:
    """The task without the refusal for a faulty reply, which other tasks may have caused."""
    return next((other for other in before if other.name == task.name), task)
