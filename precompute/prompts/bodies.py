"""Requests as applications send them, in files: which dialect they are of, and what they ask."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from app.errors import DeckError, RequestError
from app.kinds.prompts.dialects import gemini, ollama, openai
from app.kinds.prompts.dialects.openai import chat, completions, embeddings, responses
from app.kinds.prompts.reply import ReplyReader
from app.kinds.prompts.request import PromptRequest
from app.kinds.reading import json_lines

PROMPTS_FILE = "prompts.jsonl"
_GEMINI = re.compile(r"/models/([^/:?]*):(generateContent|streamGenerateContent|embedContent|batchEmbedContents)")  # fmt: skip


NewReader = Callable[[], ReplyReader]


class Sent(NamedTuple):
    """A request, the dialect that it is of, and what makes a reader of its reply."""

    request: PromptRequest
    dialect: str
    reader: NewReader


# What reads bodies, and the replies to them, by the end of the path to which they are sent.
_READERS: Mapping[str, tuple[str, Callable[[Any], tuple[PromptRequest, Any]], NewReader]] = {
    "/chat/completions": (openai.NAME, chat.read, chat.ReplyReader),
    "/completions": (openai.NAME, completions.read, completions.ReplyReader),
    "/responses": (openai.NAME, responses.read, responses.ReplyReader),
    "/v1/embeddings": (openai.NAME, embeddings.read, embeddings.ReplyReader),
    "/api/chat": (ollama.NAME, ollama.read_chat, ollama.ReplyReader),
    "/api/generate": (ollama.NAME, ollama.read_generate, ollama.ReplyReader),
    "/api/embed": (ollama.NAME, ollama.read_embed, ollama.EmbeddingReader),
    "/api/embeddings": (ollama.NAME, ollama.read_embed, ollama.EmbeddingReader),
}


def read_sent(path: str, body: Any) -> Sent:
    """The request in a body that was sent to a path, or to an address.

    Raises RequestError; also for a path that is none of the dialects'.
    """
    bare = path.partition("?")[0]
    found = _GEMINI.search(bare)
    if found and "mbed" in found[2]:
        request, _ = gemini.read_embed(body, unquote(found[1]), batch=found[2].startswith("batch"))
        return Sent(request, gemini.NAME, gemini.EmbeddingReader)
    if found:
        request, _ = gemini.read_generate(body, unquote(found[1]))
        return Sent(request, gemini.NAME, gemini.ReplyReader)
    for end, (dialect, read, reader) in _READERS.items():
        if bare.endswith(end):
            return Sent(read(body)[0], dialect, reader)
    raise RequestError(400, "Unknown path", f"{bare[:80]!r} is no path of OpenAI, Ollama or Gemini")


def path_of(body: Any) -> str:
    """The path to which a body without one is sent, by its members."""
    names = body.keys() if isinstance(body, Mapping) else set[str]()
    if "contents" in names:
        # Of Gemini's requests the path has the model.
        return f"/models/{body.get('model') or ''}:generateContent"
    if "messages" in names:
        return (
            "/api/chat"
            if names & {"keep_alive", "format"} or "options" in names
            else "/chat/completions"
        )
    if "prompt" in names:
        ours = {"options", "system", "keep_alive", "format", "raw", "template"}
        return "/api/generate" if names & ours else "/completions"
    if "input" in names:
        embeds = "embed" in str(body.get("model")) or names & {"encoding_format", "dimensions"}
        return "/v1/embeddings" if embeds else "/responses"
    return ""


def read_line(value: Any) -> PromptRequest:
    """The request in a line of a file: a body alone, or {"url": path, "body": …} as in batch files.

    Raises RequestError.
    """
    if isinstance(value, Mapping) and isinstance(value.get("body"), Mapping):
        path = value.get("url") or value.get("path") or path_of(value["body"])
        return read_sent(str(path), value["body"]).request
    return read_sent(path_of(value), value).request


def read_prompts(folder: Path | None) -> Iterator[PromptRequest]:
    """The requests of a deck's file of prompts; none if it has no such file. Raises DeckError."""
    path = folder / PROMPTS_FILE if folder else None
    if path is None or not path.exists():
        return
    for number, value in json_lines(path):
        try:
            yield read_line(value)
        except RequestError as error:
            raise DeckError(str(path), f"line {number}", error.detail) from None
