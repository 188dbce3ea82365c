"""Stand-ins for OpenAI, Ollama and Gemini on 127.0.0.1: one server that speaks all three, and counts.

A reply says what it was asked and how often the server was asked before, so that no two replies are
the same: a replay cannot be taken for a new reply. Cooking asks for a list of answers, and gets one.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_ID = re.compile(r"^id (\d+):$", re.MULTILINE)


def _told(question: str, number: int) -> str:
    return f"You asked: {question} (reply {number})"


@dataclass
class StandIns:
    """The server's address, and the bodies that it was sent, with their paths."""

    url: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    told: Callable[[str, int], str] = _told

    def environment(self) -> dict[str, str]:
        """The settings by which it is asked in place of the real services."""
        return {
            "OPENAI_BASE_URL": f"{self.url}/v1",
            "OPENAI_API_KEY": "stand-in",
            "OLLAMA_HOST": self.url,
            "TSUKURIOKI_GEMINI_BASE_URL": self.url,
            "GEMINI_API_KEY": "stand-in",
        }

    def reply(self, path: str, body: Any) -> tuple[str, list[str]]:
        """The media type and the pieces of the response to a request."""
        self.asked.append((path, body))
        text = self._text(_question(body), len(self.asked))
        words = re.findall(r"\s*\S+", text)
        if path.endswith("/chat/completions"):
            return _openai(body, text, words)
        if path.startswith("/api/"):
            return _ollama(path, body, text, words)
        return _gemini(path, text, words)

    def _text(self, question: str, number: int) -> str:
        ids = _ID.findall(question)
        if '"answers"' not in question and not ids:
            return self.told(question, number)
        blocks = _ID.split(question)[1:]
        answers = [
            {"id": int(at), "text": self.told(block.strip().splitlines()[-1], number)}
            for at, block in zip(blocks[::2], blocks[1::2], strict=True)
        ]
        return json.dumps({"answers": answers})


def _question(body: Any) -> str:
    """The text of the last message."""
    if "contents" in body:
        return "".join(part.get("text", "") for part in body["contents"][-1]["parts"])
    if "messages" not in body:
        return str(body.get("prompt", ""))
    content = body["messages"][-1]["content"]
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content)


def _openai(body: Any, text: str, words: list[str]) -> tuple[str, list[str]]:
    usage = {"prompt_tokens": 5, "completion_tokens": len(words), "total_tokens": 5 + len(words)}
    head = {"id": "chatcmpl-1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        whole = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return "application/json", [json.dumps(whole)]
    deltas = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    ends: list[tuple[dict[str, str], str | None]] = [*deltas, ({}, "stop")]
    chunks = [
        {
            **head,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        for delta, reason in ends
    ]
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return "text/event-stream", [*lines, "data: [DONE]\n\n"]


def _ollama(path: str, body: Any, text: str, words: list[str]) -> tuple[str, list[str]]:
    def said(piece: str) -> dict[str, Any]:
        if path == "/api/generate":
            return {"response": piece}
        return {"message": {"role": "assistant", "content": piece}}

    head = {"model": body["model"], "created_at": "2026-11-27T00:00:00Z"}
    counts = {"prompt_eval_count": 5, "eval_count": len(words), "total_duration": 1}
    end = {"done": True, "done_reason": "stop", **counts}
    if body.get("stream") is False:
        return "application/json", [json.dumps({**head, **said(text), **end})]
    lines = [{**head, **said(word), "done": False} for word in words]
    return "application/x-ndjson", [
        json.dumps(one) + "\n" for one in [*lines, head | said("") | end]
    ]


def _gemini(path: str, text: str, words: list[str]) -> tuple[str, list[str]]:
    def said(piece: str, reason: str | None) -> str:
        content = {"role": "model", "parts": [{"text": piece}]}
        candidate = {"content": content, "index": 0}
        if reason:
            candidate["finishReason"] = reason
        usage = {"promptTokenCount": 5, "candidatesTokenCount": len(words)}
        model = path.partition("/models/")[2].partition(":")[0]
        return json.dumps(
            {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}
        )

    if ":streamGenerateContent" not in path:
        return "application/json", [said(text, "STOP")]
    pieces = [said(word, None) for word in words[:-1]] + [said(words[-1], "STOP")]
    return "text/event-stream", [f"data: {piece}\r\n\r\n" for piece in pieces]


@contextmanager
def stand_ins() -> Iterator[StandIns]:
    """The server, which listens on a port of its own."""
    made = StandIns()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
            mime, pieces = made.reply(self.path, body)
            self.send_response(200)
            self.send_header("content-type", mime)
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece.encode())
                self.wfile.flush()

        def do_GET(self) -> None:
            """The models that an OpenAI-compatible server lists."""
            raw = json.dumps({"object": "list", "data": [{"id": "stand-in", "object": "model"}]})
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(raw.encode())

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002  # its name there
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *words: object) -> None:
            """A client that goes away is no fault."""

    with Server(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield made
        finally:
            server.shutdown()
