"""Questions to a model through the one runner: budget, rates, waits, and going on where it stopped.

Replies are kept in a file as they come, an object a line, so that none is asked for (and paid) twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import xxhash

from app.errors import PlanError, UnfinishedError
from app.kinds.refusal import Refusal
from app.kinds.tasks import Draft, Drafts, Task
from app.providers import Completion, Model, Prompt
from app.providers.model_json import cleaned_text
from app.providers.prices import Price
from app.providers.relay import Abort, Ask, Finish
from app.providers.tokens import estimate_tokens
from app.store.entry import Usage
from app.store.key import Query
from precompute.cook.choose import choose, make_model, pace_of
from precompute.cook.cost import Estimate
from precompute.cook.meter import Meter
from precompute.cook.options import BuildContext, BuildOptions, limiter_of, price_of
from precompute.cook.progress import Show
from precompute.cook.report import Report
from precompute.cook.runner import Budget, Runner
from precompute.files import append_lines, json_line
from precompute.plan.strategies import Job

# Characters that are kept of a reply.
_MOST_REPLY = 20_000
# The share of its greatest length that a reply usually has.
_USUAL = 3
# What a reply says, as a short text; None if it says nothing that can be used.
Read = Callable[[str], str | None]


def query_of(question: Prompt) -> Query:
    """A query that identifies a question."""
    asked = xxhash.xxh3_128_hexdigest(f"{question.fixed}\n{question.asked}".encode())
    return Query.pattern("", [("question", asked)])


class RepliesFile:
    """The replies of one model, in a file."""

    def __init__(self, path: Path, model: str) -> None:
        self._path = path
        self._model = model
        self._values: dict[str, str] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            record = orjson.loads(line)
            if record["model"] == self._model:
                self._values[record["key"]] = record["value"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            # The last line of a run that was killed, or an unreadable reply.
            return

    def value(self, question: Prompt) -> str | None:
        """What the reply to a question says; None if there is none."""
        return self._values.get(query_of(question).key)

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """For the runner: something if there is a reply."""
        return self._values.get(key)

    def catch_up(self) -> None:
        """Do nothing: all replies are in memory."""

    def keep(self, key: str, value: str, reply: str, created: str) -> None:
        """Append a reply. Raises StoreWriteError."""
        record = {
            "key": key, "model": self._model, "value": value, "reply": reply, "created": created,
        }  # fmt: skip
        self.append(record)
        self._values[key] = value

    def append(self, record: Mapping[str, Any]) -> None:
        """Append any record, for people to read. Raises StoreWriteError."""
        append_lines(self._path, [json_line(record)])


class PlainModel:
    """A model whose replies are plain text, as chats get them. `seconds` is for one reply."""

    def __init__(self, model: Any, seconds: float) -> None:
        self.name: str = model.name
        self.model: str = model.model
        self._inner = model
        self._seconds = seconds

    def complete(self, prompt: Prompt) -> Completion:
        """The model's reply. Raises ProviderError."""
        messages = ({"role": "user", "content": prompt.asked},)
        ask = Ask(self.model, prompt.fixed, messages, prompt.most_tokens, self._seconds)
        text, finish = "", Finish(self.model)
        with closing(self._inner.stream(ask, Abort())) as parts:
            for part in parts:
                if isinstance(part, Finish):
                    finish = part
                else:
                    text += part
        fault = "truncated" if finish.cut else "" if text.strip() else "empty"
        return Completion(text, finish.model, finish.usage, fault)

    def close(self) -> None:
        self._inner.close()


class _Writer:
    """Asks one question a request."""

    fingerprint = "question"

    def __init__(self, model: Model, questions: Sequence[Prompt]) -> None:
        self.name = model.name
        self._model = model
        self._by_key = {query_of(one).key: one for one in questions}

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """The reply to one question. Raises ProviderRetryError and ProviderStopError."""
        (task,) = tasks
        completion = self._model.complete(self._by_key[task.query.key])
        drafts = (Draft(task, {"reply": completion.text}),) if completion.text else ()
        fault = "" if drafts else completion.fault or "empty"
        return Drafts(drafts, completion.model, completion.usage, fault)

    def estimate(self, tasks: Sequence[Task]) -> Estimate:
        prompts = [self._by_key[task.query.key] for task in tasks]
        size = sum(estimate_tokens(p.fixed) + estimate_tokens(p.asked) for p in prompts)
        most = sum(prompt.most_tokens for prompt in prompts)
        return Estimate(len(tasks), size, most // _USUAL, most)


@dataclass
class _Sink:
    """Keeps the replies that say something."""

    replies: RepliesFile
    read: Read
    stamp: Callable[[], str]
    price: Price | None
    report: Report

    def take(self, tasks: Sequence[Task], written: Drafts) -> list[Task]:
        """Keep replies; returns the tasks that have none."""
        usage = written.usage or Usage()
        self.report.usage += usage
        self.report.cost_usd += self.price.cost(usage) if self.price else 0.0
        again = {task.name: task.refused((Refusal(written.fault or "missing"),)) for task in tasks}
        if written.fault:
            self.report.faults[written.fault] += 1
        for draft in written.drafts:
            reply = cleaned_text(str(draft.response["reply"]))[:_MOST_REPLY]
            value = self.read(reply)
            if value is None:
                self.report.faults["unreadable"] += 1
                self.set_reply_aside(tasks, "unreadable", reply)
            else:
                self.replies.keep(draft.task.query.key, value, reply, self.stamp())
                del again[draft.task.name]
                self.report.cooked += 1
        return list(again.values())

    def settle(self) -> float:
        """Nothing: a reply has no entry that could carry its cost, the report has it."""
        return 0.0

    def set_reply_aside(self, tasks: Sequence[Task], fault: str, reply: str) -> None:
        """Keep a reply that says nothing; it does not count as one."""
        self.replies.append({"fault": fault, "reply": reply})


def ask(
    options: BuildOptions,
    context: BuildContext,
    questions: Sequence[Prompt],
    path: Path,
    read: Read,
    *,
    plain: bool = False,
) -> tuple[RepliesFile, Report]:
    """Ask a model questions, in their order, within the options' budget; `plain` without a schema.

    Raises OperatorError; the replies until then are kept in `path`.
    """
    settings = context.settings
    choice = choose(settings, options.provider, options.model, "small")
    if choice.local:
        raise PlanError(f"provider {choice.name} asks no model; name one, for example gemini")
    made = make_model(choice, settings)
    choice = replace(choice, model=made.model)
    model = PlainModel(made, settings.timeout) if plain else made
    replies = RepliesFile(path, f"{choice.name} {choice.model}")
    report = Report()
    try:
        price = price_of(options, context, choice)
        meter = Meter(model, report, limiter_of(options, context, choice))
        writer = _Writer(meter, questions)
        sink = _Sink(replies, read, context.clock.stamp, price, report)
        with Show(len(questions), context.err) as progress:
            Runner(
                writer, sink, replies, context.clock,
                pace_of(choice, settings, None, options.concurrency), meter,
                Budget(price, writer.estimate, options.budget_usd), (), context.rng, progress,
            ).run(Job(query_of(one), 0, "question") for one in questions)  # fmt: skip
    except UnfinishedError as error:
        raise UnfinishedError(f"{error}; the replies until then are kept in {path}") from None
    finally:
        model.close()
    return replies, report
