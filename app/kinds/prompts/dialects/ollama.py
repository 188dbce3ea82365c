"""Ollama: chat, generate, embed and embeddings; lists of models.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

from app.kinds.prompts.dialects.upstream import ObjectReader, failed, upstream_object, vector
from app.kinds.prompts.dialects.wire import (
    Members,
    Stamp,
    Wire,
    arguments_object,
    bad_field,
    dumps,
    events_of,
    media_part,
    system_message,
    text_part,
    tool_call,
)
from app.kinds.prompts.reply import Chunk, Reply, Tokens
from app.kinds.prompts.request import Message, Part, PromptRequest, Role, Tool, ToolCall

NAME = "ollama"
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
LATEST = ":latest"


def bare_name(model: str) -> str:
    """A model's name without the tag that is meant if there is none."""
    return model.removesuffix(LATEST)


def tagged_name(model: str) -> str:
    """A model's name as Ollama lists it."""
    return model if ":" in model else model + LATEST


def read_chat(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/api/chat`. Raises BadFieldError. Without messages it only loads the model."""
    members = Members(body)
    request = PromptRequest(
        operation="chat",
        model=bare_name(members.text("model", None)),
        messages=tuple(_message(item) for item in members.objects("messages")),
        tools=tuple(_tool(tool.inner("function")) for tool in members.objects("tools")),
        format=_format(members),
        options=_options(members),
    )
    return request, _wire("chat", members)


def _wire(form: str, members: Members) -> Wire:
    unload = members.get("keep_alive") in (0, "0", "0s", "0m", "0h")
    marks = frozenset(["unload"] if unload else [])
    return Wire(form, members.text("model"), members.switch("stream", default=True), marks)


def _format(members: Members) -> Any:
    wanted = members.get("format")
    if wanted in (None, ""):
        return None
    if wanted != "json" and not isinstance(wanted, dict):
        raise bad_field("format", "json or a JSON schema")
    return wanted


def _options(members: Members) -> dict[str, Any]:
    given = members.inner("options")
    options = given.options(
        "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
        "repeat_penalty", "num_ctx", "num_gpu", "num_thread",
    )  # fmt: skip
    most = given.get("num_predict")
    if most is not None and most not in (-1, -2):
        options["max_tokens"] = most
    return options | given.stops("stop") | members.options(reasoning="think")


def _message(item: Members) -> Message:
    _, role = item.role(_ROLES)
    parts = tuple(_parts(item, "content"))
    if role == "tool":
        name = item.text("tool_name") or item.text("name")
        return Message(role, parts, (), item.text("tool_call_id") or name)
    calls = tuple(map(_call, item.objects("tool_calls")))
    return Message(role, parts, calls if role == "assistant" else ())


def _call(call: Members) -> ToolCall:
    return tool_call(call.inner("function"), call.text("id"))


def _parts(item: Members, name: str) -> Iterator[Part]:
    """A text, the member of that name, and images."""
    if text := item.text(name):
        yield text_part(text)
    for number, image in enumerate(item.items("images")):
        if not isinstance(image, str):
            raise bad_field(f"{item.at('images')}[{number}]", "base64")
        yield media_part("image", "", image)


def _tool(function: Members) -> Tool:
    return Tool(function.text("name"), function.text("description"), function.get("parameters"))


def read_generate(body: object) -> tuple[PromptRequest, Wire]:
    """A request to `/api/generate`. Raises BadFieldError. Without a prompt it loads the model."""
    members = Members(body)
    parts = tuple(_parts(members, "prompt"))
    suffix = members.text("suffix")
    asked = [Message("user", parts)] if parts else []
    options = _options(members) | ({"suffix": suffix} if suffix else {})
    request = PromptRequest(
        # A raw prompt, or one with a suffix, is not wrapped into the model's template.
        operation="complete" if suffix or members.switch("raw") else "chat",
        model=bare_name(members.text("model", None)),
        messages=(*system_message(members.text("system")), *asked),
        format=_format(members),
        options=options,
    )
    return request, _wire("generate", members)


def read_embed(body: object, form: str = "embed") -> tuple[PromptRequest, Wire]:
    """A request to `/api/embed`, or `/api/embeddings` with that form. Raises BadFieldError."""
    members = Members(body)
    if form == "embeddings":
        inputs: tuple[str, ...] = (members.text("prompt"),)
    else:
        inputs = () if members.get("input") in (None, "", []) else members.texts("input")
    model = members.text("model", None)
    request = PromptRequest(
        operation="embed",
        model=bare_name(model),
        inputs=inputs,
        options=members.options("dimensions"),
    )
    return request, Wire(form, model)


# Rendering.

_FINISH = {"stop": "stop", "length": "length", "tool_calls": "stop", "refused": "stop"}


def render(reply: Reply, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The body of a whole reply."""
    vectors = [list(vector) for vector in reply.embeddings]
    if wire.form == "embeddings":
        return {"embedding": vectors[0] if vectors else []}
    if wire.form == "embed":
        head = {"model": wire.model, "embeddings": vectors}
        return {**head, **_durations(), "prompt_eval_count": reply.usage.prompt}
    choice = reply.choices[0]
    return _line(wire, stamp, choice.text, choice.tool_calls) | _last(reply)


def _durations() -> dict[str, int]:
    # Nothing is loaded. Clients divide by the durations.
    return {"total_duration": 1_000_000, "load_duration": 1}


def _last(reply: Reply) -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": _FINISH[reply.choices[0].finish],
        **_durations(),
        "prompt_eval_count": reply.usage.prompt,
        "prompt_eval_duration": 500_000,
        "eval_count": reply.usage.output,
        "eval_duration": 500_000,
    }


def _line(wire: Wire, stamp: Stamp, text: str, calls: Iterable[ToolCall] = ()) -> dict[str, Any]:
    head = {"model": wire.model, "created_at": written_time(stamp.created)}
    if wire.form == "generate":
        return {**head, "response": text, "done": False}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    functions = [
        {"function": {"name": call.name, "arguments": arguments_object(call)}} for call in calls
    ]
    if functions:
        message["tool_calls"] = functions
    return {**head, "message": message, "done": False}


def written_time(seconds: int) -> str:
    """A time as Ollama writes it."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def render_stream(
    events: Generator[Chunk, None, Reply], wire: Wire, stamp: Stamp
) -> Iterator[bytes]:
    """The lines of a reply. Calls of tools come whole, as Ollama sends them."""
    for event in events_of(events):
        if isinstance(event, Chunk):
            if event.choice == 0 and event.call is None:
                yield _encoded(_line(wire, stamp, event.text))
            continue
        choice = event.choices[0]
        if choice.tool_calls and wire.form == "chat":
            yield _encoded(_line(wire, stamp, "", choice.tool_calls))
        yield _encoded(_line(wire, stamp, "") | _last(event))


def _encoded(line: Mapping[str, Any]) -> bytes:
    return dumps(line).encode() + b"\n"


def render_loaded(wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The answer to a request that only loads a model, or unloads it."""
    reason = "unload" if "unload" in wire.marks else "load"
    return _line(wire, stamp, "") | {"done": True, "done_reason": reason}


def render_error(status: int, message: str, code: str = "", field: str = "") -> dict[str, Any]:
    """The body of an error."""
    return {"error": message}


def render_stream_error(message: str, wire: Wire) -> bytes:
    """An error that ends a stream."""
    return _encoded({"error": message})


def render_models(names: Iterable[str], created: int) -> dict[str, Any]:
    """The list of models, for `/api/tags`."""
    return {"models": [_model(name, created) for name in names]}


def _model(name: str, created: int) -> dict[str, Any]:
    tagged = tagged_name(name)
    return {
        "name": tagged,
        "model": tagged,
        "modified_at": written_time(created),
        "size": 0,
        "digest": hashlib.sha256(tagged.encode()).hexdigest(),
        "details": _details(),
    }


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "tsukurioki",
        "family": "tsukurioki",
        "families": ["tsukurioki"],
        "parameter_size": "0B",
        "quantization_level": "",
    }


def render_running(names: Iterable[str], created: int, until: int) -> dict[str, Any]:
    """The list of models in memory, for `/api/ps`: what is cooked is always there."""
    return {
        "models": [
            {**_model(name, created), "size_vram": 0, "expires_at": written_time(until)}
            for name in names
        ]
    }


def render_shown(
    name: str, about: str, created: int, capabilities: Iterable[str]
) -> dict[str, Any]:
    """What `/api/show` says of a model."""
    return {
        "modelfile": f"# {about}\nFROM {tagged_name(name)}\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "license": "",
        "details": _details(),
        "model_info": {"general.architecture": "tsukurioki", "general.parameter_count": 0},
        "capabilities": list(capabilities),
        "modified_at": written_time(created),
    }


def render_pulled(*, stream: bool) -> Iterator[bytes]:
    """The statuses of a pull: what is here need not be fetched."""
    statuses = ("pulling manifest", "verifying sha256 digest", "success")
    for status in statuses if stream else statuses[-1:]:
        yield _encoded({"status": status})


# Reading what an upstream answered.


class ReplyReader(ObjectReader):
    """Reads replies to chat and generate, whose streams are lines."""

    def cut(self, data: bytes) -> list[bytes]:
        return [line for line in self._lines.lines(data) if line]

    def take(self, value: Members) -> list[Chunk]:
        """The chunks of one line. Raises UpstreamError if it is an error."""
        if (error := value.get("error")) is not None:
            raise failed(error)
        self.model = value.text("model") or self.model
        message = value.inner("message")
        text = message.text("content") or value.text("response")
        found = [self.add(Chunk(0, text))] if text else []
        found += [self.add_call(0, _call(call)) for call in message.objects("tool_calls")]
        if value.get("done"):
            self.usage = Tokens(value.count("prompt_eval_count"), value.count("eval_count"))
            self.finish(0, "length" if value.get("done_reason") == "length" else "stop")
        return found


class EmbeddingReader(ObjectReader):
    """Reads replies to embed and embeddings, which do not come as streams."""

    def whole(self, body: Any) -> Reply:
        """Parse a whole reply. Raises UpstreamError."""
        members = upstream_object(body)
        one = members.get("embedding")
        rows = members.items("embeddings") if one is None else [one]
        usage = Tokens(members.count("prompt_eval_count"))
        return Reply((), members.text("model"), usage, tuple(vector(row) for row in rows))
