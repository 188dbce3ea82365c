"""OpenAI: chat completions, completions, embeddings (`openai_responses` has the responses).

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import array
import base64
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from app.errors import UpstreamError
from app.kinds.prompts.dialects.wire import (
    MOST_CHOICES,
    Lines,
    Members,
    ReplyBuilder,
    Stamp,
    Wire,
    arguments_of,
    arguments_text,
    bad_field,
    clean,
    dumps,
    events_of,
    media_part,
    other_part,
    parsed,
    text_part,
    unreadable,
    upstream_object,
)
from app.kinds.prompts.reply import Choice, Finish, Piece, Reply, Tokens
from app.kinds.prompts.request import Message, Part, PromptRequest, Role, Tool, ToolCall

NAME = "openai"
# What ends a stream of server-sent events.
DONE = b"data: [DONE]\n\n"

_LITTLE = sys.byteorder == "little"
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "logit_bias": "logit_bias",
    "logprobs": "logprobs",
    "parallel_tool_calls": "parallel_tool_calls",
    "reasoning_effort": "reasoning",
    "service_tier": "service_tier",
    "suffix": "suffix",
    "verbosity": "verbosity",
}
_FINISH = {
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


def read_chat(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/v1/chat/completions`. Raises BadFieldError."""
    members = Members(body)
    messages = read_messages(members)
    tools = tuple(read_tools(members))
    request = PromptRequest(
        operation="chat",
        model=members.text("model"),
        messages=messages,
        tools=tools,
        tool_choice=read_tool_choice(members.get("tool_choice"), members.get("function_call")),
        format=_format(members),
        options=_options(members),
    )
    return request, _wire("chat", members)


def _wire(form: str, members: Members) -> Wire:
    usage = members.inner("stream_options").switch("include_usage")
    marks = frozenset(["usage"] if usage else [])
    return Wire(form, members.text("model"), members.switch("stream"), marks)


def _options(members: Members) -> dict[str, Any]:
    options = members.options(_OPTIONS)
    most = members.get("max_completion_tokens") or members.get("max_tokens")
    stops = members.stops("stop")
    choices = members.count("n", 1, 1, MOST_CHOICES)
    if most is not None:
        options["max_tokens"] = most
    if stops:
        options["stop"] = stops
    if choices > 1:
        options["n"] = choices
    return options


def _format(members: Members) -> Any:
    wanted = members.inner("response_format")
    kind = wanted.text("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        raise bad_field("response_format.type", "text, json_object or json_schema")
    return wanted.inner("json_schema").get("schema") or "json"


def read_messages(members: Members) -> tuple[Message, ...]:
    """The messages of a chat. Raises BadFieldError."""
    found = tuple(_message(item) for item in members.objects("messages"))
    if not found:
        raise bad_field("messages", "a list with at least one message")
    return found


def _message(item: Members) -> Message:
    role = item.text("role", None)
    if role not in _ROLES:
        raise bad_field(item.at("role"), f"one of {', '.join(_ROLES)}")
    parts = tuple(read_content(item))
    if role in ("tool", "function"):
        return Message("tool", parts, (), item.text("tool_call_id") or item.text("name"))
    asked = tuple(_tool_calls(item)) if role == "assistant" else ()
    return Message(_ROLES[role], parts, asked)


def read_content(item: Members) -> Iterator[Part]:
    """The parts of a message: a text, a list of parts, or nothing."""
    content = item.get("content")
    if isinstance(content, str):
        if content:
            yield text_part(content)
        return
    if isinstance(content, dict) or (content is not None and not isinstance(content, list)):
        raise bad_field(item.at("content"), "a text or a list of parts")
    for part in item.objects("content"):
        yield _part(part)


def _part(part: Members) -> Part:
    kind = part.text("type", "text")
    if kind in ("text", "input_text", "output_text"):
        return text_part(part.text("text", None))
    if kind == "refusal":
        return text_part(part.text("refusal", None))
    return _media(part, kind) or other_part(part.value)


def _media(part: Members, kind: str) -> Part | None:
    if kind in ("image_url", "input_image"):
        url = part.get("image_url")
        if isinstance(url, dict):
            url = part.inner("image_url").text("url", None)
        return media_part("image", "", url) if isinstance(url, str) else None
    if kind == "input_audio":
        audio = part.inner("input_audio")
        return media_part("audio", f"audio/{audio.text('format', 'wav')}", audio.text("data", None))
    if kind in ("file", "input_file"):
        file = part.inner("file") if kind == "file" else part
        data = file.text("file_data")
        return media_part("file", "", data) if data else None
    return None


def _tool_calls(item: Members) -> Iterator[ToolCall]:
    for call in item.objects("tool_calls"):
        kind = "custom" if call.get("custom") is not None else "function"
        function = call.inner(kind)
        arguments = function.get("input" if kind == "custom" else "arguments")
        yield ToolCall(function.text("name"), arguments_of(arguments), call.text("id"))
    if item.get("function_call") is not None:
        function = item.inner("function_call")
        yield ToolCall(function.text("name"), arguments_of(function.get("arguments")))


def read_tools(members: Members) -> Iterator[Tool]:
    """The tools of a chat, or of the responses, where their members stand one level higher."""
    for tool in members.objects("tools"):
        kind = tool.text("type", "function")
        if kind == "function":
            function = tool.inner("function") if tool.get("function") is not None else tool
            yield _function(function)
        else:
            # A custom tool, or one that the service itself runs.
            yield Tool(kind, "", tool.value)
    for function in members.objects("functions"):
        yield _function(function)


def _function(function: Members) -> Tool:
    return Tool(
        function.text("name", None), function.text("description"), function.get("parameters")
    )


def read_tool_choice(choice: Any, legacy: Any = None) -> Any:
    """Which tool to call, as `PromptRequest` has it. Raises BadFieldError."""
    chosen = legacy if choice is None else choice
    if chosen in (None, "auto", "none", "required"):
        return chosen
    if not isinstance(chosen, dict):
        raise bad_field("tool_choice", "none, auto, required or an object that names a function")
    function = chosen.get("function")
    name = (function if isinstance(function, dict) else chosen).get("name")
    return {"name": clean(name)} if isinstance(name, str) else chosen


def read_completion(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/v1/completions`. Raises BadFieldError."""
    members = Members(body)
    prompt = members.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    if len(prompts) != 1:
        # Texts one by one, or the tokens of one text.
        prompts = [dumps(prompts)] if _is_token_row(prompts) else prompts
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        raise bad_field("prompt", "a text; several prompts in one request are not served")
    request = PromptRequest(
        operation="complete",
        model=members.text("model"),
        messages=(Message.of("user", clean(prompts[0])),),
        options=_options(members),
    )
    return request, _wire("complete", members)


def _is_token_row(value: list[Any]) -> bool:
    return bool(value) and all(type(item) is int for item in value)


def read_embedding(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/v1/embeddings`. Raises BadFieldError."""
    members = Members(body)
    inputs = read_inputs(members, "input")
    encoding = members.text("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise bad_field("encoding_format", "float or base64")
    options = members.options({"dimensions": "dimensions"})
    model = members.text("model")
    marks = frozenset(["base64"] if encoding == "base64" else [])
    request = PromptRequest(operation="embed", model=model, inputs=inputs, options=options)
    return request, Wire("embed", model, marks=marks)


def read_inputs(members: Members, name: str) -> tuple[str, ...]:
    """The texts to embed: one or a list of them, or tokens as their JSON. Raises BadFieldError."""
    given = members.get(name)
    if isinstance(given, str):
        return (clean(given),)
    inputs = members.items(name)
    if _is_token_row(inputs):
        return (dumps(inputs),)
    if not inputs or not all(isinstance(i, str) or _is_token_list(i) for i in inputs):
        raise bad_field(members.at(name), "a text or a list of texts")
    return tuple(clean(i) if isinstance(i, str) else dumps(i) for i in inputs)


def _is_token_list(value: object) -> bool:
    return isinstance(value, list) and _is_token_row(value)


# Rendering.


def render(reply: Reply, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The body of a whole reply."""
    if wire.form == "embed":
        return _embeddings(reply, wire)
    head = _head(reply, wire, stamp, chunk=False)
    choice = _text_choice if wire.form == "complete" else _chat_choice
    choices = [choice(number, found) for number, found in enumerate(reply.choices)]
    return {**head, "choices": choices, "usage": _usage(reply)}


def _head(reply_or_none: Reply | None, wire: Wire, stamp: Stamp, *, chunk: bool) -> dict[str, Any]:
    prefix, kind = ("cmpl", "text_completion") if wire.form == "complete" else _CHAT[chunk]
    model = wire.model or (reply_or_none.model if reply_or_none else "")
    return {"id": f"{prefix}-{stamp.id}", "object": kind, "created": stamp.created, "model": model}


_CHAT = {False: ("chatcmpl", "chat.completion"), True: ("chatcmpl", "chat.completion.chunk")}


def _usage(reply: Reply) -> dict[str, int]:
    prompt, output = reply.usage
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }


def _chat_choice(number: int, choice: Choice) -> dict[str, Any]:
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
        "finish_reason": _FINISH[choice.finish],
    }


def call_id(id_: str, choice: int, index: int) -> str:
    """The id of a tool call; one is made for calls of dialects that have none."""
    return id_ or f"call_{choice}_{index}"


def _text_choice(number: int, choice: Choice) -> dict[str, Any]:
    finish = _FINISH[choice.finish]
    finish = "stop" if finish == "tool_calls" else finish
    return {"index": number, "text": choice.text, "logprobs": None, "finish_reason": finish}


def _embeddings(reply: Reply, wire: Wire) -> dict[str, Any]:
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": _packed(one) if "base64" in wire.marks else list(one),
        }
        for number, one in enumerate(reply.embeddings)
    ]
    usage = {"prompt_tokens": reply.usage.prompt, "total_tokens": reply.usage.prompt}
    return {"object": "list", "data": data, "model": wire.model or reply.model, "usage": usage}


def _packed(numbers: Iterable[float]) -> str:
    packed = array.array("f", numbers)
    if not _LITTLE:
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()


def _data(value: Mapping[str, Any]) -> bytes:
    return b"data: %b\n\n" % dumps(value).encode()


def render_stream(
    events: Generator[Piece, None, Reply], wire: Wire, stamp: Stamp
) -> Iterator[bytes]:
    """The server-sent events of a reply, each as soon as its piece is there."""
    head = _head(None, wire, stamp, chunk=True)
    begun: set[int] = set()
    chat = wire.form == "chat"
    last = {"usage": None} if "usage" in wire.marks else {}

    def chunk(number: int, inner: Mapping[str, Any], finish: str | None = None) -> bytes:
        one = {"index": number, **inner, "logprobs": None, "finish_reason": finish}
        return _data({**head, "choices": [one], **last})

    for event in events_of(events):
        if isinstance(event, Piece):
            if chat and event.choice not in begun:
                yield chunk(event.choice, {"delta": {"role": "assistant", "content": ""}})
            begun.add(event.choice)
            inner = _delta(event) if chat else {"text": event.text}
            yield chunk(event.choice, inner)
            continue
        for number, choice in enumerate(event.choices):
            if chat and number not in begun:
                yield chunk(number, {"delta": {"role": "assistant", "content": ""}})
            finish = (_chat_choice if chat else _text_choice)(number, choice)["finish_reason"]
            yield chunk(number, {"delta": {}} if chat else {"text": ""}, finish)
        if last:
            yield _data({**head, "choices": [], "usage": _usage(event)})
    yield DONE


def _delta(piece: Piece) -> dict[str, Any]:
    if piece.call is None:
        return {"delta": {"content": piece.text}}
    call: dict[str, Any] = {"index": piece.call, "function": {"arguments": piece.text}}
    if piece.name:
        call["id"] = call_id(piece.id, piece.choice, piece.call)
        call["type"] = "function"
        call["function"]["name"] = piece.name
    return {"delta": {"tool_calls": [call]}}


_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def render_error(status: int, message: str, code: str = "", field: str = "") -> dict[str, Any]:
    """The body of an error."""
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),
            "param": field or None,
            "code": code or None,
        }
    }


def render_stream_error(message: str, wire: Wire) -> bytes:
    """An error that ends a stream."""
    return _data(render_error(500, message))


def render_models(names: Iterable[str], created: int) -> dict[str, Any]:
    """The list of models."""
    return {"object": "list", "data": [render_model(name, created) for name in names]}


def render_model(name: str, created: int) -> dict[str, Any]:
    """One model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "tsukurioki"}


# Reading what an upstream answered.


class ReplyReader:
    """Reads replies to chat completions and completions."""

    def whole(self, body: Any) -> Reply:
        """Parse a whole reply. Raises UpstreamError."""
        reader = StreamReader()
        reader.take(upstream_object(body), "message")
        return reader.end()

    def stream(self) -> StreamReader:
        """A reader of the server-sent events of a reply."""
        return StreamReader()


class StreamReader:
    """Reads the chunks of a streamed reply."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._built = ReplyBuilder()

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that are complete with these bytes. Raises UpstreamError."""
        return [
            piece
            for event in self._lines.events(data)
            if event != b"[DONE]"
            for piece in self.take(upstream_object(parsed(event)), "delta")
        ]

    def take(self, chunk: Members, inner: str) -> list[Piece]:
        """The pieces of one chunk, whose texts stand in the member `inner` of each choice."""
        if chunk.get("error") is not None:
            raise UpstreamError(502, f"the upstream's stream has an error: {_message_of(chunk)}")
        built = self._built
        built.model = chunk.text("model") or built.model
        if chunk.get("usage"):
            built.usage = tokens(chunk.inner("usage"))
        found = []
        for choice in chunk.objects("choices"):
            number = choice.count("index")
            found += [built.add(piece) for piece in _pieces(choice, number, inner)]
            if reason := choice.text("finish_reason"):
                built.finish(number, _FINISHED.get(reason, "stop"))
        return found

    def end(self) -> Reply:
        """The whole reply. Raises UpstreamError if the stream was cut."""
        return self._built.reply()


def _message_of(body: Members) -> str:
    error = body.get("error")
    return str(error.get("message") if isinstance(error, dict) else error)[:500]


def tokens(usage: Members) -> Tokens:
    """What a reply says that it used."""
    return Tokens(
        usage.count("prompt_tokens") or usage.count("input_tokens"),
        usage.count("completion_tokens") or usage.count("output_tokens"),
    )


def _pieces(choice: Members, number: int, inner: str) -> Iterator[Piece]:
    said = choice.inner(inner)
    text = choice.get("text") or said.get("content") or said.get("refusal")
    if isinstance(text, str) and text:
        yield Piece(number, clean(text))
    for place, call in enumerate(said.objects("tool_calls")):
        function = call.inner("custom" if call.get("custom") is not None else "function")
        arguments = function.text("arguments") or function.text("input")
        at = call.count("index", place)
        yield Piece(number, arguments, 0.0, at, function.text("name"), call.text("id"))


class EmbeddingReader:
    """Reads replies to embeddings, which do not come as streams."""

    def whole(self, body: Any) -> Reply:
        """Parse a whole reply. Raises UpstreamError."""
        members = upstream_object(body)
        rows = sorted(members.objects("data"), key=lambda row: row.count("index"))
        vectors = tuple(vector(row.get("embedding")) for row in rows)
        usage = tokens(members.inner("usage"))
        return Reply((), members.text("model"), usage, vectors)

    def stream(self) -> StreamReader:
        """There is none."""
        raise unreadable("embeddings are not streamed")


def vector(value: Any) -> tuple[float, ...]:
    """An embedding, a list or base64. Raises UpstreamError."""
    try:
        if not isinstance(value, str):
            return tuple(map(float, value))
        numbers = array.array("f", base64.b64decode(value))
    except (TypeError, ValueError, OverflowError):
        raise unreadable("an embedding must be a list of numbers") from None
    if not _LITTLE:
        numbers.byteswap()
    return tuple(numbers)
