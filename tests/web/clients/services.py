"""A stand-in for the services of OpenAI, Ollama and Gemini, from which the server records.

It reads and renders with the codecs, which `tests/kinds/prompts/test_dialects.py` holds against the
clients' own models. `reply_to` says what it answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any, TypeVar

from app.kinds.prompts.dialects import gemini, ollama
from app.kinds.prompts.dialects.openai import chat, completions, embeddings, responses
from app.kinds.prompts.dialects.wire import Stamp, Wire
from app.kinds.prompts.reply import Choice, Chunk, Reply, Tokens
from app.kinds.prompts.request import PromptRequest, ToolCall
from app.web.dialects import codec_of

STAMP = Stamp("0123abcd", 1_790_000_000)
ANSWER = {"dish": "寿司", "price": 1200}
CALLED = {"city": "京都"}


def reply_to(request: PromptRequest) -> Reply:
    """The reply to a request: a call of the first tool, JSON if asked for, else an echo."""
    tokens = Tokens(7, 5)
    if request.operation == "embed":
        vectors = tuple((float(len(text)), 0.5, -0.25) for text in request.inputs)
        return Reply((), request.model, Tokens(7), vectors)
    last = request.messages[-1]
    if request.tools and last.role == "user":
        call = ToolCall(request.tools[0].name, CALLED, "call_7")
        return Reply((Choice("", (call,), "tool_calls"),), request.model, tokens)
    if request.format:
        text = json.dumps(ANSWER, ensure_ascii=False)
    else:
        media = sum(not hasattr(part, "text") for m in request.messages for part in m.parts)
        text = f"You said: {last.text} 🍣 寿司 after {len(request.messages)} turns, {media} media."
    if "endless" in last.text:
        return Reply((Choice("Once upon", (), "length"),), request.model, tokens)
    count = request.options.get("n", 1)
    return Reply((Choice(text),) * count, request.model, tokens)


@dataclass
class Services:
    """The stand-in. `paths` are the requests that came; those that say "slow" wait for `free`."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def slow(self) -> Iterator[None]:
        """In the block, slow requests are not answered."""
        self.free.clear()
        try:
            yield
        finally:
            self.free.set()


def _events(reply: Reply) -> Generator[Chunk, None, Reply]:
    yield from reply.chunks()
    return reply


def _read(path: str, body: object) -> tuple[ModuleType, PromptRequest, Wire]:
    reads = {
        "/v1/chat/completions": (chat, chat.read),
        "/v1/completions": (completions, completions.read),
        "/v1/embeddings": (embeddings, embeddings.read),
        "/v1/responses": (responses, responses.read),
        "/api/chat": (ollama, ollama.read_chat),
        "/api/generate": (ollama, ollama.read_generate),
        "/api/embed": (ollama, ollama.read_embed),
        "/api/embeddings": (ollama, lambda b: ollama.read_embed(b, "embeddings")),
    }
    if path in reads:
        codec, read = reads[path]
        return codec, *read(body)
    found = re.fullmatch(r"/v1(?:beta)?/models/(.+):(\w+)(\?alt=sse)?", path)
    assert found, path
    model, method, sse = found.groups()
    if "mbed" in method:
        return gemini, *gemini.read_embed(body, model, batch=method.startswith("batch"))
    stream = method == "streamGenerateContent"
    return gemini, *gemini.read_generate(body, model, stream=stream, sse=bool(sse))


@contextmanager
def services() -> Iterator[Services]:
    """The stand-in, listening on 127.0.0.1."""
    made = Services()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            made.paths.append(self.path)
            codec, request, wire = _read(self.path, json.loads(raw))
            if any("slow" in message.text for message in request.messages):
                made.free.wait(30)
            if any("overloaded" in message.text for message in request.messages):
                dialect = codec_of("POST", self.path, google=False) or ollama
                error = json.dumps(dialect.render_error(429, "quota exceeded")).encode()
                self._send(429, error)
                return
            reply = reply_to(request)
            if wire.stream:
                self._send(200, b"".join(codec.render_stream(_events(reply), wire, STAMP)))
            else:
                self._send(200, json.dumps(codec.render(reply, wire, STAMP)).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        server.shutdown()


T = TypeVar("T")


def in_a_thread(asked: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also where a browser's tests have left a loop in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asked).result()
