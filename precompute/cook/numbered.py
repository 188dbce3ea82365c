"""Providers that ask a model for several texts in a request, by numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        waiting = {str(number): task for number, task in enumerate(tasks, 1)}
        drafts, strays = [], 0
        answers, fault = answers_in(completion, len(tasks), self._member)
        only = "1" if len(tasks) == 1 else ""
        for answer in answers:
            task = waiting.pop(str(answer.get("id", only)), None)
            if task is None:
                strays += 1
            else:
                response = self.response(task, answer.get("text"), completion.model)
                drafts.append(Draft(task, response))
        fault = fault or ("" if answers else "empty")
        reply = completion.text if fault else ""
        return Drafts(
            tuple(drafts), completion.model, completion.usage, fault, strays=strays, reply=reply
        )
