"""A request to a language model, in a form that no client's protocol (dialect) shows in.

Codecs in `app.kinds.prompts.dialects` make these values from a request's body; the key is computed
from them. What changes by itself from call to call (ids, user, metadata, times) and how the reply is
to be sent (stream) is not in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Operation = Literal["chat", "complete", "embed"]
Role = Literal["system", "user", "assistant", "tool"]


class Text(NamedTuple):
    """A part of a message that is text."""

    text: str


class Media(NamedTuple):
    """A part of a message that is not text. Its bytes are not kept.

    `kind` is image, audio or file; `mime` its media type, "" if the client does not say; `digest` the
    SHA-256 of its bytes, or of its URL if the client sends none, as 64 hex digits.
    """

    kind: str
    mime: str
    digest: str

    @classmethod
    def of(cls, kind: str, mime: str, content: bytes | str) -> Media:
        """A part from its bytes, or from its URL."""
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        return cls(kind, mime, hashlib.sha256(raw).hexdigest())


Part = Text | Media


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model's wish to call a tool. `arguments` is a JSON value; `id` is "" if there is none."""

    name: str
    arguments: Any
    id: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. The system text of every dialect is a leading message of the role system.

    `answers`, of a tool's message, is the id of the call that it answers, or else the tool's name.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    answers: str = ""

    @classmethod
    def of(cls, role: Role, text: str) -> Message:
        """A message that is one text."""
        return cls(role, (Text(text),))

    @property
    def text(self) -> str:
        """The texts of its parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a model may call; `parameters` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: Any = None


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """A request, whatever its dialect.

    `messages` are those of a chat; for `complete`, one message of the user. `inputs` are the texts to
    embed. `format` is None, "json", or a JSON schema. `tool_choice` is None, "auto", "none",
    "required", or the name of a tool as {"name": …}. `options` have the canonical names of
    `app.kinds.prompts.key.OPTIONS`; an option that the client did not send is not there.
    """

    operation: Operation
    model: str
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: Any = None
    format: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """The characters of its messages and inputs."""
        return sum(len(message.text) for message in self.messages) + sum(map(len, self.inputs))

    def to_json(self) -> dict[str, Any]:
        """The request as JSON values; members that are empty are left out."""
        members: dict[str, Any] = {
            "operation": self.operation,
            "model": self.model,
            "messages": [_message_to_json(message) for message in self.messages],
            "tools": [_tool_to_json(tool) for tool in self.tools],
            "tool_choice": self.tool_choice,
            "format": self.format,
            "options": dict(self.options),
            "inputs": list(self.inputs),
        }
        return _filled(members)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PromptRequest:
        """Parse what `to_json` made. Raises KeyError, TypeError or AttributeError otherwise."""
        return cls(
            operation=value["operation"],
            model=value.get("model", ""),
            messages=tuple(_message_from_json(one) for one in value.get("messages", ())),
            tools=tuple(
                Tool(one["name"], one.get("description", ""), one.get("parameters"))
                for one in value.get("tools", ())
            ),
            tool_choice=value.get("tool_choice"),
            format=value.get("format"),
            options=value.get("options", {}),
            inputs=tuple(value.get("inputs", ())),
        )


def _filled(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "", [], {})}


def _message_to_json(message: Message) -> dict[str, Any]:
    members = {
        "role": message.role,
        "parts": [
            part.text if isinstance(part, Text) else part._asdict() for part in message.parts
        ],
        "tool_calls": calls_to_json(message.tool_calls),
        "answers": message.answers,
    }
    return _filled(members)


def _message_from_json(value: Mapping[str, Any]) -> Message:
    parts: Iterable[Part] = (
        Text(part) if isinstance(part, str) else Media(**part) for part in value.get("parts", ())
    )
    calls = calls_from_json(value.get("tool_calls", ()))
    return Message(value["role"], tuple(parts), calls, value.get("answers", ""))


def _tool_to_json(tool: Tool) -> dict[str, Any]:
    members = {"description": tool.description, "parameters": tool.parameters}
    return {"name": tool.name, **_filled(members)}


def calls_to_json(calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
    """Tool calls as JSON values."""
    return [
        {"name": call.name, "arguments": call.arguments, **({"id": call.id} if call.id else {})}
        for call in calls
    ]


def calls_from_json(values: Iterable[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """Parse what `calls_to_json` made. Raises KeyError or TypeError otherwise."""
    return tuple(ToolCall(one["name"], one["arguments"], one.get("id", "")) for one in values)
