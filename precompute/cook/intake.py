"""What happens to drafts: through the gate, into the log, or back with a reason.

Both ways of cooking, request by request and by batch job, take their drafts in here. Whatever passes
is durable before anything else is done with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import xxhash

from app.errors import StoreWriteError
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.refusal import Refusal
from app.providers import Batch, Draft, Task
from app.providers.prices import Price
from app.store.entry import Entry, Usage
from app.store.index import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from precompute.cook.near_copy import NearCopies, sketch

# After so many entries the index is brought up to the log, so that a running server has them too.
# Each time is a sync of its own, and dirties a page for nearly every entry.
CATCH_UP = 500


@dataclass
class Report:
    """What a run did. `already` were in the store, `unmet` could not be cooked, with the reason.

    `first_*` are about drafts that were asked for the first time. `unseen` are requests that ended
    without a bill and may have been billed: their estimate is in `unseen_usd`.
    """

    wanted: int = 0
    already: int = 0
    cooked: int = 0
    asked: int = 0
    requests: int = 0
    first_drafts: int = 0
    first_try: int = 0
    first_length: int = 0
    first_title: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unmet: list[tuple[Task, str]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    owed_usd: float = 0.0
    unseen: int = 0
    unseen_usd: float = 0.0
    notes: list[str] = field(default_factory=list)


Progress = Callable[[Report], None]


def entry_fingerprint(fingerprint: str, deck: Deck, query: Query) -> str:
    """What an entry came from: the provider's prompt or pieces, and the cards as they then read.

    Wording is not part of a key, so that a changed card keeps its answers; this tells which.
    """
    digest = xxhash.xxh3_64()
    for phrase in deck.phrases(query):
        card = deck.card_by_id[phrase.card]
        digest.update(f"{card.text}\0{phrase.text}\0".encode("utf-8", "surrogatepass"))
    return f"{fingerprint}+{digest.hexdigest()[:8]}"


class Intake:
    """Takes drafts in. `bill` is what a token costs now, or None where nobody knows."""

    def __init__(
        self,
        deck: Deck,
        source: tuple[str, str],
        log: LogWriter,
        index: IndexWriter,
        copies: NearCopies,
        stamp: Callable[[], str],
        price: Price | None,
        report: Report,
    ) -> None:
        self._deck = deck
        self._gate = Gate.of(deck)
        self._source, self._fingerprint = source
        self._log = log
        self._index = index
        self._copies = copies
        self._stamp = stamp
        self.price = price
        self._refused_path = log.path.with_suffix(".refused.jsonl")
        self._owed = Usage()
        self._since_catch_up = 0
        self.report = report

    def take(self, tasks: Sequence[Task], batch: Batch) -> list[Task]:
        """Keep what passes; returns the tasks to ask again, each with why."""
        report = self.report
        report.asked += len(tasks)
        self._bill(batch.usage)
        again = {task.name: task for task in tasks}
        fresh: list[tuple[Entry, bytes]] = []
        refusals: list[tuple[Draft, tuple[Refusal, ...]]] = []
        for draft in batch.drafts:
            if draft.task.name not in again:
                continue
            packed, refused = self._examine(draft)
            self._count_first(draft.task, refused)
            if refused:
                refusals.append((draft, refused))
                again[draft.task.name] = _with_reason(draft.task, refused)
            else:
                del again[draft.task.name]
                fresh.append((self._entry(draft, batch.model), packed))
        self._keep(fresh)
        self._set_refused_aside(refusals, batch.model)
        return self._with_losses(again, {d.task.name for d, _ in refusals}, batch)

    def _with_losses(
        self,
        again: Mapping[tuple[str, int], Task],
        refused: Iterable[tuple[str, int]],
        batch: Batch,
    ) -> list[Task]:
        """The tasks whose answers never came, with that as their reason."""
        known = set(refused)
        lost = batch.lost or {}
        if batch.strays:
            self.report.faults["stray"] += batch.strays
        if batch.fault:
            self.report.faults[batch.fault] += 1
        told = []
        for name, task in again.items():
            if name in known:
                told.append(task)
                continue
            reason = batch.fault or lost.get(name, "missing")
            if not batch.fault:
                self.report.faults[reason] += 1
            told.append(Task(task.query, task.variant, (*task.refusals, reason)))
        return told

    def _bill(self, usage: Usage | None) -> None:
        if usage is None:
            return
        self.report.usage += usage
        self._owed += usage
        if self.price:
            self.report.cost_usd += self.price.cost(usage)

    def _examine(self, draft: Draft) -> tuple[bytes, tuple[Refusal, ...]]:
        """The sketch of a draft, and everything that speaks against it."""
        task = draft.task
        if self._gate.examine(task.query, draft.response):
            return b"", self._gate.refusals(task.query, draft.response)
        packed = sketch(str(draft.response["poem"]))
        copy = self._copies.examine(packed, task.name)
        if copy is None:
            self._copies.expect(packed, task.name)
        return packed, (copy,) if copy else ()

    def _count_first(self, task: Task, refused: Sequence[Refusal]) -> None:
        for refusal in refused[:1]:
            self.report.refused[refusal.check] += 1
        if task.refusals:
            return
        checks = {refusal.check for refusal in refused}
        self.report.first_drafts += 1
        self.report.first_try += not checks
        self.report.first_length += not checks & {"shape", "length"}
        self.report.first_title += not checks & {"shape", "title"}

    def _entry(self, draft: Draft, model: str) -> Entry:
        key, variant = draft.task.name
        return Entry(
            key=key,
            variant=variant,
            query=draft.task.query,
            response={name: str(value) for name, value in draft.response.items()},
            source=self._source,
            model=model,
            fingerprint=entry_fingerprint(self._fingerprint, self._deck, draft.task.query),
            created=self._stamp(),
        )

    def _keep(self, fresh: Sequence[tuple[Entry, bytes]]) -> None:
        """Make entries durable; they share what is owed for them and for the refused ones."""
        if not fresh:
            return
        billed = [(self._billed(entry, len(fresh)), packed) for entry, packed in fresh]
        end = self._log.append([entry for entry, _ in billed])
        self._owed = Usage()
        self._copies.remember(billed, end)
        self.report.cooked += len(billed)
        self._since_catch_up += len(billed)
        if self._since_catch_up >= CATCH_UP:
            self._since_catch_up = 0
            self._index.catch_up()

    def _billed(self, entry: Entry, count: int) -> Entry:
        if self._owed == Usage():
            return entry
        share = self._owed.share(count)
        cost = self.price.cost(share) if self.price else 0.0
        return Entry(
            key=entry.key,
            variant=entry.variant,
            query=entry.query,
            response=entry.response,
            source=entry.source,
            model=entry.model,
            fingerprint=entry.fingerprint,
            created=entry.created,
            usage=share,
            cost_usd=cost,
        )

    @property
    def owed_usd(self) -> float:
        """What was billed and stands in no entry: all of its answers were refused."""
        return self.price.cost(self._owed) if self.price else 0.0

    def _set_refused_aside(
        self, refusals: Iterable[tuple[Draft, tuple[Refusal, ...]]], model: str
    ) -> None:
        """Keep refused answers for whoever wants to see them. A side file: never synced, never read."""
        lines = [
            orjson.dumps(
                {
                    "key": draft.task.name[0],
                    "variant": draft.task.name[1],
                    "try": len(draft.task.refusals) + 1,
                    "refusals": [str(refusal) for refusal in refused],
                    "response": dict(draft.response),
                    "source": self._source,
                    "model": model,
                    "created": self._stamp(),
                },
                option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS,
            )
            for draft, refused in refusals
        ]
        if not lines:
            return
        try:
            with self._refused_path.open("ab") as file:
                file.write(b"".join(lines))
        except OSError as error:
            raise StoreWriteError(
                f"{self._refused_path}: cannot be written: {error.strerror}; what was cooked is safe"
            ) from None


def _with_reason(task: Task, refused: Sequence[Refusal]) -> Task:
    reason = "\n".join(map(str, refused))
    return Task(task.query, task.variant, (*task.refusals, reason))


def refused_path(store: Path, deck: str) -> Path:
    """Where the refused answers of a deck are kept."""
    return store / f"{deck}.refused.jsonl"
