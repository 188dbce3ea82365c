"""Cooking: tasks go to a provider, drafts to the intake, what was refused back to the provider.

The store is the checkpoint: a job whose entry is there is not cooked again, and what was appended
stays, whatever ends the run. Requests are made by a bounded number of threads; everything else,
the log above all, is done by the one that called `run`, as soon as a reply is there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from app.errors import ProviderRetryError, ProviderStopError, UnfinishedError
from app.providers import Batch, Provider, Task
from app.providers.prices import Price
from precompute.cook.clock import Clock
from precompute.cook.cost import NOTHING, Estimate, Estimator
from precompute.cook.intake import Progress, Report
from precompute.cook.limiter import Limiter
from precompute.plan.strategies import Job

__all__ = ["Pace", "Report", "Runner"]


class Stock(Protocol):
    """What is there already. The index, for entries."""

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of what is there under this key."""

    def catch_up(self) -> object:
        """Take in what the log has."""


class Takes(Protocol):
    """What drafts are handed to. The intake, for entries."""

    report: Report

    @property
    def owed_usd(self) -> float:
        """What was billed and stands in nothing that was kept."""

    def take(self, tasks: Sequence[Task], batch: Batch) -> list[Task]:
        """Keep what passes; returns the tasks to ask again."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a provider is asked.

    `ask_again`: how often an answer is asked for again. `retries`: how often a request is made again
    that got no reply; `patience`: the same where the service asked for a pause. `first_wait` and
    `most_wait` bound the waits between, in seconds. `outage`: after so many requests in a row
    without an answer the service is held to be down.
    """

    per_request: int = 100
    concurrency: int = 1
    ask_again: int = 3
    retries: int = 5
    patience: int = 30
    first_wait: float = 1.0
    most_wait: float = 30.0
    outage: int = 12


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent: a price, an estimator, and a limit in USD, each where there is one."""

    price: Price | None = None
    estimate: Estimator | None = None
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Tasks for one request. `faults`: how many requests for them brought no readable reply."""

    tasks: tuple[Task, ...]
    faults: int = 0
    estimate: Estimate = NOTHING
    bound_usd: float = 0.0


class _StoppedError(Exception):
    """A request that was not made, because the run is over."""


class _Here(Executor):
    """Does the work at once, in this thread: nothing is gained by another for one at a time."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **named))
        except (ProviderRetryError, ProviderStopError, _StoppedError) as error:
            future.set_exception(error)
        return future


class Runner:
    """Cooks the jobs of a plan into a store.

    `keep_awake`: other runs follow on the same clock, so that a good end does not wake it.
    """

    def __init__(
        self,
        provider: Provider,
        intake: Takes,
        index: Stock,
        clock: Clock,
        pace: Pace = Pace(),
        limiter: Limiter | None = None,
        budget: Budget = Budget(),
        sources: Sequence[str] = (),
        rng: Random | None = None,
        progress: Progress = lambda report: None,
        *,
        keep_awake: bool = False,
    ) -> None:
        self._keep_awake = keep_awake
        self._provider = provider
        self._intake = intake
        self._index = index
        self._clock = clock
        self._pace = pace
        self._limiter = limiter
        self._budget = budget
        self._sources = tuple(sources)
        self._rng = rng or Random()
        self._progress = progress
        self._again: list[Task] = []
        self._split: deque[_Chunk] = deque()
        self._in_flight: dict[Future[Batch], _Chunk] = {}
        self._barren = 0
        self._stop: ProviderStopError | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.report = intake.report

    def run(self, jobs: Iterable[Job], again: Iterable[Task] = ()) -> Report:
        """Cook what is not there yet, and `again`, tasks that were refused elsewhere.

        Raises UnfinishedError where the provider or the budget ends the run, and StoreError; what
        is cooked is kept.
        """
        self._index.catch_up()
        self._again = list(again)
        missing = self._missing(jobs)
        workers = self._pace.concurrency
        pool: Executor = ThreadPoolExecutor(workers) if workers > 1 else _Here()
        try:
            self._cook(missing, pool)
        except BaseException:
            self._end()
            # What is in flight is paid for: it is waited for and kept.
            self._drain()
            raise
        finally:
            if not self._keep_awake:
                self._end()
            pool.shutdown(wait=False, cancel_futures=True)
            self.report.owed_usd = self._intake.owed_usd
            self._index.catch_up()
        return self.report

    def _end(self) -> None:
        self._over.set()
        self._clock.wake()

    def _missing(self, jobs: Iterable[Job]) -> Iterator[Task]:
        for job in jobs:
            self.report.wanted += 1
            if not job.again and self._as_good(job):
                self.report.already += 1
                self._progress(self.report)
            else:
                yield job.task

    def _as_good(self, job: Job) -> bool:
        """Whether the store has an answer from this source or a better one."""
        source = self._index.source_of(job.query.key, job.variant)
        return source is not None and self._rank(source) <= self._rank(self._provider.name)

    def _rank(self, source: str) -> int:
        known = source in self._sources
        return self._sources.index(source) if known else len(self._sources)

    def _cook(self, missing: Iterator[Task], pool: Executor) -> None:
        while True:
            while len(self._in_flight) < self._pace.concurrency and self._stop is None:
                chunk = self._next(missing)
                if chunk is None:
                    break
                self._in_flight[pool.submit(self._request, chunk)] = chunk
            if not self._in_flight:
                break
            for future in wait(self._in_flight, return_when=FIRST_COMPLETED).done:
                self._take(future)
        if self._stop is not None:
            raise UnfinishedError(self._told(self._stop)) from None

    def _drain(self) -> None:
        for future in wait(self._in_flight).done:
            self._take(future)

    def _next(self, missing: Iterator[Task]) -> _Chunk | None:
        """The next request: what was cut in two, then what is asked again, then what is new."""
        size = self._pace.per_request
        if self._split:
            return self._affordable(self._split.popleft())
        tasks: list[Task] = []
        if len(self._again) < size:
            while len(tasks) < size and (task := next(missing, None)):
                tasks.append(task)
        if len(tasks) < size:
            # New ones first: at the end the refused share what requests are left.
            room = size - len(tasks)
            tasks, self._again = tasks + self._again[:room], self._again[room:]
        return self._affordable(_Chunk(tuple(tasks))) if tasks else None

    def _affordable(self, chunk: _Chunk) -> _Chunk | None:
        """The chunk with its estimate; None, and the end of the run, where it may pass the budget."""
        budget = self._budget
        if budget.estimate is None:
            return chunk
        estimate = budget.estimate(chunk.tasks)
        bound = estimate.bound(budget.price) if budget.price else 0.0
        out = sum(other.bound_usd for other in self._in_flight.values())
        spent = self.report.cost_usd + self.report.unseen_usd
        if budget.budget_usd is not None and spent + out + bound > budget.budget_usd:
            if self._in_flight:
                # What is in flight may cost less than feared: look again when it is back.
                self._split.appendleft(chunk)
                return None
            self._stop = ProviderStopError(
                f"the budget of {budget.budget_usd:.4f} USD has no room for another request "
                f"(spent {spent:.4f}, one more may cost {bound:.4f})",
                "raise --budget-usd",
            )
            return None
        return _Chunk(chunk.tasks, chunk.faults, estimate, bound)

    # What follows runs in the threads that make requests.

    def _request(self, chunk: _Chunk) -> Batch:
        """One request, made again within bounds where it brought no reply."""
        failed = paused = 0
        if chunk.faults:
            self._clock.sleep(self._backoff(chunk.faults))
        while True:
            expected = chunk.estimate.prompt + chunk.estimate.output
            slot = self._limiter.acquire(expected) if self._limiter else None
            if self._over.is_set():
                raise _StoppedError
            with self._lock:
                self.report.requests += max(1, chunk.estimate.requests)
            try:
                batch = self._provider.write(chunk.tasks)
            except ProviderRetryError as error:
                self._note(error, chunk)
                paused += error.hold
                failed += not error.hold
                if failed > self._pace.retries or paused > self._pace.patience:
                    raise
                self._pause(error, failed + paused)
                continue
            if slot and self._limiter and batch.usage:
                used = batch.usage
                self._limiter.settle(slot, used.prompt + used.output + used.thoughts)
            return batch

    def _note(self, error: ProviderRetryError, chunk: _Chunk) -> None:
        with self._lock:
            self.report.faults[error.kind] += 1
            if error.sent:
                price = self._budget.price
                self.report.unseen += 1
                self.report.unseen_usd += chunk.estimate.cost(price) if price else 0.0

    def _pause(self, error: ProviderRetryError, failed: int) -> None:
        """Wait as long as the service said, or longer each time, unlike other builds."""
        told = error.retry_after
        seconds = self._backoff(failed) if told is None else told
        if error.hold and self._limiter:
            self._limiter.hold(seconds)
        else:
            self._clock.sleep(seconds)

    def _backoff(self, failed: int) -> float:
        longest = min(self._pace.most_wait, self._pace.first_wait * 2.0 ** (failed - 1))
        with self._lock:
            return longest * self._rng.uniform(0.5, 1.0)

    # What follows runs in the thread that called `run`.

    def _take(self, future: Future[Batch]) -> None:
        chunk = self._in_flight.pop(future)
        error = future.exception()
        if isinstance(error, ProviderStopError):
            self._stop = self._stop or error
            self._end()
        elif isinstance(error, ProviderRetryError):
            self._set_aside(chunk, error)
        elif isinstance(error, _StoppedError):
            pass
        elif error is not None:
            raise error
        else:
            self._take_batch(chunk, future.result())
        self._progress(self.report)

    def _set_aside(self, chunk: _Chunk, error: ProviderRetryError) -> None:
        self.report.unmet.extend((task, str(error)) for task in chunk.tasks)
        self._count_barren(4, str(error))

    def _count_barren(self, weight: int, why: str) -> None:
        self._barren += weight
        if self._barren >= self._pace.outage and self._stop is None:
            self._stop = ProviderStopError(
                f"{self._provider.name} has not given an answer for many requests in a row, "
                f"the last: {why}",
                "see that the service is up",
            )
            self._end()

    def _take_batch(self, chunk: _Chunk, batch: Batch) -> None:
        again = self._intake.take(chunk.tasks, batch)
        if batch.drafts:
            self._barren = 0
        # A service that blocks an answer is up.
        if batch.fault and not batch.drafts and not batch.fault.startswith("blocked"):
            self._count_barren(1, f"the reply was {batch.fault}")
        if batch.fault and len(again) > 1:
            # One of them may be what the service balks at, or they are too many: cut in two.
            self._cut(chunk, [_unrefused(task, chunk.tasks) for task in again])
            return
        for task in again:
            if len(task.refusals) > self._pace.ask_again:
                self.report.unmet.append((task, task.refusals[-1]))
            else:
                self._again.append(task)

    def _cut(self, chunk: _Chunk, tasks: Sequence[Task]) -> None:
        middle = (len(tasks) + 1) // 2
        for half in (tasks[:middle], tasks[middle:]):
            self._split.append(_Chunk(tuple(half), chunk.faults + 1))

    def _told(self, stop: ProviderStopError) -> str:
        there = self.report.already + self.report.cooked
        safe = f"{there:,} of the entries planned are in the store and safe"
        step = f"{stop.next_step}, then" if stop.next_step else "to go on,"
        return f"{stop.message}; {safe}; {step} run the same command again"


def _unrefused(task: Task, before: Sequence[Task]) -> Task:
    """A task whose reply was lost with others' is not to blame: it is as it was asked."""
    return next((other for other in before if other.name == task.name), task)
