"""Cooking: tasks go to a provider, drafts through the gate, what passes into the log.

The store is the checkpoint: a job whose entry is there is not cooked again, and what was appended
stays, whatever ends the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from app.core.deck import Deck
from app.core.entry import Entry, Usage
from app.core.gate import Gate, Refusal
from app.core.index import IndexWriter
from app.core.log import LogWriter
from app.providers import Draft, Provider, Task
from precompute.plan import Job

MAX_ASKS = 3
# So many jobs are handed to the provider at once, and their entries made durable with one sync.
BATCH = 100


@dataclass
class Report:
    """What a run did. `already` were in the store, `unmet` could not be cooked."""

    wanted: int = 0
    already: int = 0
    cooked: int = 0
    asked: int = 0
    first_try: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unmet: list[Task] = field(default_factory=list)
    cost_usd: float = 0.0


class Runner:
    """Cooks the jobs of a plan into a store."""

    def __init__(
        self,
        deck: Deck,
        provider: Provider,
        log: LogWriter,
        index: IndexWriter,
        now: Callable[[], str],
        progress: Callable[[Report], None] = lambda report: None,
    ) -> None:
        self._gate = Gate.of(deck)
        self._provider = provider
        self._log = log
        self._index = index
        self._now = now
        self._progress = progress
        self.report = Report()

    def run(self, jobs: Iterable[Job]) -> Report:
        """Cook what is not there yet. Raises ProviderError and StoreError; what is cooked is kept."""
        self._index.catch_up()
        try:
            for batch in _batches(self._missing(jobs), BATCH):
                self._cook([Task(job.query, job.variant) for job in batch])
        finally:
            self._index.catch_up()
        return self.report

    def _missing(self, jobs: Iterable[Job]) -> Iterator[Job]:
        for job in jobs:
            self.report.wanted += 1
            if self._index.has(job.query.key, job.variant):
                self.report.already += 1
                self._progress(self.report)
            else:
                yield job

    def _cook(self, tasks: Sequence[Task]) -> None:
        waiting = list(tasks)
        for attempt in range(MAX_ASKS):
            if not waiting:
                return
            waiting = self._ask(waiting, first=attempt == 0)
        self.report.unmet.extend(waiting)

    def _ask(self, tasks: Sequence[Task], *, first: bool) -> list[Task]:
        """One request; returns the tasks to ask again, each with the reasons it was refused."""
        batch = self._provider.write(tasks)
        self.report.asked += len(tasks)
        left = {task.name: task for task in tasks}
        share = _share(batch.usage, len(tasks))
        entries = []
        for draft in batch.drafts:
            task = left.get(draft.task.name)
            if task is None:
                continue
            refusal = self._gate.examine(task.query, draft.response)
            if refusal:
                left[task.name] = self._refused(task, refusal)
                continue
            del left[task.name]
            self.report.first_try += first
            entries.append(self._entry(draft, batch.model, share))
        if entries:
            self._log.append(entries)
            self.report.cooked += len(entries)
        self._progress(self.report)
        return list(left.values())

    def _refused(self, task: Task, refusal: Refusal) -> Task:
        self.report.refused[refusal.check] += 1
        return Task(task.query, task.variant, (*task.refusals, str(refusal)))

    def _entry(self, draft: Draft, model: str, usage: Usage | None) -> Entry:
        key, variant = draft.task.name
        return Entry(
            key=key,
            variant=variant,
            query=draft.task.query,
            response={name: str(value) for name, value in draft.response.items()},
            source=self._provider.name,
            model=model,
            fingerprint=self._provider.fingerprint,
            created=self._now(),
            usage=usage,
        )


def _share(usage: Usage | None, count: int) -> Usage | None:
    if usage is None:
        return None
    return Usage(
        usage.prompt / count, usage.output / count, usage.thoughts / count, usage.cached / count
    )


def _batches(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    batch: list[Job] = []
    for job in jobs:
        batch.append(job)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
