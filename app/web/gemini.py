"""Gemini's routes, under /v1 and /v1beta."""

from __future__ import annotations

from urllib.parse import quote

import flask
from flask import Response, request

from app.errors import RequestError
from app.kinds.prompts.dialects import gemini as codec
from app.kinds.prompts.request import PromptRequest
from app.providers.tokens import estimate_tokens
from app.web.bodies import json_response
from app.web.dialects import admit, answer, limit_text, models, read_body

gemini_api = flask.Blueprint("gemini", __name__)


@gemini_api.post("/v1/models/<path:call>")
@gemini_api.post("/v1beta/models/<path:call>")
def call(call: str) -> Response:
    """A method of a model: `MODEL:generateContent` and others."""
    admit()
    model, _, method = call.rpartition(":")
    stream = method == "streamGenerateContent"
    if stream or method == "generateContent":
        sse = stream and request.args.get("alt") == "sse"
        asked, wire = codec.read_generate(read_body(), model, stream=stream, sse=sse)
        # An upstream is always asked for events.
        path = f"{_path(model)}:{method}{'?alt=sse' if stream else ''}"
        mime = "text/event-stream" if sse else "application/json"
        reader = codec.ReplyReader
        return answer(codec, codec.NAME, asked, wire, path=path, reader=reader, mime=mime)
    if method in ("embedContent", "batchEmbedContents"):
        asked, wire = codec.read_embed(read_body(), model, batch=method == "batchEmbedContents")
        path, embedder = f"{_path(model)}:{method}", codec.EmbeddingReader
        return answer(codec, codec.NAME, asked, wire, path=path, reader=embedder)
    if method == "countTokens":
        return json_response(codec.render_count(_tokens(codec.read_count(read_body(), model))))
    detail = f"{method[:40]!r} is not a method that is served here: see docs/protocols.md"
    raise RequestError(404, "Unknown method", detail)


def _path(model: str) -> str:
    # A client must not choose another path of the upstream, which is asked with the owner's key.
    return f"{request.path.partition('/models/')[0]}/models/{quote(model, safe='')}"


def _tokens(asked: PromptRequest) -> int:
    limit_text(asked)
    return sum(estimate_tokens(message.text) for message in asked.messages)


@gemini_api.get("/v1beta/models")
def list_models() -> Response:
    admit()
    return json_response(codec.render_models(models().listed()))


@gemini_api.get("/v1beta/models/<path:model>")
def show_model(model: str) -> Response:
    admit()
    about = models().listed().get(model)
    if about is None:
        raise RequestError(404, "Unknown model", f"models/{model[:80]} is not found")
    return json_response(codec.render_model(model, about))
