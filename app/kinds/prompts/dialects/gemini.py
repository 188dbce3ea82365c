"""Gemini: generateContent, its stream, countTokens and embedContent; lists of models.

Names of members come in camelCase and in snake_case, enums as texts and as numbers; replies are in
camelCase. https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from app.kinds.prompts.dialects.upstream import ObjectReader, failed, upstream_object, vector
from app.kinds.prompts.dialects.wire import (
    MOST_CHOICES,
    Members,
    Stamp,
    Wire,
    arguments_object,
    bad_field,
    clean,
    dumps,
    events_of,
    media_part,
    other_part,
    text_part,
    tool_call,
)
from app.kinds.prompts.reply import Choice, Chunk, Finish, Reply, Tokens
from app.kinds.prompts.request import Message, Part, PromptRequest, Text, Tool, ToolCall

NAME = "gemini"
# The numbers of the enum `Type`, which google-generativeai sends.
_TYPES = {1: "string", 2: "number", 3: "integer", 4: "boolean", 5: "array", 6: "object", 7: "null"}
_MODES: Mapping[str | int, str] = {
    1: "auto",
    2: "required",
    3: "none",
    "AUTO": "auto",
    "ANY": "required",
    "NONE": "none",
}
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "refused": "SAFETY"}
# All other reasons are refusals. The numbers are those of google-generativeai.
_FINISHED: Mapping[str | int, Finish] = {
    "STOP": "stop",
    1: "stop",
    "MAX_TOKENS": "length",
    2: "length",
}


def read_generate(
    body: object, model: str, *, stream: bool = False, sse: bool = False
) -> tuple[PromptRequest, Wire]:
    """A request to `…:generateContent`, or to `…:streamGenerateContent`. Raises BadFieldError."""
    members = Members(body, any_case=True)
    config = members.inner("generationConfig")
    messages = tuple(_contents(members))
    if not messages:
        raise bad_field("contents", "a list with at least one content")
    request = PromptRequest(
        operation="chat",
        model=model,
        messages=(*_system(members), *messages),
        tools=tuple(_tools(members)),
        tool_choice=_tool_choice(members),
        format=_format(config),
        options=_options(config),
    )
    return request, Wire("chat", model, stream, frozenset(["sse"] if sse else []))


def _options(config: Members) -> dict[str, Any]:
    options = config.options(
        "temperature",
        "seed",
        top_p="topP",
        top_k="topK",
        max_tokens="maxOutputTokens",
        presence_penalty="presencePenalty",
        frequency_penalty="frequencyPenalty",
        logprobs="responseLogprobs",
    ) | config.stops("stopSequences")
    if (choices := config.count("candidateCount", 1, 1, MOST_CHOICES)) > 1:
        options["n"] = choices
    thinking = config.inner("thinkingConfig")
    wanted = thinking.get("thinkingLevel")
    wanted = thinking.get("thinkingBudget") if wanted is None else wanted
    if wanted is not None:
        options["reasoning"] = wanted.lower() if isinstance(wanted, str) else wanted
    return options


def _format(config: Members) -> Any:
    schema = config.get("responseJsonSchema")
    if schema is None:
        schema = plain_schema(config.get("responseSchema"))
    if schema is not None:
        return schema
    mime = config.text("responseMimeType")
    return None if mime in ("", "text/plain") else "json" if mime == "application/json" else mime


def plain_schema(schema: Any) -> Any:
    """A JSON schema with the names of types in lower case, as JSON Schema has them."""
    if isinstance(schema, list):
        return [plain_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _plain_member(name, value) for name, value in schema.items()}


def _plain_member(name: str, value: Any) -> Any:
    if name in ("type", "type_"):
        if isinstance(value, str):
            return value.lower()
        if type(value) is int:
            return _TYPES.get(value, value)
    # The names of properties are the client's own.
    if name == "properties" and isinstance(value, dict):
        return {key: plain_schema(inner) for key, inner in value.items()}
    return plain_schema(value)


def _system(members: Members) -> list[Message]:
    given = members.get("systemInstruction")
    if given is None:
        return []
    parts = (
        [text_part(given)] if isinstance(given, str) else _parts(members.inner("systemInstruction"))
    )
    return [Message("system", tuple(parts))] if parts else []


def _contents(members: Members) -> Iterator[Message]:
    if isinstance(members.get("contents"), dict):
        # One content without a list around it, as some clients send it.
        contents: Iterable[Members] = [members.inner("contents")]
    else:
        contents = members.objects("contents")
    for content in contents:
        yield from _content(content)


def _content(content: Members) -> Iterator[Message]:
    role = content.text("role", "user") or "user"
    if role not in ("user", "model", "function", "system", "tool"):
        raise bad_field(content.at("role"), "user or model")
    parts = list(content.objects("parts"))
    if role == "model":
        asked = tuple(_call(part) for part in parts if part.get("functionCall") is not None)
        yield Message("assistant", tuple(_plain(parts)), asked)
        return
    for part in parts:
        if part.get("functionResponse") is not None:
            yield _response(part.inner("functionResponse"))
    plain = tuple(_plain(parts))
    if plain or not parts:
        yield Message("system" if role == "system" else "user", plain)


def _call(part: Members) -> ToolCall:
    call = part.inner("functionCall")
    return tool_call(call, call.text("id"), "args")


def _response(response: Members) -> Message:
    given = response.get("response")
    if isinstance(given, dict) and len(given) == 1:
        # The client wraps what the function gave, so that it is an object.
        given = next(iter(given.values())) if {"result", "output"} & set(given) else given
    text = given if isinstance(given, str) else dumps(given)
    return Message("tool", (text_part(text),), (), response.text("id") or response.text("name"))


def _plain(parts: Iterable[Members]) -> Iterator[Part]:
    for part in parts:
        if part.get("functionCall") is None and part.get("functionResponse") is None:
            yield from _part(part)


def _parts(content: Members) -> list[Part]:
    return list(_plain(content.objects("parts")))


def _part(part: Members) -> Iterator[Part]:
    if part.get("text") is not None:
        # A thought is the model's own.
        if not part.get("thought"):
            yield text_part(part.text("text"))
    elif part.get("inlineData") is not None:
        data = part.inner("inlineData")
        mime = data.text("mimeType")
        yield media_part(_kind(mime), mime, data.text("data"))
    elif part.get("fileData") is not None:
        data = part.inner("fileData")
        mime = data.text("mimeType")
        yield media_part(_kind(mime), mime, data.text("fileUri"))
    else:
        yield other_part(part.value)


def _kind(mime: str) -> str:
    kind = mime.partition("/")[0]
    return kind if kind in ("image", "audio") else "file"


def _tools(members: Members) -> Iterator[Tool]:
    for tool in members.objects("tools"):
        if tool.get("functionDeclarations") is None:
            yield Tool(next(iter(tool.value), ""), "", tool.value)
            continue
        for function in tool.objects("functionDeclarations"):
            schema = function.get("parametersJsonSchema")
            schema = plain_schema(function.get("parameters")) if schema is None else schema
            yield Tool(function.text("name", None), function.text("description"), schema)


def _tool_choice(members: Members) -> Any:
    config = members.inner("toolConfig").inner("functionCallingConfig")
    mode = config.get("mode")
    names = config.items("allowedFunctionNames")
    choice = _MODES.get(mode) if isinstance(mode, (str, int)) else None
    if choice == "required" and len(names) == 1 and isinstance(names[0], str):
        return {"name": clean(names[0])}
    return choice


def read_count(body: object, model: str) -> PromptRequest:
    """A request to `…:countTokens`, which may hold a whole request. Raises BadFieldError."""
    members = Members(body, any_case=True)
    whole = members.get("generateContentRequest")
    return read_generate(body if whole is None else whole, model)[0]


def read_embed(body: object, model: str, *, batch: bool = False) -> tuple[PromptRequest, Wire]:
    """A request to `…:embedContent`, or with `batch` to `…:batchEmbedContents`. Raises BadFieldError."""
    members = Members(body, any_case=True)
    asked = list(members.objects("requests")) if batch else [members]
    inputs = tuple(_embedded(one) for one in asked)
    if not inputs:
        raise bad_field("requests", "a list with at least one request")
    options = asked[0].options(dimensions="outputDimensionality", task="taskType")
    request = PromptRequest(operation="embed", model=model, inputs=inputs, options=options)
    return request, Wire("batch" if batch else "embed", model)


def _embedded(members: Members) -> str:
    content = members.get("content")
    if isinstance(content, str):
        return content
    if content is None:
        raise bad_field(members.at("content"), "a content")
    parts = _parts(members.inner("content"))
    return "\n".join(part.text if isinstance(part, Text) else part.digest for part in parts)


# Rendering.


def render(reply: Reply, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    """The body of a whole reply."""
    if wire.form == "batch":
        return {"embeddings": [{"values": list(v)} for v in reply.embeddings]}
    if wire.form == "embed":
        return {"embedding": {"values": list(reply.embeddings[0]) if reply.embeddings else []}}
    candidates = [_candidate(n, choice) for n, choice in enumerate(reply.choices)]
    return {"candidates": candidates, **_tail(reply, wire, stamp)}


def _candidate(number: int, choice: Choice) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": choice.text}] if choice.text else []
    parts += [_function_call(call) for call in choice.tool_calls]
    return _content_of(number, parts) | {"finishReason": _FINISH[choice.finish]}


def _content_of(number: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": {"parts": parts or [{"text": ""}], "role": "model"}, "index": number}


def _function_call(call: ToolCall) -> dict[str, Any]:
    return {"functionCall": {"name": call.name, "args": arguments_object(call)}}


def _tail(reply: Reply | None, wire: Wire, stamp: Stamp) -> dict[str, Any]:
    tail: dict[str, Any] = {"modelVersion": wire.model, "responseId": stamp.id}
    if reply:
        prompt, output = reply.usage
        tail["usageMetadata"] = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": output,
            "totalTokenCount": prompt + output,
        }
    return tail


def render_stream(
    events: Generator[Chunk, None, Reply], wire: Wire, stamp: Stamp
) -> Iterator[bytes]:
    """The parts of a reply: server-sent events, or the items of a JSON array."""
    array = "sse" not in wire.marks
    begun = False
    for value in _values(events, wire, stamp):
        text = dumps(value).encode()
        if array:
            yield (b",\r\n" if begun else b"[") + text
        else:
            yield b"data: %b\r\n\r\n" % text
        begun = True
    if array:
        yield b"]" if begun else b"[]"


def _values(
    events: Generator[Chunk, None, Reply], wire: Wire, stamp: Stamp
) -> Iterator[dict[str, Any]]:
    for event in events_of(events):
        if isinstance(event, Chunk):
            if event.call is None:
                part = _content_of(event.choice, [{"text": event.text}])
                yield {"candidates": [part], **_tail(None, wire, stamp)}
            continue
        last = [_candidate(n, replace(choice, text="")) for n, choice in enumerate(event.choices)]
        yield {"candidates": last, **_tail(event, wire, stamp)}


_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def render_error(status: int, message: str, code: str = "", field: str = "") -> dict[str, Any]:
    """The body of an error."""
    name = _STATUS.get(status, "FAILED_PRECONDITION" if status < 500 else "INTERNAL")
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if field:
        error["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": field, "description": message}],
            }
        ]
    return {"error": error}


def render_stream_error(message: str, wire: Wire) -> bytes:
    """An error that ends a stream."""
    text = dumps(render_error(500, message)).encode()
    return b"data: %b\r\n\r\n" % text if "sse" in wire.marks else b",\r\n%b]" % text


def render_count(tokens: int) -> dict[str, Any]:
    """The answer to `…:countTokens`."""
    return {"totalTokens": tokens}


def render_models(models: Mapping[str, str]) -> dict[str, Any]:
    """The list of models; `models` has what each is, by name."""
    return {"models": [render_model(name, about) for name, about in models.items()]}


def render_model(name: str, about: str) -> dict[str, Any]:
    """One model."""
    return {
        "name": f"models/{name}",
        "version": "1",
        "displayName": name,
        "description": about,
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
    }


# Reading what an upstream answered.


class ReplyReader(ObjectReader):
    """Reads replies to generateContent. Their streams are server-sent events (`alt=sse`)."""

    def whole(self, body: Any) -> Reply:
        """Parse a whole reply, or the array of a stream without events. Raises UpstreamError."""
        for one in body if isinstance(body, list) else [body]:
            self.take(upstream_object(one))
        return self.end()

    def take(self, value: Members) -> list[Chunk]:
        """The chunks of one part. Raises UpstreamError if it is an error."""
        if value.get("error") is not None:
            raise failed(value.inner("error").text("message"))
        self.model = value.text("modelVersion") or self.model
        usage = value.inner("usageMetadata")
        if usage.value:
            output = usage.count("candidatesTokenCount", self.usage.output)
            self.usage = Tokens(usage.count("promptTokenCount"), output)
        if value.inner("promptFeedback").get("blockReason") is not None:
            self.finish(0, "refused")
        found: list[Chunk] = []
        for candidate in value.objects("candidates"):
            number = candidate.count("index")
            for part in candidate.inner("content").objects("parts"):
                if part.get("functionCall") is not None:
                    found.append(self.add_call(number, _call(part)))
                elif part.text("text") and not part.get("thought"):
                    found.append(self.add(Chunk(number, part.text("text"))))
            reason = candidate.get("finishReason")
            if isinstance(reason, (str, int)):
                self.finish(number, _FINISHED.get(reason, "refused"))
        return found


class EmbeddingReader(ObjectReader):
    """Reads replies to embedContent and batchEmbedContents, which do not come as streams."""

    def whole(self, body: Any) -> Reply:
        """Parse a whole reply. Raises UpstreamError."""
        members = upstream_object(body)
        one = members.get("embedding")
        rows = [members.inner("embedding")] if one is not None else members.objects("embeddings")
        return Reply(embeddings=tuple(vector(row.get("values")) for row in rows))
