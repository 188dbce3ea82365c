"""A server that keeps models, by Ollama's protocol."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TIME = "2026-11-27T10:00:00Z"
DETAILS = {"family": "qwen2", "parameter_size": "494M", "quantization_level": "Q4_K_M"}


class Ollama:
    """What the server has, and what it was asked to make."""

    def __init__(self) -> None:
        self.models = {"qwen2.5:0.5b": 397_000_000}
        self.loaded = {"qwen2.5:0.5b"}
        self.blobs: dict[str, bytes] = {}
        self.created: list[dict[str, Any]] = []
        # What is sent in the place of an answer: a status and an error's text, or bytes.
        self.fault: tuple[int, str | bytes] | None = None
        self.url = ""


@contextmanager
def serving() -> Iterator[Ollama]:
    """Such a server."""
    state = Ollama()
    handler = type("Handler", (_Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Ollama

    def log_message(self, *told: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:  # the base's name
        self._handle()

    def do_POST(self) -> None:  # the base's name
        self._handle()

    def do_HEAD(self) -> None:  # the base's name
        self._handle()

    def do_DELETE(self) -> None:  # the base's name
        self._handle()

    def _handle(self) -> None:
        raw = self._body()
        if self.state.fault:
            status, error = self.state.fault
            raw = error if isinstance(error, bytes) else json.dumps({"error": error}).encode()
            self._reply(raw, status)
        elif self.path.startswith("/api/blobs/"):
            self._blob(raw)
        else:
            getattr(self, f"_{self.path.removeprefix('/api/')}")(json.loads(raw or b"{}"))

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send(self, *values: Any, status: int = 200) -> None:
        self._reply("\n".join(map(json.dumps, values)).encode(), status)

    def _reply(self, raw: bytes, status: int) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _blob(self, raw: bytes) -> None:
        digest = self.path.rsplit(":")[-1]
        if self.command == "HEAD":
            self._send(status=200 if digest in self.state.blobs else 404)
            return
        assert hashlib.sha256(raw).hexdigest() == digest
        self.state.blobs[digest] = raw
        self._send(status=201)

    def _known(self, name: str) -> bool:
        if name in self.state.models:
            return True
        self._send({"error": f"model '{name}' not found"}, status=404)
        return False

    def _tags(self, _: Any) -> None:
        more = {"modified_at": TIME, "digest": "d", "details": DETAILS}
        models = self.state.models.items()
        self._send({"models": [{"model": name, "size": size, **more} for name, size in models]})

    def _ps(self, _: Any) -> None:
        more = {"size": 540_000_000, "size_vram": 0, "expires_at": TIME, "details": DETAILS}
        self._send({"models": [{"model": name, **more} for name in sorted(self.state.loaded)]})

    def _show(self, asked: Any) -> None:
        if self._known(asked["model"]):
            known = {"template": "{{ .Prompt }}", "parameters": "stop x", "model_info": {}}
            self._send({"details": DETAILS, "capabilities": ["completion"], **known})

    def _pull(self, asked: Any) -> None:
        self.state.models[asked["model"]] = 5
        part = {"status": "pulling a", "digest": "sha256:a", "total": 5}
        parts = [{**part, "completed": done} for done in range(6)]
        self._send({"status": "pulling manifest"}, *parts, {"status": "success"})

    def _create(self, asked: Any) -> None:
        source = asked.get("from")
        if source is None or self._known(source):
            self.state.created.append(asked)
            self.state.models[asked["model"]] = 1
            self._send({"status": "creating"}, {"status": "success"})

    def _copy(self, asked: Any) -> None:
        if self._known(asked["source"]):
            self.state.models[asked["destination"]] = self.state.models[asked["source"]]
            self._send({})

    def _delete(self, asked: Any) -> None:
        if self._known(asked["model"]):
            del self.state.models[asked["model"]]
            self._send({})

    def _generate(self, asked: Any) -> None:
        assert asked["keep_alive"] == 0
        if self._known(asked["model"]):
            self.state.loaded.discard(asked["model"])
            self._send({"model": asked["model"], "response": "", "done": True})
