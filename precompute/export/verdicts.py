"""Which of two answers is better, by a model that says A or B and why, never a score.

Scores cling to the top of their scale; a choice does not. Each two answers are shown in both orders,
and only agreement counts, because models prefer a place (Zheng et al., Judging LLM-as-a-Judge with
MT-Bench and Chatbot Arena, 2023). Verdicts are kept as they come, so that an interrupted run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import xxhash

from app.errors import PlanError, StoreWriteError, UnfinishedError
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Drafts, Task
from app.providers import Completion, Model, Prompt
from app.providers.prices import Price
from app.providers.reply import UnreadableError, cleaned_text, read_object
from app.providers.tokens import estimate_tokens
from app.store.entry import Usage
from app.store.key import Query
from precompute.cook.choose import choose, make_model, pace_of
from precompute.cook.cost import Estimate
from precompute.cook.meter import Meter
from precompute.cook.options import BuildContext, BuildOptions, limiter_of, price_of
from precompute.cook.progress import show
from precompute.cook.report import Report
from precompute.cook.runner import Budget, Runner
from precompute.export.material import fill
from precompute.plan.strategies import Job

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "winner": {"type": "string", "enum": ["A", "B"]}},
    "required": ["why", "winner"],
}
_TOKENS = 300


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to what was asked, `first` shown as A."""

    asked: str
    first: str
    second: str

    @property
    def query(self) -> Query:
        """A query that identifies it."""
        texts = (("asked", self.asked), ("first", self.first), ("second", self.second))
        return Query.pattern(
            "", [(name, xxhash.xxh3_128_hexdigest(t.encode())) for name, t in texts]
        )

    @property
    def swapped(self) -> Comparison:
        return replace(self, first=self.second, second=self.first)


class Verdicts:
    """The verdicts of one model in a file: an object a line, with key, winner and why."""

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._model = model
        self._winners: dict[str, str] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            record = orjson.loads(line)
            if record["model"] == self._model:
                self._winners[record["key"]] = record["winner"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            # The last line of a run that was killed.
            return

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The winner, A or B; None if the model has not said."""
        return self._winners.get(key)

    def catch_up(self) -> None:
        """Do nothing: all verdicts are in memory."""

    def keep(self, key: str, winner: str, why: str, created: str) -> None:
        """Append a verdict. Raises StoreWriteError."""
        record = {
            "key": key, "model": self._model, "winner": winner, "why": why, "created": created,
        }  # fmt: skip
        self.append(record)
        self._winners[key] = winner

    def append(self, record: Mapping[str, Any]) -> None:
        """Append any record, for people to read. Raises StoreWriteError."""
        try:
            with self._path.open("ab") as file:
                file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise StoreWriteError(f"{self._path}: cannot be written: {error.strerror}") from None

    def better(self, comparison: Comparison) -> str | None:
        """The text that won in both orders; None if the orders disagree, or one is missing."""
        one = self.source_of(comparison.query.key)
        other = self.source_of(comparison.swapped.query.key)
        if one == "A" and other == "B":
            return comparison.first
        if one == "B" and other == "A":
            return comparison.second
        return None


class _Writer:
    """Asks a model for one verdict a request."""

    def __init__(self, text: str, model: Model, comparisons: Iterable[Comparison]) -> None:
        self.name = model.name
        self.fingerprint = f"verdict:{xxhash.xxh3_64_hexdigest(text.encode())}"
        self._text = text
        self._model = model
        self._by_key = {one.query.key: one for one in comparisons}

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """The verdict on one comparison. Raises ProviderRetryError and ProviderStopError."""
        (task,) = tasks
        completion = self._model.complete(self._prompt(task))
        drafts, fault = self._read(task, completion)
        reply = completion.text if fault else ""
        return Drafts(drafts, completion.model, completion.usage, fault, reply=reply)

    def _read(self, task: Task, completion: Completion) -> tuple[tuple[Draft, ...], str]:
        try:
            return (Draft(task, read_object(completion.text)),), completion.fault
        except UnreadableError:
            return (), completion.fault or "unreadable"

    def close(self) -> None:
        self._model.close()

    def estimate(self, tasks: Sequence[Task]) -> Estimate:
        prompts = [self._prompt(task) for task in tasks]
        size = sum(estimate_tokens(prompt.asked) for prompt in prompts)
        return Estimate(len(tasks), size, _TOKENS // 3 * len(tasks), _TOKENS * len(tasks))

    def _prompt(self, task: Task) -> Prompt:
        one = self._by_key[task.query.key]
        texts = {"asked": one.asked, "first": one.first, "second": one.second}
        return Prompt("", fill(self._text, texts), SCHEMA, _TOKENS)


class _Sink:
    """Keeps verdicts that are A or B."""

    def __init__(
        self, verdicts: Verdicts, stamp: Callable[[], str], price: Price | None, report: Report
    ) -> None:
        self._verdicts = verdicts
        self._stamp = stamp
        self._price = price
        self.report = report
        # A verdict has no entry that could carry its cost: the report has it.
        self.owed_usd = 0.0

    def take(self, tasks: Sequence[Task], written: Drafts) -> list[Task]:
        """Keep the verdicts; returns the tasks that have none."""
        usage = written.usage or Usage()
        self.report.usage += usage
        self.report.cost_usd += self._price.cost(usage) if self._price else 0.0
        if written.fault:
            self.report.faults[written.fault] += 1
        again = {task.name: task for task in tasks}
        for draft in written.drafts:
            winner = str(draft.response.get("winner", "")).strip().upper()
            if winner not in ("A", "B"):
                again[draft.task.name] = draft.task.refused((Refusal("shape", winner[:20]),))
                continue
            why = cleaned_text(str(draft.response.get("why", "")))[:2000]
            self._verdicts.keep(draft.task.query.key, winner, why, self._stamp())
            del again[draft.task.name]
            self.report.cooked += 1
        missing = (Refusal(written.fault or "missing"),)
        return [t if t.refusals else t.refused(missing) for t in again.values()]

    def set_reply_aside(self, tasks: Sequence[Task], fault: str, reply: str) -> None:
        """Keep an unreadable reply among the verdicts, where it counts as none."""
        self._verdicts.append({"fault": fault, "reply": cleaned_text(reply)[:20_000]})


def in_both_orders(comparisons: Iterable[Comparison]) -> Iterator[Comparison]:
    """Each comparison and its opposite."""
    for one in comparisons:
        yield one
        yield one.swapped


def ask(
    options: BuildOptions,
    context: BuildContext,
    text: str,
    comparisons: Sequence[Comparison],
    path: Path,
) -> tuple[Verdicts, Report]:
    """Ask a model for verdicts on comparisons, in the orders given, within the options' budget.

    `text` is the question, with places {asked}, {first} and {second}. Raises OperatorError; what was
    said until then is kept in `path`.
    """
    settings = context.settings
    choice = choose(settings, options.provider, options.model, "small")
    if choice.local:
        raise PlanError("a judge needs a provider that writes, for example --judge gemini")
    model = make_model(choice, settings)
    choice = replace(choice, model=model.model)
    verdicts = Verdicts(path, f"{choice.name} {choice.model}")
    report = Report()
    try:
        price = price_of(options, context, choice)
        meter = Meter(model, report, limiter_of(options, context, choice))
        writer = _Writer(text, meter, comparisons)
        sink = _Sink(verdicts, context.clock.stamp, price, report)
        pace = pace_of(choice, settings, None, options.concurrency)
        with show(context.err, len(comparisons)) as progress:
            Runner(
                writer, sink, verdicts, context.clock, pace, meter,
                Budget(price, writer.estimate, options.budget_usd), (), context.rng, progress,
            ).run(Job(one.query, 0, "compare") for one in comparisons)  # fmt: skip
    except UnfinishedError as error:
        raise UnfinishedError(f"{error}; what was said is kept in {path}") from None
    finally:
        model.close()
    return verdicts, report
