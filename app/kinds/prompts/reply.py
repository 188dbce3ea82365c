"""A model's reply, in a form that no client's protocol (dialect) shows in, and how it is stored.

A reply that was recorded from a stream has the chunks in which it came and when they came; every
reply can be sent as a stream (`Reply.chunks`) and as a whole, however it was recorded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from app.kinds.ladder import returned
from app.kinds.prompts.request import PromptRequest, ToolCall, calls_from_json, calls_to_json

Finish = Literal["stop", "length", "tool_calls", "refused"]
# What `About.tier` is: found as it was asked, found for a like prompt, just asked upstream.
Tier = Literal["exact", "near", "recorded"]
EXACT: Tier = "exact"
NEAR: Tier = "near"
ASKED: Tier = "recorded"

# What a reply without recorded chunks is cut into when it is streamed: words with the space before
# them; of scripts without spaces, a few characters.
_WORD = re.compile(r"\s*\S{1,12}|\s+")


class Chunk(NamedTuple):
    """A chunk of a streamed reply.

    `choice` is the number of the choice that it continues; `at` the milliseconds since the request.
    `call` is the number of a tool call, of whose arguments, as JSON text, `text` is a fragment; the
    first fragment of a call has the tool's `name`, and the call's `id` if it has one. Where `call` is
    None, `text` is a fragment of the choice's text.
    """

    choice: int
    text: str
    at: float = 0.0
    call: int | None = None
    name: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers in a reply."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"


class Tokens(NamedTuple):
    """Tokens of the request and of the reply."""

    prompt: int = 0
    output: int = 0


NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. `model` is what the upstream said that it ran.

    `embeddings` are those of the request's inputs, in order. `pace` are the chunks as they came,
    empty if the reply did not come as a stream. `not_kept` is why a reply that was just asked upstream is
    not recorded, empty if it is; the store does not have it.
    """

    choices: tuple[Choice, ...] = ()
    model: str = ""
    usage: Tokens = NO_TOKENS
    embeddings: tuple[tuple[float, ...], ...] = ()
    pace: tuple[Chunk, ...] = ()
    not_kept: str = ""

    def chunks(self) -> Iterator[Chunk]:
        """The chunks in which to stream it: as they came, else words."""
        return iter(self.pace) if self.pace else self._cut()

    def _cut(self) -> Iterator[Chunk]:
        for number, choice in enumerate(self.choices):
            for word in _WORD.findall(choice.text):
                yield Chunk(number, word)
            for place, call in enumerate(choice.tool_calls):
                arguments = json.dumps(call.arguments, ensure_ascii=False)
                yield Chunk(number, arguments, 0.0, place, call.name, call.id)

    def to_text(self) -> str:
        """The reply as the store keeps it, a text of JSON."""
        members: dict[str, Any] = {
            "choices": [
                {
                    "text": choice.text,
                    "tool_calls": calls_to_json(choice.tool_calls),
                    "finish": choice.finish,
                }
                for choice in self.choices
            ],
            "model": self.model,
            "usage": list(self.usage),
        }
        if self.embeddings:
            members["embeddings"] = self.embeddings
        if self.pace:
            members["pace"] = [tuple(chunk) for chunk in self.pace]
        return orjson.dumps(members).decode()

    @classmethod
    def from_text(cls, text: str | bytes) -> Reply:
        """Parse what `to_text` made. Raises ValueError, KeyError or TypeError otherwise."""
        value: Mapping[str, Any] = orjson.loads(text)
        return cls(
            choices=tuple(
                Choice(one["text"], calls_from_json(one["tool_calls"]), one["finish"])
                for one in value["choices"]
            ),
            model=value["model"],
            usage=Tokens(*value["usage"]),
            embeddings=tuple(map(tuple, value.get("embeddings", ()))),
            pace=tuple(Chunk(*one) for one in value.get("pace", ())),
        )


class About(NamedTuple):
    """What an answer says of itself, known before its first chunk.

    `tier` is exact, near, recorded (just asked upstream), or one of another kind's; `key` the key of the stored entry;
    `distance` how far a near answer's request is from the one asked, from 0 to 1.
    """

    tier: str
    key: str
    distance: float = 0.0


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """An answer to a request: `events` yields chunks if they were asked for; it returns the reply.

    `fixed` is whether everybody who asks the same gets the same, until the deck's state changes;
    `ready` whether all chunks are there, without a wait in between.
    """

    about: About
    events: Generator[Chunk, None, Reply]
    fixed: bool = False
    ready: bool = False

    def whole(self) -> Reply:
        """The reply, once it is complete."""
        return returned(self.events)


class ReplyReader(Protocol):
    """Reads one reply of an upstream, as the dialect's codec knows it: a whole or a stream."""

    def whole(self, body: Any) -> Reply:
        """Parse a reply that is not a stream, a JSON value. Raises UpstreamError."""

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks of a stream that are complete with these bytes, which may be cut anywhere.

        Their `at` is 0. Raises UpstreamError.
        """

    def end(self) -> Reply:
        """The whole reply of a stream, without `pace`. Raises UpstreamError if it was cut."""


class Asked(NamedTuple):
    """A request as it came, from which it can be sent to an upstream.

    `dialect` is openai, ollama or gemini; `path` begins after the upstream's base URL, as in
    /chat/completions, /api/chat, /v1beta/models/M:generateContent, with its query if that decides the
    form (alt=sse) but never with a client's key. `body` is what the client sent. `stream` is whether
    the client wants chunks. `reader` makes a reader of the reply. `conversation` is what its turns have in common: a session's id, an address.
    `waits` is called before somebody else is waited for: a service, a model.
    """

    request: PromptRequest
    dialect: str
    path: str
    body: bytes
    stream: bool
    reader: Callable[[], ReplyReader]
    conversation: str = ""
    waits: Callable[[], object] = bool
