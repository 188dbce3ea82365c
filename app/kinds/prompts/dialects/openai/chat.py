"""OpenAI: chat completions. https://platform.openai.com/docs/api-reference/chat"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from app.kinds.prompts.dialects.openai.completions import (
    FINISH,
    ChunkWriter,
    ReplyReader,
    read_options,
    render_stream_error,
    usage_of,
    wire_of,
)
from app.kinds.prompts.dialects.openai.conversation import (
    ROLES,
    call_id,
    read_content,
    read_format,
    read_tool_choice,
    read_tools,
)
from app.kinds.prompts.dialects.wire import (
    Members,
    Stamp,
    Wire,
    arguments_text,
    bad_field,
    events_of,
    tool_call,
)
from app.kinds.prompts.reply import Choice, Chunk, Reply
from app.kinds.prompts.request import Message, PromptRequest, Role, ToolCall

__all__ = ["ReplyReader", "read", "render", "render_stream", "render_stream_error"]
_ROLES: Mapping[str, Role] = {**ROLES, "tool": "tool", "function": "tool"}


def read(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/v1/chat/completions`. Raises BadFieldError."""
    members = Members(body)
    messages = tuple(_message(item) for item in members.objects("messages"))
    if not messages:
        raise bad_field("messages", "a list with at least one message")
    choice = members.get("tool_choice")
    request = PromptRequest(
        operation="chat",
        model=members.text("model"),
        messages=messages,
        tools=tuple(read_tools(members)),
        tool_choice=read_tool_choice(members.get("function_call") if choice is None else choice),
        format=read_format(members.inner("response_format")),
        options=read_options(members),
    )
    return request, wire_of("chat", members)


def _message(item: Members) -> Message:
    theirs, role = item.role(_ROLES)
    parts = tuple(read_content(item))
    if role == "tool":
        return Message(role, parts, (), item.text("tool_call_id") or item.text("name"))
    return Message(role, parts, tuple(_tool_calls(item)) if theirs == "assistant" else ())


def _tool_calls(item: Members) -> Iterator[ToolCall]:
    for call in item.objects("tool_calls"):
        if call.get("custom") is not None:
            yield tool_call(call.inner("custom"), call.text("id"), "input")
        else:
            yield tool_call(call.inner("function"), call.text("id"))
    if item.get("function_call") is not None:
        yield tool_call(item.inner("function_call"))


def render(reply: Reply, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The body of a whole reply."""
    choices = [_choice(number, found) for number, found in enumerate(reply.choices)]
    head = _head("chat.completion", wire.model or reply.model, stamp)
    return {**head, "choices": choices, "usage": usage_of(reply)}


def _head(kind: str, model: str, stamp: Stamp) -> dict[str, Any]:
    return {"id": f"chatcmpl-{stamp.id}", "object": kind, "created": stamp.created, "model": model}


def _choice(number: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
    if choice.tool_calls:
        message["content"] = choice.text or None
        message["tool_calls"] = [
            {
                "id": call_id(call.id, number, index),
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_text(call)},
            }
            for index, call in enumerate(choice.tool_calls)
        ]
    return {
        "index": number,
        "message": message,
        "logprobs": None,
        "finish_reason": FINISH[choice.finish],
    }


def render_stream(
    events: Generator[Chunk, None, Reply], wire: Wire, stamp: Stamp
) -> Iterator[bytes]:
    """The server-sent events of a reply, each as soon as its chunk is there."""
    chunks = ChunkWriter(_head("chat.completion.chunk", wire.model, stamp), "usage" in wire.marks)
    first = {"delta": {"role": "assistant", "content": ""}}
    begun: set[int] = set()
    for event in events_of(events):
        if isinstance(event, Chunk):
            if event.choice not in begun:
                yield chunks.choice(event.choice, first)
            begun.add(event.choice)
            yield chunks.choice(event.choice, {"delta": _delta(event)})
            continue
        for number, choice in enumerate(event.choices):
            if number not in begun:
                yield chunks.choice(number, first)
            yield chunks.choice(number, {"delta": {}}, FINISH[choice.finish])
        yield from chunks.end(event)


def _delta(chunk: Chunk) -> dict[str, Any]:
    if chunk.call is None:
        return {"content": chunk.text}
    call: dict[str, Any] = {"index": chunk.call, "function": {"arguments": chunk.text}}
    if chunk.name:
        call["id"] = call_id(chunk.id, chunk.choice, chunk.call)
        call["type"] = "function"
        call["function"]["name"] = chunk.name
    return {"tool_calls": [call]}
