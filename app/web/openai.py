"""OpenAI's routes: chat completions, responses, completions, embeddings, models."""

from __future__ import annotations

import flask
from flask import Response

from app.errors import RequestError
from app.kinds.prompts.dialects import openai as codec
from app.kinds.prompts.dialects import openai_responses
from app.web import gemini
from app.web.dialects import admit, answer, is_gemini, json_response, models, read_body, started

EVENTS = "text/event-stream"

openai_api = flask.Blueprint("openai", __name__)


@openai_api.post("/v1/chat/completions")
def chat_completions() -> Response:
    """A reply to the messages of a chat."""
    admit()
    asked, wire = codec.read_chat(read_body())
    reader, path = codec.ReplyReader(), "/chat/completions"
    return answer(codec, codec.NAME, asked, wire, path=path, reader=reader, mime=EVENTS)


@openai_api.post("/v1/responses")
def responses() -> Response:
    """A response to an input."""
    admit()
    asked, wire = openai_responses.read(read_body())
    reader, path = openai_responses.ReplyReader(), "/responses"
    return answer(openai_responses, codec.NAME, asked, wire, path=path, reader=reader, mime=EVENTS)


@openai_api.post("/v1/completions")
def completions() -> Response:
    """A text that goes on from a prompt."""
    admit()
    asked, wire = codec.read_completion(read_body())
    reader, path = codec.ReplyReader(), "/completions"
    return answer(codec, codec.NAME, asked, wire, path=path, reader=reader, mime=EVENTS)


@openai_api.post("/v1/embeddings")
def embeddings() -> Response:
    """The embeddings of texts."""
    admit()
    asked, wire = codec.read_embedding(read_body())
    reader, path = codec.EmbeddingReader(), "/embeddings"
    return answer(codec, codec.NAME, asked, wire, path=path, reader=reader)


@openai_api.get("/v1/models")
def list_models() -> Response:
    """The models; in Gemini's form for its clients."""
    if is_gemini():
        return gemini.list_models()
    admit()
    return json_response(codec.render_models(models().listed(), started()))


@openai_api.get("/v1/models/<path:model>")
def show_model(model: str) -> Response:
    """One model; in Gemini's form for its clients."""
    if is_gemini():
        return gemini.show_model(model)
    admit()
    if model not in models().listed():
        raise RequestError(404, "Unknown model", f"The model {model[:80]!r} does not exist")
    return json_response(codec.render_model(model, started()))
