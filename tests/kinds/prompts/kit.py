"""What tests of prompts share: a counting upstream, and decks as two workers serve them."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

from app.errors import UpstreamError
from app.kinds.kind import Serving
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.reply import Asked, Choice, Chunk, Reply, Tokens
from app.kinds.prompts.request import Message, PromptRequest
from app.kinds.prompts.service import ServedPrompts
from app.kinds.served_models import ServedModels
from app.ledger.counters import Counters
from app.ledger.state import State
from app.settings import Settings

MODEL = "m-1"


@dataclass
class Upstream:
    """An upstream of a protocol of our own: it replies with its number, whole or in pieces.

    `say` makes the reply's texts; `before` is called before each reply; `status` is what it answers
    with, and `more` further headers; with `cut` its streams end in the middle.
    """

    url: str = ""
    requests: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    say: Callable[[int], Iterable[str]] = lambda number: ["answer ", f"{number}"]
    before: Callable[[], object] = lambda: None
    status: int = 200
    cut: bool = False
    more: dict[str, str] = field(default_factory=dict)

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        self.requests.append(body)
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        number = len(self.requests)
        self.before()
        handler.send_response(self.status)
        for name, value in self.more.items():
            handler.send_header(name, value)
        if not body["stream"] or self.status != 200:
            raw = json.dumps({"texts": list(self.say(number)), "sign": "署名"}).encode()
            handler.send_header("content-length", str(len(raw)))
            handler.end_headers()
            handler.wfile.write(raw)
            return
        handler.send_header("connection", "close")
        handler.end_headers()
        lines = (json.dumps(text, ensure_ascii=False) for text in self.say(number))
        for line in itertools.chain(lines, [] if self.cut else ["null"]):
            # Cut anywhere, also within a character.
            for byte in (line + "\n").encode():
                handler.wfile.write(bytes([byte]))
            handler.wfile.flush()


@contextmanager
def upstream() -> Iterator[Upstream]:
    """An upstream that listens on 127.0.0.1."""
    made = Upstream()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.reply(self)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *words: object) -> None:
            """A client that goes away is no fault."""

    with Server(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        server.shutdown()


class Reader:
    """Reads a reply of our protocol. A stream of it has a JSON text a line, then null."""

    def __init__(self) -> None:
        self._rest = b""
        self._texts: list[str] = []
        self._whole = False

    def whole(self, body: Any) -> Reply:
        """The reply, of a body with all texts."""
        return Reply((Choice("".join(body["texts"])),), MODEL, Tokens(3, 2))

    def feed(self, data: bytes) -> list[Chunk]:
        """The texts that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        values = [json.loads(line) for line in lines]
        self._whole = self._whole or None in values
        texts = [value for value in values if value is not None]
        self._texts += texts
        return [Chunk(0, text) for text in texts]

    def end(self) -> Reply:
        """The reply."""
        if not self._whole:
            raise UpstreamError(502, "the stream was cut")
        return Reply((Choice("".join(self._texts)),), MODEL, Tokens(3, 2))


def chat(text: str, **fields: Any) -> PromptRequest:
    """A chat of one message."""
    return PromptRequest("chat", MODEL, (Message.of("user", text),), **fields)


def asked(
    text: str | PromptRequest,
    *,
    stream: bool = False,
    conversation: str = "",
    dialect: str = "openai",
) -> Asked:
    """A request as a codec makes it."""
    request = chat(text) if isinstance(text, str) else text
    body = json.dumps({"stream": stream, "request": request.to_json()}).encode()
    return Asked(request, dialect, "/ask", body, stream, Reader, conversation)


def served(folder: Path, deck: PromptDeck | None = None, **settings: str) -> ServedPrompts:
    """A deck as a worker serves it, with a store and a ledger in `folder`."""
    read = Settings.read({"TSUKURIOKI_DATA": str(folder), **settings})
    state = State(read.ledger, time.time)
    serving = Serving(
        read,
        state,
        Counters(state, "run"),
        ServedModels(read, read.ledger, time.monotonic),
        time.monotonic,
        time.perf_counter,
        lambda: "2026-11-27T00:00:00Z",
        Random(0),
    )
    return ServedPrompts(deck or PromptDeck("recorded"), serving)


def recording(
    folder: Path, at: Upstream, deck: PromptDeck | None = None, mode: str = "record"
) -> ServedPrompts:
    """A deck that records from an upstream."""
    return served(folder, deck, TSUKURIOKI_MODE=mode, OPENAI_BASE_URL=at.url, OLLAMA_HOST=at.url)


def text_of(worker: ServedPrompts, one: Asked) -> str:
    """The text of a worker's answer."""
    return worker.answer(one).whole().choices[0].text
