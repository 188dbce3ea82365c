"""OpenAI: completions, and what they share with chat completions.

https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.kinds.prompts.dialects.openai import render_error
from app.kinds.prompts.dialects.openai.conversation import tokens
from app.kinds.prompts.dialects.upstream import ObjectReader, failed
from app.kinds.prompts.dialects.wire import (
    MOST_CHOICES,
    Members,
    Stamp,
    Wire,
    bad_field,
    clean,
    dumps,
    events_of,
    is_token_row,
)
from app.kinds.prompts.reply import Choice, Chunk, Finish, Reply
from app.kinds.prompts.request import Message, PromptRequest

FINISH = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "refused": "content_filter",
}
_FINISHED: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refused",
}


def read(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/v1/completions`. Raises BadFieldError."""
    members = Members(body)
    prompt = members.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if len(prompts) != 1:
        # Texts one by one, or the tokens of one text.
        prompts = [dumps(prompts)] if is_token_row(prompts) else prompts
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        raise bad_field("prompt", "a text; several prompts in one request are not served")
    request = PromptRequest(
        operation="complete",
        model=members.text("model"),
        messages=(Message.of("user", clean(prompts[0])),),
        options=read_options(members),
    )
    return request, wire_of("complete", members)


def read_options(members: Members) -> dict[str, Any]:
    """The options of a request. Raises BadFieldError."""
    options = members.options(
        "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
        "logit_bias", "logprobs", "parallel_tool_calls", "service_tier", "suffix", "verbosity",
        reasoning="reasoning_effort",
    ) | members.stops("stop")  # fmt: skip
    most = members.get("max_completion_tokens") or members.get("max_tokens")
    if most is not None:
        options["max_tokens"] = most
    if (choices := members.count("n", 1, 1, MOST_CHOICES)) > 1:
        options["n"] = choices
    return options


def wire_of(form: str, members: Members) -> Wire:
    """What rendering needs to know of a request."""
    usage = members.inner("stream_options").switch("include_usage")
    marks = frozenset(["usage"] if usage else [])
    return Wire(form, members.text("model"), members.switch("stream"), marks)


# Rendering.


def render(reply: Reply, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The body of a whole reply."""
    head = _head(wire.model or reply.model, stamp)
    choices = [
        {"index": number, "text": choice.text, "logprobs": None, "finish_reason": _finish(choice)}
        for number, choice in enumerate(reply.choices)
    ]
    return {**head, "choices": choices, "usage": usage_of(reply)}


def _head(model: str, stamp: Stamp) -> dict[str, Any]:
    kind = "text_completion"
    return {"id": f"cmpl-{stamp.id}", "object": kind, "created": stamp.created, "model": model}


def _finish(choice: Choice) -> str:
    # A completion calls no tools.
    return "stop" if choice.finish == "tool_calls" else FINISH[choice.finish]


def usage_of(reply: Reply) -> dict[str, int]:
    """The tokens of a reply."""
    prompt, output = reply.usage
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}


@dataclass(frozen=True, slots=True)
class ChunkWriter:
    """Renders the server-sent events of a stream. `head` has the members that all of them have."""

    head: Mapping[str, Any]
    usage: bool

    def choice(self, number: int, inner: Mapping[str, Any], finish: str | None = None) -> bytes:
        """A chunk of a choice, or its end."""
        one = {"index": number, **inner, "logprobs": None, "finish_reason": finish}
        return _data({**self.head, "choices": [one], **({"usage": None} if self.usage else {})})

    def end(self, reply: Reply) -> Iterator[bytes]:
        """The end of the stream."""
        if self.usage:
            yield _data({**self.head, "choices": [], "usage": usage_of(reply)})
        yield b"data: [DONE]\n\n"


def _data(value: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % dumps(value).encode()


def render_stream(
    events: Generator[Chunk, None, Reply], wire: Wire, stamp: Stamp
) -> Iterator[bytes]:
    """The server-sent events of a reply, each as soon as its chunk is there."""
    chunks = ChunkWriter(_head(wire.model, stamp), "usage" in wire.marks)
    for event in events_of(events):
        if isinstance(event, Chunk):
            yield chunks.choice(event.choice, {"text": event.text})
            continue
        for number, choice in enumerate(event.choices):
            yield chunks.choice(number, {"text": ""}, _finish(choice))
        yield from chunks.end(event)


def render_stream_error(message: str, wire: Wire) -> bytes:
    """An error that ends a stream."""
    return _data(render_error(500, message))


# Reading what an upstream answered.


class ReplyReader(ObjectReader):
    """Reads replies to completions and chat completions."""

    # The member of a choice that has what it says.
    _said = "delta"

    def whole(self, body: Any) -> Reply:
        """Parse a whole reply. Raises UpstreamError."""
        self._said = "message"
        return super().whole(body)

    def take(self, value: Members) -> list[Chunk]:
        """The chunks of one event. Raises UpstreamError if it is an error."""
        if (error := value.get("error")) is not None:
            raise failed(error.get("message") if isinstance(error, dict) else error)
        self.model = value.text("model") or self.model
        if value.get("usage"):
            self.usage = tokens(value.inner("usage"))
        found = []
        for choice in value.objects("choices"):
            number = choice.count("index")
            found += [self.add(chunk) for chunk in self._chunks(choice, number)]
            if reason := choice.text("finish_reason"):
                self.finish(number, _FINISHED.get(reason, "stop"))
        return found

    def _chunks(self, choice: Members, number: int) -> Iterator[Chunk]:
        said = choice.inner(self._said)
        text = choice.get("text") or said.get("content") or said.get("refusal")
        if isinstance(text, str) and text:
            yield Chunk(number, clean(text))
        for place, call in enumerate(said.objects("tool_calls")):
            function = call.inner("custom" if call.get("custom") is not None else "function")
            arguments = function.text("arguments") or function.text("input")
            at = call.count("index", place)
            yield Chunk(number, arguments, 0.0, at, function.text("name"), call.text("id"))
