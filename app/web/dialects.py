"""What the routes of OpenAI, Ollama and Gemini share: who may ask, bodies, errors, streams."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from datetime import datetime
from types import ModuleType
from typing import Any

import flask
import orjson
from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import BadFieldError, PromptMissError, RequestError, TsukuriokiError, UpstreamError
from app.kinds.chat.service import MAX_ID
from app.kinds.prompts.dialects import gemini, ollama, openai
from app.kinds.prompts.dialects.wire import Stamp, Wire, deepest
from app.kinds.prompts.reply import NEAR, About, Asked, Chunk, Reply, ReplyReader
from app.kinds.prompts.request import PromptRequest
from app.web.access import client_address
from app.web.bodies import json_response, parse_json
from app.web.models import ListedModel, Models
from app.web.service import ReplayedResponse, current_service

# Greatest length of a body in bytes: Gemini's own limit for a request with images in it.
MAX_PROMPT_BODY = 20 << 20
# Lists and objects in a body, and its commas: what is parsed takes up to 40 times a body's bytes.
# A thousand texts to embed, as 500 tokens each, have half a million commas.
MOST_BRACKETS, MOST_COMMAS = 1 << 17, 1 << 19
# Characters in the texts of a request: a million tokens.
MOST_TEXT = 4 << 20
# Levels of lists and objects in a body; orjson writes no more than 254.
MOST_DEPTH = 100
TIER, KEY, CONVERSATION = "X-Tsukurioki-Tier", "X-Tsukurioki-Key", "X-Tsukurioki-Conversation"
# Of a near answer, from 0 to 1.
DISTANCE = "X-Tsukurioki-Distance"
# Why a reply that was just asked upstream is not recorded.
UNKEPT = "X-Tsukurioki-Not-Kept"
MODELS = "tsukurioki-models"
# What to call, of a request's environ, when its body has been read and its answer waits for others.
WAITS = "tsukurioki.waits"
# Headers that only Gemini's clients send.
GOOGLE = ("x-goog-api-key", "x-goog-api-client")
_VERSIONS = ("/v1/", "/v1beta/")
_OLLAMA = frozenset(
    f"/api/{name}"
    for name in (
        "version", "tags", "show", "ps", "generate", "embed", "embeddings", "pull", "push",
        "create", "copy", "delete",
    )
)  # fmt: skip
# A codec of `app.kinds.prompts.dialects`.
Codec = ModuleType


def models() -> Models:
    found: Models = flask.current_app.extensions[MODELS]
    return found


def started() -> int:
    """When this server was started, in seconds of the epoch."""
    return _seconds(current_service().started)


def now() -> int:
    """The time in seconds of the epoch."""
    return _seconds(current_service().now())


def _seconds(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp())


def is_prompt_path(path: str) -> bool:
    """Whether requests to a path may have long bodies and slow answers."""
    return path.startswith(_VERSIONS) or path in _OLLAMA or path == "/api/chat"


def codec_of(method: str, path: str, *, google: bool) -> Codec | None:
    """The dialect whose errors a client reads; None for our own routes, and for /api/chat.

    `google`: the request has a header of Gemini's clients. OpenAI's have /v1 too.
    """
    if path in _OLLAMA:
        return ollama
    if not path.startswith(_VERSIONS):
        return None
    called = method == "POST" and path.startswith("/v1/models/")
    return gemini if google or called or path.startswith("/v1beta/") else openai


def codec_of_request() -> Codec | None:
    """The same for the request that is answered now."""
    if "codec" in flask.g:
        found: Codec = flask.g.codec
        return found
    return codec_of(request.method, request.path, google=is_gemini())


def is_gemini() -> bool:
    """Whether a client is Gemini's, by its headers."""
    return any(name in request.headers for name in GOOGLE)


def admit() -> None:
    """Raise RequestError (401, 429) unless the client shows the token, if one is set.

    Gemini's clients show it as their API key.
    """
    environ: Mapping[str, Any] = request.environ
    key = request.headers.get("x-goog-api-key") or request.args.get("key")
    if key and "HTTP_AUTHORIZATION" not in environ:
        environ = {**environ, "HTTP_AUTHORIZATION": f"Bearer {key}"}
    current_service().access.demand_token(environ)


def limit_text(asked: PromptRequest) -> None:
    """Raise RequestError (413) if a request has too much text."""
    if asked.length > MOST_TEXT:
        raise RequestError(413, "Too much text", f"the texts have over {MOST_TEXT:,} characters")


def read_body() -> Any:
    """The JSON of a request's body, whatever its content type. Raises RequestError."""
    request.max_content_length = MAX_PROMPT_BODY + 1
    raw = request.get_data(cache=True)
    if len(raw) > MAX_PROMPT_BODY:
        raise RequestEntityTooLarge
    brackets, commas = raw.count(b"[") + raw.count(b"{"), raw.count(b",")
    if brackets > MOST_BRACKETS or commas > MOST_COMMAS:
        detail = f"the body has over {MOST_BRACKETS:,} brackets or {MOST_COMMAS:,} commas"
        raise RequestError(413, "Too many parts", detail)
    value = parse_json(raw)
    if deepest(value, MOST_DEPTH) > MOST_DEPTH:
        raise RequestError(400, "Bad request", f"the body is nested over {MOST_DEPTH} levels deep")
    return value


def answer(
    codec: Codec,
    name: str,
    asked: PromptRequest,
    wire: Wire,
    *,
    path: str,
    reader: Callable[[], ReplyReader],
    mime: str = "",
) -> Response:
    """The response to a request of a dialect: whole, or a stream of the media type `mime`.

    `path` is the one at the upstream's base URL. Raises RequestError and UpstreamError.
    """
    limit_text(asked)
    model = models().find(asked.model)
    if model.chats:
        current_service().limit_chats(request.environ)
    state = model.replays.state() if model.replays else None
    waits, body = request.environ.get(WAITS, bool), request.get_data()
    sent = Asked(asked, name, path, body, wire.stream, reader, _conversation(model), waits)
    given = models().answer(model, sent)
    stamp = Stamp(given.about.key, now())
    headers = _headers(given.about)
    if wire.stream and not given.ready:
        waits()
        return _as_it_comes(_streamed(codec, given.events, wire, stamp), headers, mime)
    if wire.stream:
        # At once: each chunk that is sent by itself costs a thread some 50 µs.
        whole = b"".join(_streamed(codec, given.events, wire, stamp))
    else:
        reply = given.whole()
        mime, whole = "application/json", orjson.dumps(codec.render(reply, wire, stamp))
        if reply.not_kept:
            headers.append((UNKEPT, reply.not_kept))
    headers.insert(0, ("Content-Type", mime))
    if model.replays and given.fixed:
        replay = ReplayedResponse(model.replays, given.about.tier, state, tuple(headers), whole)
        _keep(body, replay)
    return Response(whole, headers=headers)


def _as_it_comes(parts: Iterator[bytes], headers: list[tuple[str, str]], mime: str) -> Response:
    # Keeps nginx from buffering the stream.
    return Response(parts, headers=[*headers, ("Content-Type", mime), ("X-Accel-Buffering", "no")])


def _conversation(model: ListedModel) -> str:
    """What the requests of a conversation have in common; of other models than chats, the client."""
    named = request.headers.get(CONVERSATION, "")[:MAX_ID]
    return named or ("" if model.chats else client_address(request.environ))


def _keep(body: bytes, replay: ReplayedResponse) -> None:
    """Hand a response to the fast path, which gives it to whoever asks the same."""
    keep = current_service().keep_replay
    if keep and not request.query_string:
        keep(request.path, body, replay)


def _headers(about: About) -> list[tuple[str, str]]:
    near = [(DISTANCE, f"{about.distance:.3f}")] if about.tier == NEAR else []
    return [(TIER, about.tier), (KEY, about.key), ("Cache-Control", "no-store"), *near]


Events = Generator[Chunk, None, Reply]


def _streamed(codec: Codec, events: Events, wire: Wire, stamp: Stamp) -> Iterator[bytes]:
    try:
        yield from codec.render_stream(events, wire, stamp)
    except TsukuriokiError as error:
        yield codec.render_stream_error(str(error), wire)
    finally:
        events.close()


def error_response(codec: Codec, error: RequestError | UpstreamError) -> Response:
    """An error as the dialect's clients read it."""
    if isinstance(error, UpstreamError):
        if error.body:
            response = Response(error.body, error.status, content_type=error.mime)
            response.headers.extend(error.headers)
            return response
        return json_response(codec.render_error(error.status, str(error), "upstream"), error.status)
    field, code = "", ""
    if isinstance(error, BadFieldError):
        field, code = error.field, "invalid_value"
    elif isinstance(error, PromptMissError):
        field, code = error.differs, "not_recorded"
    elif error.title == "Unknown model":
        code = "model_not_found"
    body = codec.render_error(error.status, error.detail, code, field)
    response = json_response(body, error.status)
    for name, value in error.headers:
        response.headers[name] = value
    return response
