"""OpenAI: responses, whole and as typed events.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.errors import UpstreamError
from app.kinds.prompts.dialects.openai.conversation import (
    ROLES,
    call_id,
    read_content,
    read_format,
    read_tool_choice,
    read_tools,
    tokens,
)
from app.kinds.prompts.dialects.upstream import ObjectReader, cut_off, failed, upstream_object
from app.kinds.prompts.dialects.wire import (
    Members,
    Stamp,
    Wire,
    arguments_text,
    bad_field,
    clean,
    dumps,
    events_of,
    other_part,
    system_message,
    text_part,
    tool_call,
)
from app.kinds.prompts.reply import Choice, Chunk, Finish, Reply
from app.kinds.prompts.request import Message, PromptRequest, ToolCall

# The client makes the whole conversation of it, which this server does not keep.
_UNKEPT = ("previous_response_id", "conversation", "prompt")


def read(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/v1/responses`. Raises BadFieldError."""
    members = Members(body)
    for name in _UNKEPT:
        if members.get(name) is not None:
            raise bad_field(name, "left out: send the whole conversation in 'input'")
    text, reasoning = members.inner("text"), members.inner("reasoning")
    options = members.options(
        "temperature",
        "top_p",
        "service_tier",
        "parallel_tool_calls",
        max_tokens="max_output_tokens",
    )
    options |= reasoning.options(reasoning="effort") | text.options("verbosity")
    request = PromptRequest(
        operation="chat",
        model=members.text("model"),
        messages=(*system_message(members.text("instructions")), *_input(members)),
        tools=tuple(read_tools(members)),
        tool_choice=read_tool_choice(members.get("tool_choice")),
        format=read_format(text.inner("format")),
        options=options,
    )
    return request, Wire("responses", members.text("model"), members.switch("stream"))


def _input(members: Members) -> Iterator[Message]:
    given = members.get("input")
    if isinstance(given, str):
        yield Message.of("user", clean(given))
        return
    items = list(members.objects("input"))
    if not items:
        raise bad_field("input", "a text or a list of items")
    pending: list[ToolCall] = []
    for item in items:
        if item.text("type", "message") == "function_call":
            # The calls of one turn are items of their own here.
            pending.append(tool_call(item, item.text("call_id")))
            continue
        yield from _asked(pending)
        yield from _item(item)
    yield from _asked(pending)


def _asked(pending: list[ToolCall]) -> Iterator[Message]:
    if pending:
        yield Message("assistant", (), tuple(pending))
        pending.clear()


def _item(item: Members) -> Iterator[Message]:
    kind = item.text("type", "message")
    if kind == "function_call_output":
        output = item.get("output")
        text = output if isinstance(output, str) else dumps(output)
        yield Message("tool", (text_part(text),), (), item.text("call_id"))
    elif kind == "message":
        yield Message(item.role(ROLES, "user")[1], tuple(read_content(item)))
    elif kind not in ("reasoning", "item_reference"):
        # What tools of the service itself did.
        yield Message("assistant", (other_part(item.value),))


def render(reply: Reply, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The body of a whole response."""
    return _Response(wire, stamp).finished(reply)


def render_stream(
    events: Generator[Chunk, None, Reply], wire: Wire, stamp: Stamp
) -> Iterator[bytes]:
    """The typed events of a response."""
    response = _Response(wire, stamp)
    yield response.event("response.created", {"response": response.head("in_progress", [])})
    yield response.event("response.in_progress", {"response": response.head("in_progress", [])})
    for event in events_of(events):
        if isinstance(event, Chunk):
            # A response has one choice.
            if event.choice == 0:
                yield from response.chunk(event)
        else:
            yield from response.end(event)


def render_stream_error(message: str, wire: Wire) -> bytes:
    """An error that ends a stream."""
    error = {"type": "error", "message": message, "code": "upstream", "param": None}
    return b"event: error\ndata: %b\n\n" % dumps({**error, "sequence_number": 0}).encode()


@dataclass
class _Item:
    """An item of the output while it is streamed: the message, or a function call."""

    index: int
    call: ToolCall | None = None
    text: str = ""


@dataclass
class _Response:
    """A response while it is rendered. `items` by number of the tool call, None for the text."""

    wire: Wire
    stamp: Stamp
    items: dict[int | None, _Item] = field(default_factory=dict)
    sequence: int = 0

    def event(self, kind: str, members: Mapping[str, Any]) -> bytes:
        value = {"type": kind, "sequence_number": self.sequence, **members}
        self.sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps(value).encode())

    def head(self, status: str, output: list[Any]) -> dict[str, Any]:
        return {
            "id": f"resp_{self.stamp.id}",
            "object": "response",
            "created_at": self.stamp.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self.wire.model,
            "output": output,
            "parallel_tool_calls": True,
            "temperature": None,
            "tool_choice": "auto",
            "tools": [],
            "top_p": None,
            "usage": None,
        }

    def message(self, text: str, status: str = "completed") -> dict[str, Any]:
        content = [self._part(text)] if status != "in_progress" else []
        return {
            "type": "message",
            "id": f"msg_{self.stamp.id}",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def function_call(
        self, call: ToolCall, index: int, arguments: str, status: str = "completed"
    ) -> dict[str, Any]:
        return {
            "type": "function_call",
            "id": f"fc_{self.stamp.id}_{index}",
            "call_id": call_id(call.id, 0, index),
            "name": call.name,
            "arguments": arguments,
            "status": status,
        }

    def finished(self, reply: Reply) -> dict[str, Any]:
        choice = reply.choices[0]
        output = [
            self.function_call(call, index, arguments_text(call))
            for index, call in enumerate(choice.tool_calls)
        ]
        cut = {"length": "max_output_tokens", "refused": "content_filter"}.get(choice.finish)
        if choice.text or not output:
            output.insert(0, self.message(choice.text, "incomplete" if cut else "completed"))
        prompt, written = reply.usage
        whole = self.head("incomplete" if cut else "completed", output)
        whole["model"] = self.wire.model or reply.model
        whole["incomplete_details"] = {"reason": cut} if cut else None
        whole["usage"] = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + written,
        }
        return whole

    def chunk(self, chunk: Chunk) -> Iterator[bytes]:
        item = self.items.get(chunk.call)
        if item is None:
            call = None if chunk.call is None else ToolCall(chunk.name, "", chunk.id)
            item = self.items[chunk.call] = _Item(len(self.items), call)
            yield from self._begin(chunk.call, item)
        item.text += chunk.text
        place = {"item_id": self._id(chunk.call), "output_index": item.index}
        if chunk.call is None:
            delta = {**place, "content_index": 0, "delta": chunk.text, "logprobs": []}
            yield self.event("response.output_text.delta", delta)
        else:
            delta = {**place, "delta": chunk.text}
            yield self.event("response.function_call_arguments.delta", delta)

    def _id(self, number: int | None) -> str:
        return f"msg_{self.stamp.id}" if number is None else f"fc_{self.stamp.id}_{number}"

    def _begin(self, number: int | None, item: _Item) -> Iterator[bytes]:
        if item.call is None or number is None:
            added = self.message("", "in_progress")
        else:
            added = self.function_call(item.call, number, "", "in_progress")
        place = {"output_index": item.index}
        yield self.event("response.output_item.added", {**place, "item": added})
        if number is None:
            place = {**place, "item_id": self._id(None), "content_index": 0}  # type: ignore[dict-item]
            yield self.event("response.content_part.added", {**place, "part": self._part("")})

    def end(self, reply: Reply) -> Iterator[bytes]:
        if not self.items:
            yield from self.chunk(Chunk(0, ""))
        for number, item in self.items.items():
            yield from self._done(number, item)
        whole = self.finished(reply)
        # In the order in which the items were streamed.
        order = {self._id(number): item.index for number, item in self.items.items()}
        whole["output"].sort(key=lambda item: order.get(item["id"], len(order)))
        yield self.event(f"response.{whole['status']}", {"response": whole})

    def _done(self, number: int | None, item: _Item) -> Iterator[bytes]:
        place: dict[str, Any] = {"item_id": self._id(number), "output_index": item.index}
        if item.call is None or number is None:
            text = {**place, "content_index": 0}
            yield self.event(
                "response.output_text.done", {**text, "text": item.text, "logprobs": []}
            )
            yield self.event("response.content_part.done", {**text, "part": self._part(item.text)})
            whole = self.message(item.text)
        else:
            done = {**place, "arguments": item.text}
            yield self.event("response.function_call_arguments.done", done)
            whole = self.function_call(item.call, number, item.text)
        yield self.event("response.output_item.done", {"output_index": item.index, "item": whole})


# Reading what an upstream answered.


class ReplyReader(ObjectReader):
    """Reads responses; the last event of a stream has the whole response."""

    def __init__(self) -> None:
        super().__init__()
        # The numbers of the tool calls, by the places of their items in the output.
        self._numbers: dict[int, int] = {}
        self._response: Any = None

    def whole(self, body: Any) -> Reply:
        """Parse a whole response. Raises UpstreamError."""
        members = upstream_object(body)
        if members.get("error") or members.get("status") in ("failed", "cancelled"):
            raise UpstreamError(
                502, f"the upstream's response failed: {members.get('error')}"[:500]
            )
        texts, calls = [], []
        for item in members.objects("output"):
            if item.get("type") == "message":
                parts = item.objects("content")
                texts += [part.text("text") or part.text("refusal") for part in parts]
            elif item.get("type") == "function_call":
                calls.append(tool_call(item, item.text("call_id")))
        finish: Finish = "tool_calls" if calls else "stop"
        if members.get("status") == "incomplete":
            why = members.inner("incomplete_details").get("reason")
            finish = "refused" if why == "content_filter" else "length"
        choice = Choice("".join(texts), tuple(calls), finish)
        return Reply((choice,), members.text("model"), tokens(members.inner("usage")))

    def take(self, value: Members) -> list[Chunk]:
        """The chunks of one event. Raises UpstreamError if it is an error."""
        kind, place = value.text("type"), value.count("output_index")
        if kind == "response.output_text.delta":
            return [Chunk(0, value.text("delta"))]
        if kind == "response.output_item.added":
            item = value.inner("item")
            if item.get("type") == "function_call":
                number = self._numbers[place] = len(self._numbers)
                return [Chunk(0, "", 0.0, number, item.text("name"), item.text("call_id"))]
        elif kind == "response.function_call_arguments.delta":
            return [Chunk(0, value.text("delta"), 0.0, self._numbers.get(place, 0))]
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            self._response = value.get("response")
        elif kind == "error":
            raise failed(value.text("message"))
        return []

    def end(self) -> Reply:
        """The whole reply. Raises UpstreamError if the stream was cut."""
        if self._response is None:
            raise cut_off()
        return self.whole(self._response)
