"""The intake of drafts: those that pass the judge go into the log, others are asked for again.

Direct requests and batch jobs use the same intake. Entries are synced to the disk first of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.kinds.refusal import Refusal
from app.kinds.tasks import Author, Draft, Drafts, Task
from app.providers.model_json import cleaned_text
from app.providers.prices import Price
from app.store.entry import Bill, Entry, Usage
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter
from precompute.cook.kinds import Cooking, Judge
from precompute.cook.report import Report
from precompute.files import append_lines, json_line

# Entries after which the index is published anew, so that a running server has them too. More often
# would cost a rewrite of the index each time.
CATCH_UP = 500
# Characters that are kept of an unreadable reply.
_MOST_REPLY = 20_000


@dataclass
class Intake:
    """Takes drafts in. `source` is the provider's name and fingerprint; `price` may be unknown."""

    cooking: Cooking
    judge: Judge
    source: tuple[str, str]
    log: LogWriter
    index: IndexWriter
    stamp: Callable[[], str]
    price: Price | None
    report: Report

    def __post_init__(self) -> None:
        self._model = ""
        # What was billed since the last entry was stored, each reply by the price of its day.
        self._owed = Usage()
        self._owed_usd = 0.0
        self._since_catch_up = 0

    def take(self, tasks: Sequence[Task], written: Drafts) -> list[Task]:
        """Store the drafts that pass; returns the other tasks, each with its refusals."""
        self._bill(written)
        if written.reply:
            self.set_reply_aside(tasks, written.fault, written.reply)
        again = {task.name: task for task in tasks}
        fresh: list[Entry] = []
        refusals: list[tuple[Draft, tuple[Refusal, ...]]] = []
        for draft in written.drafts:
            if draft.task.name not in again:
                continue
            refused = self.judge.refusals(draft)
            self._count_first(draft.task, refused)
            if refused:
                refusals.append((draft, refused))
                again[draft.task.name] = draft.task.refused(refused)
            else:
                del again[draft.task.name]
                fresh.append(self._entry(draft, written.model))
        self._keep(fresh)
        self._set_refused_aside(refusals, written.model)
        return self._with_losses(again, {d.task.name for d, _ in refusals}, written)

    def _with_losses(
        self,
        again: Mapping[tuple[str, int], Task],
        refused: Iterable[tuple[str, int]],
        written: Drafts,
    ) -> list[Task]:
        """The refused tasks, and those without an answer, with its fault as the refusal."""
        known = set(refused)
        lost = written.lost or {}
        if written.strays:
            self.report.faults["stray"] += written.strays
        if written.fault:
            self.report.faults[written.fault] += 1
        tasks = []
        for name, task in again.items():
            if name in known:
                tasks.append(task)
                continue
            reason = written.fault or lost.get(name, "missing")
            if not written.fault:
                self.report.faults[reason] += 1
            tasks.append(task.refused((Refusal(reason),)))
        return tasks

    def _bill(self, written: Drafts) -> None:
        if written.usage is None:
            return
        cost = self.price.cost(written.usage) if self.price else 0.0
        self.report.usage += written.usage
        self.report.cost_usd += cost
        self._model = written.model
        self._owed += written.usage
        self._owed_usd += cost

    def _count_first(self, task: Task, refused: Sequence[Refusal]) -> None:
        for refusal in refused[:1]:
            self.report.refused[refusal.check] += 1
        if task.refusals:
            return
        checks = {refusal.check for refusal in refused}
        self.report.first_drafts += 1
        self.report.first_try += not checks
        for name, wanted in self.cooking.quality.items():
            self.report.first_kept[name] += not checks & wanted

    def _entry(self, draft: Draft, model: str) -> Entry:
        key, variant = draft.task.name
        own = Author(self.source[0], model, self.source[1])
        source, model, fingerprint = draft.author or own
        return Entry(
            key=key,
            variant=variant,
            query=draft.task.query,
            response={name: str(value) for name, value in draft.response.items()},
            source=source,
            model=model,
            # Wording is not part of a key, so that an entry outlives a change of its cards: this shows it.
            fingerprint=f"{fingerprint}+{self.cooking.subject_fingerprint(draft.task.query)}",
            created=self.stamp(),
        )

    def _keep(self, fresh: Sequence[Entry]) -> None:
        """Store entries, which share the bill for themselves and for refused drafts before them."""
        if not fresh:
            return
        billed = [self._billed(entry, len(fresh)) for entry in fresh]
        self.log.append(billed)
        self._owed, self._owed_usd = Usage(), 0.0
        self.report.cooked += len(billed)
        self._since_catch_up += len(billed)
        if self._since_catch_up >= CATCH_UP:
            self._since_catch_up = 0
            self.index.catch_up()

    def _billed(self, entry: Entry, count: int) -> Entry:
        if self._owed == Usage():
            return entry
        return replace(entry, usage=self._owed.share(count), cost_usd=self._owed_usd / count)

    def settle(self) -> float:
        """Log a bill for what was paid for refused answers only; returns its sum in USD."""
        if self._owed == Usage():
            return 0.0
        bill = Bill(self.source[0], self._model, self.stamp(), self._owed, self._owed_usd)
        self.log.append([bill])
        self._owed, self._owed_usd = Usage(), 0.0
        return bill.cost_usd

    def _set_refused_aside(
        self, refusals: Iterable[tuple[Draft, tuple[Refusal, ...]]], model: str
    ) -> None:
        """Write refused answers to a side file for people; no program reads it."""
        self._set_aside(
            [
                {
                    "key": draft.task.name[0],
                    "variant": draft.task.name[1],
                    "try": len(draft.task.refusals) + 1,
                    "refusals": [str(refusal) for refusal in refused],
                    "response": dict(draft.response),
                    "source": self.source[0],
                    "model": model,
                    "created": self.stamp(),
                }
                for draft, refused in refusals
            ]
        )

    def set_reply_aside(self, tasks: Sequence[Task], fault: str, reply: str) -> None:
        """Write an unreadable reply to the side file; may be called from several threads."""
        keys = [[task.query.key, task.variant] for task in tasks]
        text = cleaned_text(reply)[:_MOST_REPLY]
        self._set_aside([{"fault": fault, "keys": keys, "reply": text, "created": self.stamp()}])

    def _set_aside(self, records: Iterable[Mapping[str, object]]) -> None:
        if lines := [json_line(record) for record in records]:
            append_lines(self.log.path.with_suffix(".refused.jsonl"), lines)
