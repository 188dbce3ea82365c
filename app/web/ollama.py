"""Ollama's routes. `POST /api/chat` is in `app.web.chat`, which has it answered here."""

from __future__ import annotations

from typing import Any

import flask
from flask import Response, request

from app.errors import RequestError
from app.kinds.prompts.dialects import ollama as codec
from app.kinds.prompts.dialects.wire import Members, Stamp, Wire
from app.kinds.prompts.request import PromptRequest
from app.web.bodies import json_response
from app.web.dialects import admit, answer, models, now, read_body, started

LINES = "application/x-ndjson"
# The version of Ollama whose API this is.
VERSION = "0.12.0"
# Seconds for which a model is said to stay loaded.
_LOADED = 3600

ollama_api = flask.Blueprint("ollama", __name__)


def chat_body() -> dict[str, Any] | None:
    """The body of a request to /api/chat that names a model, and so is Ollama's; None if it is not."""
    try:
        body = read_body()
    except RequestError:
        return None
    if not isinstance(body, dict) or body.get("model") is None:
        return None
    flask.g.codec = codec
    return body


def chat(body: dict[str, Any]) -> Response:
    """A reply to the messages of a chat; without messages, the model is loaded."""
    admit()
    return _written(*codec.read_chat(body), "/api/chat")


@ollama_api.post("/api/generate")
def generate() -> Response:
    """A reply to a prompt; without a prompt, the model is loaded."""
    admit()
    return _written(*codec.read_generate(read_body()), "/api/generate")


def _written(asked: PromptRequest, wire: Wire, path: str) -> Response:
    if not any(message.role != "system" for message in asked.messages):
        models().find(asked.model)
        return json_response(codec.render_loaded(wire, Stamp("", now())))
    reader = codec.ReplyReader
    return answer(codec, codec.NAME, asked, wire, path=path, reader=reader, mime=LINES)


@ollama_api.post("/api/embed")
def embed() -> Response:
    return _embedded("embed")


@ollama_api.post("/api/embeddings")
def embeddings() -> Response:
    """The embedding of a text, in the older form."""
    return _embedded("embeddings")


def _embedded(form: str) -> Response:
    admit()
    asked, wire = codec.read_embed(read_body(), form)
    path, reader = f"/api/{form}", codec.EmbeddingReader
    return answer(codec, codec.NAME, asked, wire, path=path, reader=reader)


@ollama_api.get("/api/version")
def version() -> Response:
    """The version of Ollama whose API this is."""
    return json_response({"version": VERSION})


@ollama_api.get("/api/tags")
def tags() -> Response:
    admit()
    return json_response(codec.render_models(models().listed(), started()))


@ollama_api.get("/api/ps")
def running() -> Response:
    """The models in memory, which are all: nothing has to be loaded."""
    admit()
    until = now() + _LOADED
    return json_response(codec.render_running(models().listed(), started(), until))


@ollama_api.post("/api/show")
def show() -> Response:
    """What a model is."""
    admit()
    name = _known(Members(read_body()))
    about = models().listed()[name]
    return json_response(codec.render_shown(name, about, started(), ("completion", "tools")))


@ollama_api.post("/api/pull")
def pull() -> Response:
    """The statuses of a download: what is listed is here already."""
    admit()
    body = Members(read_body())
    stream = body.switch("stream", default=True)
    _known(body)
    lines = list(codec.render_pulled(stream=stream))
    return Response(lines, content_type=LINES if stream else "application/json")


def _known(body: Members) -> str:
    """The name of the listed model that a body names. Raises RequestError."""
    name = body.text("model") or body.text("name", None)
    bare = codec.bare_name(name)
    if bare not in models().listed():
        raise RequestError(404, "Unknown model", f"model '{name[:80]}' not found")
    return bare


def root_text() -> Response | None:
    """What Ollama says at `/`; None for a browser, which asks for HTML by name."""
    if any(kind == "text/html" for kind, _ in request.accept_mimetypes):
        return None
    response = Response("Ollama is running", content_type="text/plain; charset=utf-8")
    response.vary.add("Accept")
    return response
