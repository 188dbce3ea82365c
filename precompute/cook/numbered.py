"""Providers that ask a model for several texts in a request, by numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xxhash

from app.kinds.tasks import Draft, Drafts, Task
from app.providers import Completion, Model, Prompt
from app.providers.model_json import answers_in


class NumberedWriter:
    """A provider that gives each task of a request a number, which the model repeats.

    The reply is `{"<member>": [{"id": 1, "text": …}, …]}`. The fingerprint is that of `instructions`,
    which are the same in all requests, with the name `kind`.
    """

    kind = ""

    def __init__(self, model: Model, instructions: str, member: str) -> None:
        self.name = model.name
        self.model = model
        self._member = member
        digest = xxhash.xxh3_64_hexdigest(instructions.encode())
        self.fingerprint = f"{self.kind}:{digest}"

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON schema of a reply."""
        item = {
            "type": "object",
            "properties": {"id": {"type": "integer"}, "text": {"type": "string"}},
            "required": ["id", "text"],
        }
        return {
            "type": "object",
            "properties": {self._member: {"type": "array", "items": item}},
            "required": [self._member],
        }

    def prompt(self, tasks: Sequence[Task]) -> Prompt:
        """The prompt for some tasks, which have the numbers 1, 2, 3 …"""
        raise NotImplementedError

    def response(self, task: Task, text: object, model: str) -> Mapping[str, object]:
        """The response of an entry that has this text, written by that model."""
        raise NotImplementedError

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """Drafts from one request for all tasks. Raises ProviderError."""
        return self.read(tasks, self.model.complete(self.prompt(tasks)))

    def read(self, tasks: Sequence[Task], completion: Completion) -> Drafts:
        """Parse a reply to the prompt for the same tasks."""
        named = {str(number): task for number, task in enumerate(tasks, 1)}

        def response(task: Task, answer: Mapping[str, Any]) -> Mapping[str, object]:
            return self.response(task, answer.get("text"), completion.model)

        return drafts_in(completion, named, self._member, response)


def drafts_in(
    completion: Completion,
    named: Mapping[str, Task],
    member: str,
    response: Callable[[Task, Mapping[str, Any]], Mapping[str, object]],
) -> Drafts:
    """The drafts in a reply, whose answers repeat the names of tasks as `id`; of one task it may be missing.

    `response` makes a task's response of its answer.
    """
    waiting = dict(named)
    only = next(iter(named)) if len(named) == 1 else ""
    answers, fault = answers_in(completion, len(named), member)
    found = [(waiting.pop(str(answer.pop("id", only)), None), answer) for answer in answers]
    drafts = tuple(Draft(task, response(task, answer)) for task, answer in found if task)
    fault = fault or ("" if answers else "empty")
    return Drafts(
        drafts,
        completion.model,
        completion.usage,
        fault,
        strays=len(answers) - len(drafts),
        reply=completion.text if fault else "",
    )
