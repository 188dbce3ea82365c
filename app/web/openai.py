"""OpenAI's routes: chat completions, responses, completions, embeddings, models."""

from __future__ import annotations

import flask
from flask import Response

from app.errors import RequestError
from app.kinds.prompts.dialects import openai
from app.kinds.prompts.dialects.openai import chat
from app.kinds.prompts.dialects.openai import completions as completion
from app.kinds.prompts.dialects.openai import embeddings as embedding
from app.kinds.prompts.dialects.openai import responses as response
from app.web import gemini
from app.web.bodies import json_response
from app.web.dialects import (
    Codec,
    admit,
    answer,
    is_gemini,
    models,
    read_body,
    started,
)

openai_api = flask.Blueprint("openai", __name__)


@openai_api.post("/v1/chat/completions")
def chat_completions() -> Response:
    return _answered(chat, "/chat/completions")


@openai_api.post("/v1/responses")
def responses() -> Response:
    return _answered(response, "/responses")


@openai_api.post("/v1/completions")
def completions() -> Response:
    return _answered(completion, "/completions")


@openai_api.post("/v1/embeddings")
def embeddings() -> Response:
    return _answered(embedding, "/embeddings")


def _answered(codec: Codec, path: str) -> Response:
    admit()
    asked, wire = codec.read(read_body())
    reader, mime = codec.ReplyReader, "text/event-stream"
    return answer(codec, openai.NAME, asked, wire, path=path, reader=reader, mime=mime)


@openai_api.get("/v1/models")
def list_models() -> Response:
    """The models; in Gemini's form for its clients."""
    if is_gemini():
        return gemini.list_models()
    admit()
    return json_response(openai.render_models(models().listed(), started()))


@openai_api.get("/v1/models/<path:model>")
def show_model(model: str) -> Response:
    """One model; in Gemini's form for its clients."""
    if is_gemini():
        return gemini.show_model(model)
    admit()
    if model not in models().listed():
        raise RequestError(404, "Unknown model", f"The model {model[:80]!r} does not exist")
    return json_response(openai.render_model(model, started()))
