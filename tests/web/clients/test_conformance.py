"""Generated requests to every route of the dialects: never a 5xx, and every reply as clients read it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

import ollama
import pydantic
import pytest
from flask.testing import FlaskClient
from google.genai import types as gemini
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from app.kinds.prompts.reply import EXACT, About, Asked, Chunk, PromptAnswer, Reply
from app.settings import Settings
from app.web.app import create_app
from tests.kinds.prompts.test_dialects import accepted
from tests.making import DECKS, Server
from tests.web.clients.services import reply_to

MODELS = ("botan", "poem", "hobb", "chat/yuri", "gpt-x", "", "menu:latest", "x/y:z", "モデル")
TEXTS = (
    "こんにちは",
    "",
    " ",
    "\x00",
    "\ud800",
    "🍣" * 50,
    "{",
    '{"hand":[]}',
    "a" * 5000,
    "死にたい",
)
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3.5, 1e308, 2**70, "", "x", "\ud800", [], {}, [None], [[]],
    {"type": "text"}, {"text": None}, [{}], [{"role": "user"}], [1, 2, 3], "none", "auto", "json",
)  # fmt: skip
PNG = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "weather", "description": "Tells it.", "parameters": SCHEMA}


class Route(NamedTuple):
    """A route, a whole body for it, and the clients' models of its replies."""

    path: str
    body: dict[str, Any]
    whole: Any
    piece: Any = None


def _openai() -> list[Route]:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    chat = {
        "model": "m", "stream": False, "n": 1, "temperature": 0.5, "stop": ["x"], "seed": 1,
        "stream_options": {"include_usage": True}, "max_tokens": 9, "user": "u", "metadata": {"a": "b"},
        "messages": [
            {"role": "system", "content": "t"},
            {"role": "user", "content": [
                {"type": "text", "text": "t"}, {"type": "image_url", "image_url": {"url": PNG}},
                {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                {"type": "file", "file": {"file_data": "AA==", "filename": "f"}}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "t"},
            {"role": "user", "content": "t"},
        ],
        "tools": [{"type": "function", "function": FUNCTION}], "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    }  # fmt: skip
    responses = {
        "model": "m", "instructions": "t", "stream": False, "temperature": 1, "reasoning": {"effort": "low"},
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "t"}, {"type": "input_image", "image_url": PNG}]},
            {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "t"},
            {"type": "message", "role": "user", "content": "t"},
        ],
        "tools": [{"type": "function", **FUNCTION}],
        "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
    }  # fmt: skip
    completion = {"model": "m", "prompt": "t", "stream": False, "suffix": "t", "n": 1}
    embedding = {"model": "m", "input": ["t", "t"], "encoding_format": "float", "dimensions": 3}
    return [
        Route("/v1/chat/completions", chat, ChatCompletion, ChatCompletionChunk),
        Route("/v1/responses", responses, Response, ResponseStreamEvent),
        Route("/v1/completions", completion, Completion),
        Route("/v1/embeddings", embedding, CreateEmbeddingResponse),
    ]


def _ollama() -> list[Route]:
    options = {"temperature": 0.5, "seed": 1, "num_predict": 9, "stop": ["x"], "num_ctx": 9}
    chat = {
        "model": "m", "stream": False, "format": "json", "options": options, "keep_alive": "5m", "think": False,
        "messages": [
            {"role": "system", "content": "t"},
            {"role": "user", "content": "t", "images": ["iVBORw0KGgo="]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {}}}]},
            {"role": "tool", "tool_name": "weather", "content": "t"},
            {"role": "user", "content": "t"},
        ],
        "tools": [{"type": "function", "function": FUNCTION}],
    }  # fmt: skip
    generate = {
        "model": "m", "prompt": "t", "system": "t", "suffix": "t", "raw": False, "stream": False,
        "format": SCHEMA, "options": options, "images": ["AA=="], "keep_alive": 0,
    }  # fmt: skip
    return [
        Route("/api/chat", chat, ollama.ChatResponse, ollama.ChatResponse),
        Route("/api/generate", generate, ollama.GenerateResponse, ollama.GenerateResponse),
        Route("/api/embed", {"model": "m", "input": ["t", "t"]}, ollama.EmbedResponse),
        Route("/api/embeddings", {"model": "m", "prompt": "t"}, dict[str, list[float]]),
        Route("/api/show", {"model": "m"}, ollama.ShowResponse),
        Route("/api/pull", {"model": "m", "stream": False}, ollama.ProgressResponse, ollama.ProgressResponse),
    ]  # fmt: skip


def _gemini() -> list[Route]:
    config = {
        "temperature": 0.5, "topP": 0.5, "topK": 40.0, "candidateCount": 1, "stopSequences": ["x"],
        "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT", "properties": {"city": {"type": 1}}},
        "thinkingConfig": {"thinking_level": "MINIMAL"},
    }  # fmt: skip
    body = {
        "systemInstruction": {"parts": [{"text": "t"}], "role": "user"},
        "contents": [
            {"role": "user", "parts": [{"text": "t"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}, {"text": "t", "thought": True}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"result": "t"}}}]},
            {"role": "user", "parts": [{"text": "t"}, {"fileData": {"fileUri": "u", "mimeType": "audio/mp3"}}]},
        ],
        "generationConfig": config,
        "tools": [{"functionDeclarations": [FUNCTION]}, {"googleSearch": {}}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
        "safetySettings": [],
    }  # fmt: skip
    embed = {"content": {"parts": [{"text": "t"}]}, "outputDimensionality": 3}
    whole = gemini.GenerateContentResponse
    return [
        Route("/v1beta/models/MODEL:generateContent", body, whole),
        Route("/v1/models/MODEL:streamGenerateContent", body, list[whole]),  # type: ignore[valid-type]
        Route("/v1beta/models/MODEL:streamGenerateContent?alt=sse", body, None, whole),
        Route("/v1/models/MODEL:countTokens", {"generateContentRequest": body}, gemini.CountTokensResponse),
        Route("/v1beta/models/MODEL:embedContent", embed, dict[str, Any]),
        Route("/v1/models/MODEL:batchEmbedContents", {"requests": [embed, embed]}, gemini.EmbedContentResponse),
    ]  # fmt: skip


DIALECTS: dict[str, Callable[[], list[Route]]] = {
    "openai": _openai,
    "ollama": _ollama,
    "gemini": _gemini,
}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value, with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from places(inner)


def changed(body: dict[str, Any], rng: random.Random) -> Any:
    """A body with other texts, and with some members changed, left out, repeated or added."""
    body = deepcopy(body)
    for container, key in places(body):
        if container[key] == "t":
            container[key] = rng.choice(TEXTS)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
        if found := list(places(body)):
            change(*rng.choice(found), rng)
    if rng.random() < 0.3:
        body["stream"] = True
    if rng.random() < 0.5:
        # Only the last message: what a character can answer.
        for name in ("messages", "input", "contents"):
            if isinstance(body.get(name), list):
                body[name] = body[name][-1:]
        body.pop("tools", None)
    return body


def change(container: Any, key: Any, rng: random.Random) -> None:
    """Change one member, or another one beside it."""
    how = rng.randrange(4)
    if how == 0:
        container[key] = deepcopy(rng.choice(ODD))
    elif how == 1 and isinstance(container, list):
        container.extend(deepcopy(container[:3]))
    elif how == 2 and isinstance(container, dict):
        container[rng.choice(("extra", "stream", "content", "type", "n"))] = deepcopy(
            rng.choice(ODD)
        )
    else:
        del container[key]


def replied(asked: Asked) -> PromptAnswer:
    """A deck of prompts that has a reply to everything."""
    reply = reply_to(asked.request)

    def events() -> Generator[Chunk, None, Reply]:
        yield from reply.chunks() if asked.stream else ()
        return reply

    return PromptAnswer(About(EXACT, "0" * 32), events())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    """The application without a server; every prompt is answered."""
    known = {
        "TSUKURIOKI_DATA": str(tmp_path_factory.mktemp("conform")),
        "TSUKURIOKI_DECKS": str(DECKS),
        "TSUKURIOKI_CHAT_RATE": "0",
        "TSUKURIOKI_CHAT_PACE": "0",
        "TSUKURIOKI_CHAT_TIERS": "rules,fallback",
        "TSUKURIOKI_MISSES": "off",
    }
    app = create_app(Settings.read(known))
    app.extensions["tsukurioki"].prompts["recorded"].answer = replied
    return app.test_client()


OLLAMA_TYPES = ("application/json", "application/x-ndjson")
ERROR = {
    "openai": lambda body: set(body["error"]) == {"message", "type", "param", "code"},
    "ollama": lambda body: isinstance(body["error"], str),
    "gemini": lambda body: {"code", "message", "status"} <= set(body["error"]),
}


def check(dialect: str, route: Route, status: int, mime: str, raw: bytes) -> None:
    """A reply as the dialect's clients read it."""
    assert status < 500, raw
    if route.path == "/api/chat" and (mime not in OLLAMA_TYPES or b'"character":' in raw):
        # Without a model it is our own chat.
        return
    if status != 200:
        assert ERROR[dialect](json.loads(raw)), raw
        return
    if mime == "application/json":
        value = json.loads(raw)
        if "capabilities" in value:
            # The client reads it by its alias, and strictly only from Python's own values.
            pydantic.TypeAdapter(route.whole).validate_python(value)
        else:
            accepted(route.whole, value)
        return
    lines = raw.split(b"\n")
    if mime == "text/event-stream":
        lines = [line.rstrip(b"\r")[6:] for line in lines if line.startswith(b"data: ")]
    for line in lines:
        if line and line != b"[DONE]" and route.piece:
            accepted(route.piece, json.loads(line))


def generated(dialect: str, count: int, seed: int) -> Iterator[tuple[Route, str, bytes]]:
    rng = random.Random(seed)
    routes = DIALECTS[dialect]()
    for _ in range(count):
        route = rng.choice(routes)
        body = changed(route.body, rng)
        model = rng.choice(MODELS)
        if isinstance(body, dict) and body.get("model") == "m":
            body["model"] = model
        raw = json.dumps(body).encode()
        if rng.random() < 0.02:
            raw = raw[: rng.randrange(len(raw))]
        yield route, route.path.replace("MODEL", model or "x"), raw


def ask_all(client: FlaskClient, dialect: str, count: int, seed: int) -> Counter[int]:
    statuses: Counter[int] = Counter()
    for route, path, raw in generated(dialect, count, seed):
        answer = client.post(path, data=raw)
        check(dialect, route, answer.status_code, answer.mimetype or "", answer.data)
        statuses[answer.status_code] += 1
    return statuses


@pytest.mark.parametrize("dialect", DIALECTS)
def test_some_generated_requests(client: FlaskClient, dialect: str) -> None:
    """300 requests of a dialect: no 5xx, replies that the client's models take strictly, its errors."""
    statuses = ask_all(client, dialect, 300, 15)
    assert statuses[200] > 50
    assert statuses[400] > 50


@pytest.mark.long
@pytest.mark.parametrize("dialect", DIALECTS)
def test_many_generated_requests(client: FlaskClient, dialect: str) -> None:
    """The same with 2,000 of them."""
    assert sum(ask_all(client, dialect, 2_000, 16).values()) == 2_000


@pytest.mark.xdist_group("clients")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_generated_requests_over_http(dropin: Server, dialect: str) -> None:
    """Against a started server, which records what it can: a status below 500, or the upstream's."""
    with dropin.client() as http:
        for route, path, raw in generated(dialect, 60, 17):
            answer = http.post(path, content=raw)
            mime = answer.headers["content-type"].partition(";")[0]
            check(dialect, route, answer.status_code, mime, answer.content)
