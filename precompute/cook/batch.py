"""Cooking by a batch job of the service: half the price, within a day.

One job contains all requests. Its description is written to `<deck>.batch.json` in the store before
the job is started, so that a later build finds the job and does not pay twice: by the job's name,
or by its unique display name if the build was killed while starting it. Results go through the same
intake as direct replies; answers that were refused, or are missing, are then asked for directly.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import xxhash

from app.errors import ProviderRetryError, ProviderStopError, StoreWriteError, UnfinishedError
from app.kinds.refusal import Refusal
from app.kinds.tasks import Drafts, Task
from app.providers import Completion
from app.store.index_writer import IndexWriter
from app.store.key import Query
from precompute.cook.clock import Clock
from precompute.cook.intake import Intake
from precompute.cook.kinds import BatchWriter
from precompute.cook.progress import Show
from precompute.cook.runner import LONGEST_WAIT, Budget, is_cooked
from precompute.files import write_whole
from precompute.plan.strategies import Job

if TYPE_CHECKING:
    from app.providers.gemini_batch import GeminiBatch

# What `GeminiBatch.state` says of a job.
RUNNING, DONE = "running", "done"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BatchPace:
    """How a job is run: answers in a request, seconds between two looks and until it is given up.

    `tries` is how often a call of the service is tried.
    """

    per_request: int = 10
    poll_seconds: float = 20.0
    give_up_seconds: float = 24 * 3600.0
    tries: int = 5


@dataclass
class _State:
    """A job that was started or is about to be; until it is, `name` is empty.

    `waited` is in seconds; `requests` are the tasks of each request, by its key.
    """

    display: str
    model: str
    fingerprint: str
    submitted: str
    name: str = ""
    waited: float = 0.0
    requests: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def tasks(self, key: str) -> list[Task]:
        return [_task(value) for value in self.requests[key]]


def _task_json(task: Task) -> dict[str, Any]:
    return {
        "query": task.query.to_json(),
        "variant": task.variant,
        "refusals": [[[r.check, r.figure, r.limit] for r in why] for why in task.refusals],
    }


def _task(value: Mapping[str, Any]) -> Task:
    refusals = tuple(tuple(Refusal(*map(str, r)) for r in why) for why in value["refusals"])
    return Task(Query.from_json(value["query"]), int(value["variant"]), refusals)


def _state_path(store: Path, deck: str) -> Path:
    return store / f"{deck}.batch.json"


def waiting_job(store: Path, deck: str) -> str:
    """A note on a batch job whose results were not taken in yet; empty if there is none."""
    path = _state_path(store, deck)
    return f"{path}: a batch job was submitted and not taken in" if path.exists() else ""


@dataclass
class BatchCook:
    """Cooks the jobs of a plan by one batch job."""

    store: Path
    deck: str
    service: GeminiBatch
    writer: BatchWriter
    intake: Intake
    index: IndexWriter
    clock: Clock
    pace: BatchPace
    budget: Budget
    sources: Sequence[str]
    progress: Show

    @property
    def _path(self) -> Path:
        return _state_path(self.store, self.deck)

    def run(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Task]]:
        """Cook by batch job; returns jobs that were not part of it, and tasks to ask for directly.

        Raises UnfinishedError and StoreError; the job's file is then kept.
        """
        try:
            return self._run(jobs)
        except (ProviderStopError, ProviderRetryError) as error:
            there = self.intake.report.already + self.intake.report.cooked
            state = self._load()
            name = state.name if state else ""
            kept = f"; the job {name} is kept" if name else ""
            raise UnfinishedError(
                f"{error}; {there:,} of the entries planned are in the store and safe{kept}; run "
                "the same command again to go on"
            ) from None

    def _run(self, jobs: Sequence[Job]) -> tuple[list[Job], list[Task]]:
        self.index.catch_up()
        state = self._picked_up() or self._submitted(
            [
                job.task
                for job in jobs
                if not is_cooked(self.index.source_of, job, self.sources, self.writer.name)
            ]
        )
        if state is None:
            return list(jobs), []
        again = self._finish(state)
        self.index.catch_up()
        asked = {task.name for key in state.requests for task in state.tasks(key)}
        left = [job for job in jobs if (job.query.key, job.variant) not in asked]
        return left, again

    # The job's file.

    def _load(self) -> _State | None:
        try:
            state = _State(**orjson.loads(self._path.read_bytes()))
            for key in state.requests:
                state.tasks(key)
        except FileNotFoundError:
            return None
        except (TypeError, ValueError, LookupError, AttributeError):
            raise StoreWriteError(
                f"{self._path}: is damaged; see the service's console for the job, then remove it"
            ) from None
        return state

    def _save(self, state: _State) -> None:
        write_whole(self._path, orjson.dumps(asdict(state)))

    def _forget(self) -> None:
        self._path.unlink(missing_ok=True)

    # Starting, and picking up.

    def _picked_up(self) -> _State | None:
        """The job that an earlier build started, if its results can still be used."""
        state = self._load()
        if state is None:
            return None
        if not state.name:
            state.name = self._patiently(lambda: self.service.find(state.display)) or ""
        if not state.name:
            self.progress.note("an earlier build died before its batch job began; it starts anew")
            self._forget()
            return None
        if state.fingerprint != self.writer.fingerprint:
            # The ideas in its prompt differ from today's, so that its answers cannot be matched.
            self.progress.note(f"{state.name} was given up: the prompt has changed since")
            self._patiently(lambda: self.service.cancel(state.name))
            self._forget()
            return None
        self.progress.note(f"{state.name}, submitted {state.submitted}, is picked up")
        self._save(state)
        return state

    def _submitted(self, tasks: Sequence[Task]) -> _State | None:
        groups = list(self._affordable(tasks))
        if not groups:
            return None
        stamp = self.clock.stamp()
        names = "".join(task.query.key for group in groups for task in group)
        state = _State(
            display=f"tsukurioki-{xxhash.xxh3_64_hexdigest(f'{names}{stamp}{os.getpid()}'.encode())}",
            model=self.service.model,
            fingerprint=self.writer.fingerprint,
            submitted=stamp,
            requests={
                f"r{number}": [_task_json(task) for task in group]
                for number, group in enumerate(groups, 1)
            },
        )
        self._save(state)
        lines = b"".join(
            self.service.line(f"r{number}", self.writer.prompt(group))
            for number, group in enumerate(groups, 1)
        )
        state.name = self._start(lines, state.display)
        self._save(state)
        self.progress.note(
            f"{state.name}: {len(groups):,} requests for {sum(map(len, groups)):,} answers submitted"
        )
        return state

    def _start(self, lines: bytes, display: str) -> str:
        """Start the job; on another try, first look whether it was started without a reply."""
        looked = False

        def start() -> str:
            nonlocal looked
            found = self.service.find(display) if looked else None
            looked = True
            return found or self.service.submit(lines, display)

        return self._patiently(start)

    def _affordable(self, tasks: Sequence[Task]) -> Iterator[Sequence[Task]]:
        size = self.pace.per_request
        spent = 0.0
        for at in range(0, len(tasks), size):
            group = tasks[at : at + size]
            spent += self._bound(group)
            if self.budget.budget_usd is not None and spent > self.budget.budget_usd:
                self.progress.note(
                    f"the budget of {self.budget.budget_usd:.4f} USD has room for {at:,} answers"
                )
                return
            yield group

    def _bound(self, group: Sequence[Task]) -> float:
        if self.budget.estimate is None or self.budget.price is None:
            return 0.0
        return self.budget.estimate(group).bound(self.budget.price)

    # Waiting, and taking in.

    def _finish(self, state: _State) -> list[Task]:
        word = self._waited(state)
        if word != DONE:
            self._patiently(lambda: self.service.cancel(state.name))
            self.progress.note(f"{state.name} is given up ({word}); the rest is asked for directly")
        again = list(self._fetched(state)) if word == DONE else list(_all_tasks(state))
        self._forget()
        return again

    def _waited(self, state: _State) -> str:
        """Wait for the job; returns DONE, or why it is given up."""
        while True:
            kind, word = self._patiently(lambda: self.service.state(state.name))
            if kind != RUNNING:
                return DONE if kind == DONE else word
            if state.waited >= self.pace.give_up_seconds:
                return f"still {word} after {state.waited / 3600:.1f} h"
            self.progress(self.intake.report)
            self.clock.sleep(self.pace.poll_seconds)
            state.waited += self.pace.poll_seconds
            self._save(state)

    def _fetched(self, state: _State) -> Iterator[Task]:
        """Take in the results; yields the tasks to ask for directly."""
        results = self._patiently(lambda: _best(self.service.results(state.name)))
        for key in state.requests:
            tasks = [task for task in state.tasks(key) if not self._is_there(task, state)]
            self.intake.report.already += len(state.requests[key]) - len(tasks)
            if tasks:
                # A reply can be parsed only with all tasks of its request.
                written = self._read(state.tasks(key), results.get(key, "missing"))
                self.intake.report.requests += 1
                yield from self.intake.take(tasks, written)
                self.progress(self.intake.report)

    def _is_there(self, task: Task, state: _State) -> bool:
        """Whether an earlier build took this answer in before it was killed."""
        if self.index.source_of(*task.name) != self.writer.name:
            return False
        return self.index.created(*task.name) >= state.submitted

    def _read(self, tasks: Sequence[Task], result: Completion | str) -> Drafts:
        if isinstance(result, str):
            return Drafts((), self.service.model, None, f"error: {result[:80]}")
        return self.writer.read(tasks, result)

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """Call the service, and again, with waits, if it does not answer."""
        for attempt in range(1, self.pace.tries + 1):
            try:
                return call()
            except ProviderRetryError as error:
                self.intake.report.faults[error.kind] += 1
                if attempt == self.pace.tries:
                    raise
                wait = max(error.retry_after or 0.0, min(60.0, 2.0**attempt))
                if wait > LONGEST_WAIT:
                    raise
                self.clock.sleep(wait)
        raise AssertionError("unreachable")


def _best(results: Iterable[tuple[str, Completion | str]]) -> dict[str, Completion | str]:
    """One result for each request; a good one if there are several."""
    best: dict[str, Completion | str] = {}
    for key, result in results:
        there = best.get(key)
        if there is None or isinstance(there, str) or there.fault:
            best[key] = result
    return best


def _all_tasks(state: _State) -> Iterator[Task]:
    for key in state.requests:
        yield from state.tasks(key)
