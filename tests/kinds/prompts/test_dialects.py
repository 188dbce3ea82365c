"""The codecs: what one dialect renders its own reader reads back, and the clients' models accept."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import ollama as ollama_client
import pydantic
import pytest
from google.genai import types as gemini_types
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from app.errors import BadFieldError, UpstreamError
from app.kinds.prompts.dialects import gemini, ollama
from app.kinds.prompts.dialects.openai import chat, completions, embeddings, responses
from app.kinds.prompts.dialects.upstream import Lines
from app.kinds.prompts.dialects.wire import Stamp, Wire
from app.kinds.prompts.key import KeyRules, canonical
from app.kinds.prompts.reply import Choice, Chunk, Reply, ReplyReader, Tokens
from app.kinds.prompts.request import Message, PromptRequest, ToolCall

STAMP = Stamp("0123456789abcdef", 1_790_000_000)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
ARGUMENTS = st.dictionaries(TEXT, TEXT | st.integers(-(2**40), 2**40) | st.booleans(), max_size=3)
CALLS = st.lists(st.builds(ToolCall, TEXT, ARGUMENTS, TEXT), min_size=1, max_size=3).map(tuple)
CHOICE = (
    st.builds(Choice, TEXT, st.just(()), st.sampled_from(["stop", "length", "refused"]))
    | st.builds(Choice, st.just(""), CALLS, st.just("tool_calls"))
    | st.builds(Choice, TEXT, CALLS, st.just("tool_calls"))
)
TOKENS = st.builds(Tokens, st.integers(0, 10**6), st.integers(0, 10**6))


class Dialect(NamedTuple):
    """How a form of a dialect is rendered and read, and the client's models of it."""

    codec: ModuleType
    form: str
    reader: Callable[[], ReplyReader]
    whole: Any
    chunk: Any
    most: int = 1
    calls: bool = True
    marks: frozenset[str] = frozenset()


DIALECTS = {
    "chat completions": Dialect(
        chat, "chat", chat.ReplyReader, ChatCompletion, ChatCompletionChunk, 3,
        marks=frozenset({"usage"}),
    ),
    "completions": Dialect(
        completions, "complete", completions.ReplyReader, Completion, Completion, 3, calls=False,
        marks=frozenset({"usage"}),
    ),
    "responses": Dialect(
        responses, "responses", responses.ReplyReader, Response, ResponseStreamEvent
    ),
    "ollama chat": Dialect(
        ollama, "chat", ollama.ReplyReader, ollama_client.ChatResponse, ollama_client.ChatResponse
    ),
    "ollama generate": Dialect(
        ollama, "generate", ollama.ReplyReader, ollama_client.GenerateResponse,
        ollama_client.GenerateResponse, calls=False,
    ),
    "gemini": Dialect(
        gemini, "chat", gemini.ReplyReader, gemini_types.GenerateContentResponse,
        gemini_types.GenerateContentResponse, 3, marks=frozenset({"sse"}),
    ),
}  # fmt: skip
NAMES = st.sampled_from(sorted(DIALECTS))


@lru_cache
def adapter(model: Any) -> pydantic.TypeAdapter[Any]:
    """A client's model, which takes a while to make."""
    return pydantic.TypeAdapter(model)


def accepted(model: Any, value: object) -> None:
    """A client's model takes the value, strictly, and knows every member of it."""
    read: Any = adapter(model).validate_json(json.dumps(value), strict=True)
    assert list(unknown(read)) == []


def unknown(value: object) -> Iterator[str]:
    """The members that a model of a client has no field for."""
    if isinstance(value, pydantic.BaseModel):
        yield from value.model_extra or {}
        for name in value.model_fields_set:
            yield from unknown(getattr(value, name, None))
    elif isinstance(value, list):
        for item in value:
            yield from unknown(item)


def fitting(reply: Reply, dialect: Dialect) -> Reply:
    """The reply as far as a dialect can say it."""
    choices = tuple(
        choice
        if dialect.calls or not choice.tool_calls
        else replace(choice, text=choice.text or "x", tool_calls=(), finish="stop")
        for choice in reply.choices[: dialect.most]
    )
    if dialect.codec is ollama:
        # It has no word for a refusal.
        choices = tuple(
            replace(choice, finish="stop") if choice.finish == "refused" else choice
            for choice in choices
        )
    return replace(reply, choices=choices)


def same(reply: Reply) -> list[tuple[str, list[tuple[str, Any]], str]]:
    """What must survive: ids of calls are a service's own."""
    return [
        (c.text, [(call.name, call.arguments) for call in c.tool_calls], c.finish)
        for c in reply.choices
    ]


REPLIES = st.builds(Reply, st.lists(CHOICE, min_size=1, max_size=3).map(tuple), TEXT, TOKENS)


@given(NAMES, REPLIES)
def test_a_whole_reply_is_read_back(name: str, reply: Reply) -> None:
    """What a codec renders, the client's model accepts strictly, and the codec reads back."""
    dialect = DIALECTS[name]
    reply = fitting(reply, dialect)
    body = dialect.codec.render(reply, Wire(dialect.form, "m"), STAMP)
    accepted(dialect.whole, body)
    read = dialect.reader().whole(json.loads(json.dumps(body)))
    assert same(read) == same(reply)
    assert read.usage == reply.usage


def events(reply: Reply) -> Generator[Chunk, None, Reply]:
    yield from reply.chunks()
    return reply


def rendered(dialect: Dialect, reply: Reply) -> bytes:
    wire = Wire(dialect.form, "m", True, dialect.marks)
    return b"".join(dialect.codec.render_stream(events(reply), wire, STAMP))


@given(NAMES, REPLIES, st.lists(st.integers(0, 4000), max_size=6))
def test_a_stream_cut_anywhere_is_read_back(name: str, reply: Reply, cuts: list[int]) -> None:
    """However the network cuts a rendered stream, its chunks and its reply are the same."""
    dialect = DIALECTS[name]
    reply = fitting(reply, dialect)
    raw = rendered(dialect, reply)
    edges = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    reader = dialect.reader()
    chunks = [
        chunk for start, end in itertools.pairwise(edges) for chunk in reader.feed(raw[start:end])
    ]
    read = reader.end()
    assert same(read) == same(reply)
    assert read.usage == reply.usage
    for number, choice in enumerate(reply.choices):
        texts = [p.text for p in chunks if p.choice == number and p.call is None]
        assert "".join(texts) == choice.text
        names = [p.name for p in chunks if p.choice == number and p.name]
        assert names == [call.name for call in choice.tool_calls]


@given(NAMES, REPLIES)
@settings(max_examples=60)
def test_each_piece_of_a_stream_is_as_the_client_wants_it(name: str, reply: Reply) -> None:
    """The client's models accept every event of a stream strictly."""
    dialect = DIALECTS[name]
    raw = rendered(dialect, fitting(reply, dialect))
    lines = Lines()
    parts = lines.lines(raw) if dialect.codec is ollama else lines.events(raw)
    for part in parts:
        value = json.loads(part)
        for choice in value.get("choices", ()) if dialect.form == "complete" else ():
            # Null until the end, as the service sends it; the client's model forgets that.
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        accepted(dialect.chunk, value)


@given(REPLIES)
def test_geminis_stream_without_events_is_one_array(reply: Reply) -> None:
    """Without alt=sse, the stream is a JSON array of the same parts."""
    reply = fitting(reply, DIALECTS["gemini"])
    raw = b"".join(gemini.render_stream(events(reply), Wire("chat", "m", True), STAMP))
    assert same(gemini.ReplyReader().whole(json.loads(raw))) == same(reply)


# What begins the part of a stream that says that the reply is whole.
CHOICE_ENDS = b'"finish_reason":"'
LAST = {
    chat: CHOICE_ENDS,
    completions: CHOICE_ENDS,
    gemini: b'"finishReason"',
    ollama: b'"done":true',
}


@given(NAMES, REPLIES)
@settings(max_examples=60)
def test_a_stream_that_ends_early_is_told(name: str, reply: Reply) -> None:
    """A stream without its last part is no reply."""
    dialect = DIALECTS[name]
    raw = rendered(dialect, fitting(reply, dialect))
    reader = dialect.reader()
    reader.feed(raw[: raw.rindex(LAST.get(dialect.codec, b"event: response."))])
    with pytest.raises(UpstreamError):
        reader.end()


@given(
    NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "index",
                        "message",
                        "delta",
                        "content",
                        "tool_calls",
                        "function",
                        "arguments",
                        "finish_reason",
                        "usage",
                        "prompt_tokens",
                        "model",
                        "error",
                        "output",
                        "status",
                        "type",
                        "text",
                        "item",
                        "candidates",
                        "parts",
                        "finishReason",
                        "usageMetadata",
                        "done",
                        "prompt_eval_count",
                        "response",
                        "data",
                        "embedding",
                    ]
                )
                | st.text(max_size=4),
                inner,
                max_size=5,
            )
        ),
        max_leaves=30,
    ),
)
@settings(max_examples=100)
def test_any_reply_of_an_upstream_is_read_or_told(name: str, body: object) -> None:
    """Whatever JSON an upstream sends, it is a reply or an UpstreamError, never another error."""
    dialect = DIALECTS[name]
    with contextlib.suppress(UpstreamError):
        assert isinstance(dialect.reader().whole(body), Reply)
    reader = dialect.reader()
    raw = json.dumps(body).encode()
    with contextlib.suppress(UpstreamError):
        reader.feed(b"data: " + raw + b"\n\n" + raw + b"\n")
        assert isinstance(reader.end(), Reply)


VECTORS = st.lists(
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=5).map(tuple), min_size=1, max_size=3
)


@given(VECTORS, st.sampled_from(["", "base64"]))
def test_embeddings_are_read_back(vectors: list[tuple[float, ...]], mark: str) -> None:
    """Embeddings keep their numbers, as numbers and as base64, in every dialect."""
    reply = Reply((), "m", Tokens(3), tuple(vectors))
    body = embeddings.render(reply, Wire("embed", "m", marks=frozenset({mark})), STAMP)
    if not mark:
        accepted(CreateEmbeddingResponse, body)
    assert embeddings.ReplyReader().whole(body).embeddings == reply.embeddings
    body = ollama.render(reply, Wire("embed", "m"), STAMP)
    accepted(ollama_client.EmbedResponse, body)
    assert ollama.EmbeddingReader().whole(body).embeddings == reply.embeddings
    body = gemini.render(reply, Wire("batch", "m"), STAMP)
    accepted(gemini_types.EmbedContentResponse, body)
    assert gemini.EmbeddingReader().whole(body).embeddings == reply.embeddings


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
PNG = "iVBORw0KGgo="


def the_same_question() -> dict[str, PromptRequest]:
    """One question with everything in it, as each dialect says it."""
    openai_messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Weather here?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function",
                 "function": {"name": "weather", "arguments": '{"city": "Kyoto"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "user", "content": "And tomorrow?"},
    ]  # fmt: skip
    function = {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}
    of_chat, _ = chat.read(
        {
            "model": "m",
            "messages": openai_messages,
            "tools": [{"type": "function", "function": function}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
            "temperature": 0.5, "seed": 7, "max_completion_tokens": 50, "stop": "END",
        }
    )  # fmt: skip
    of_responses, _ = responses.read(
        {
            "model": "m",
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": [
                    {"type": "input_text", "text": "Weather here?"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}]},
                {"type": "function_call", "call_id": "c9", "name": "weather",
                 "arguments": '{"city":"Kyoto"}'},
                {"type": "function_call_output", "call_id": "c9", "output": "rain"},
                {"role": "user", "content": "And tomorrow?"},
            ],
            "tools": [{"type": "function", **function}],
            "text": {"format": {"type": "json_schema", "name": "y", "schema": SCHEMA}},
            "temperature": 0.5, "max_output_tokens": 50,
        }
    )  # fmt: skip
    # The responses have neither.
    given = {**of_responses.options, "seed": 7, "stop": ["END"]}
    of_responses = replace(of_responses, options=given)
    of_ollama, _ = ollama.read_chat(
        {
            "model": "m:latest",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Weather here?", "images": [PNG]},
                {"role": "assistant", "content": "",
                 "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Kyoto"}}}]},
                {"role": "tool", "tool_name": "weather", "content": "rain"},
                {"role": "user", "content": "And tomorrow?"},
            ],
            "tools": [{"type": "function", "function": function}],
            "format": SCHEMA,
            "options": {"temperature": 0.5, "seed": 7, "num_predict": 50, "stop": ["END"]},
            "keep_alive": "5m",
        }
    )  # fmt: skip
    of_gemini, _ = gemini.read_generate(
        {
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Weather here?"},
                 {"inlineData": {"mimeType": "image/png", "data": PNG}}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Kyoto"}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "rain"}}}]},
                {"role": "user", "parts": [{"text": "And tomorrow?"}]},
            ],
            "tools": [{"functionDeclarations": [
                {"name": "weather", "description": "Tells it.",
                 "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}}]}],
            "generationConfig": {"temperature": 0.5, "seed": 7, "maxOutputTokens": 50,
                "stop_sequences": ["END"], "responseMimeType": "application/json",
                "responseSchema": {"type": 6, "properties": {"city": {"type": 1}}, "required": ["city"]}},
        },
        "m",
    )  # fmt: skip
    return {"chat": of_chat, "responses": of_responses, "ollama": of_ollama, "gemini": of_gemini}


def without_mime(request: PromptRequest) -> PromptRequest:
    """Without what Ollama does not say: what an image is."""
    messages = tuple(
        replace(
            message,
            parts=tuple(p if hasattr(p, "text") else p._replace(mime="") for p in message.parts),
        )
        for message in request.messages
    )
    return replace(request, messages=messages)


def test_one_question_is_the_same_in_every_dialect() -> None:
    """Text, image, tools, calls, schema and options have one canonical form in all dialects."""
    forms = {
        name: canonical(without_mime(request), KeyRules())
        for name, request in the_same_question().items()
    }
    for name, form in forms.items():
        assert form == forms["chat"], name


@pytest.mark.parametrize(
    ("read", "body", "field"),
    [
        (chat.read, [], "body"),
        (chat.read, {"model": "m"}, "messages"),
        (chat.read, {"model": 3, "messages": []}, "messages"),
        (chat.read, {"model": "m", "messages": [{"role": "x"}]}, "messages[0].role"),
        (chat.read, {"model": "m", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (chat.read, {"model": "m", "messages": [{"role": "user"}], "n": 0}, "n"),
        (chat.read, {"model": "m", "messages": [{"role": "user"}], "stream": 1}, "stream"),
        (chat.read, {"model": "m", "messages": [{"role": "user"}], "tools": [{"function": {}}]}, "tools[0].function.name"),
        (completions.read, {"model": "m", "prompt": ["a", "b"]}, "prompt"),
        (embeddings.read, {"model": "m", "input": []}, "input"),
        (responses.read, {"model": "m"}, "input"),
        (responses.read, {"model": "m", "input": "x", "previous_response_id": "r"}, "previous_response_id"),
        (ollama.read_chat, {"messages": []}, "model"),
        (ollama.read_chat, {"model": "m", "messages": [{"role": "user", "images": [3]}]}, "messages[0].images[0]"),
        (ollama.read_generate, {"model": "m", "prompt": 5}, "prompt"),
        (ollama.read_generate, {"model": "m", "format": 5}, "format"),
        (ollama.read_embed, {"model": "m", "input": [3.5]}, "input"),
        (lambda b: gemini.read_generate(b, "m"), {}, "contents"),
        (lambda b: gemini.read_generate(b, "m"), {"contents": [{"role": "x"}]}, "contents[0].role"),
        (lambda b: gemini.read_embed(b, "m"), {}, "content"),
        (lambda b: gemini.read_embed(b, "m", batch=True), {"content": "hello"}, "requests"),
    ],
)  # fmt: skip
def test_a_wrong_member_is_named(read: Any, body: object, field: str) -> None:
    """A member that is missing or wrong is named as the client wrote it, in a 400."""
    with pytest.raises(BadFieldError) as caught:
        read(body)
    assert (caught.value.status, caught.value.field) == (400, field)


def test_an_image_by_url_is_not_the_image_of_its_bytes() -> None:
    """Media are told apart by their bytes, or by the URL if the client sends no bytes."""

    def asked(url: str) -> tuple[Message, ...]:
        content = [{"type": "image_url", "image_url": {"url": url}}]
        body = {"model": "m", "messages": [{"role": "user", "content": content}]}
        return chat.read(body)[0].messages

    one, other = asked("https://example.org/a.png"), asked("https://example.org/b.png")
    bytes_ = asked(f"data:image/png;base64,{PNG}")
    assert len({one, other, bytes_}) == 3
    assert bytes_ == asked(f"data:image/png;base64,{PNG}")
