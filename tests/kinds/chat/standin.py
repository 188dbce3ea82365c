"""Servers on 127.0.0.1 that speak Ollama's, Gemini's and OpenAI's protocols, and fail as they are told to."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Handler = type[BaseHTTPRequestHandler]


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that go away, which is what is tested."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing."""


class _Handler(BaseHTTPRequestHandler):
    """What both have in common."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *told: Any) -> None:
        """Nothing."""

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def served(handler: Handler) -> Iterator[str]:
    """A server for a handler; gives its address."""
    server = QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Ollama:
    """What the stand-in does next, and what it has seen.

    `fault`: "", missing, busy, memory, hang, drip, reset, cut, in_stream, html. `gone` is set when a
    client leaves in the middle of a reply; `release` ends a hang.
    """

    pieces: Sequence[str] = ("うん", "、", "そうだね！")
    answer: Callable[[dict[str, Any]], str] | None = None
    fault: str = ""
    done_reason: str = "stop"
    loaded: bool = False
    loads: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    asking: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    busy_now: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """As at the beginning."""
        self.release.set()
        self.__init__()  # type: ignore[misc]  # all of it anew, for the next test

    def unload(self) -> None:
        """What Ollama does after `keep_alive`."""
        self.loaded = False


class _OllamaHandler(_Handler):
    """Speaks /api/chat and /api/ps."""

    state: Ollama

    def do_GET(self) -> None:
        models = [{"model": self.state.asked[-1]["model"], "size": 1}] if self.state.loaded else []
        self._json(200, {"models": models})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        with self.state.lock:
            self.state.asked.append(asked)
            self.state.busy_now += 1
            self.state.most_at_once = max(self.state.most_at_once, self.state.busy_now)
        self.state.asking.set()
        try:
            self._reply(asked)
        except (BrokenPipeError, ConnectionResetError):
            self.state.gone.set()
        finally:
            with self.state.lock:
                self.state.busy_now -= 1

    def _reply(self, asked: dict[str, Any]) -> None:
        failures = {
            "missing": (404, f"model '{asked['model']}' not found"),
            "busy": (503, "server busy, please try again"),
            "memory": (500, "model requires more system memory (1.2 GiB) than is available"),
        }
        if self.state.fault in failures:
            status, told = failures[self.state.fault]
            self._json(status, {"error": told})
            return
        if self.state.fault == "html":
            self._send(200, b"<html>a proxy's page</html>", "text/html")
            return
        if self.state.fault == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.connection.close()
            self.close_connection = True
            return
        if self.state.fault == "hang":
            self._hang()
            return
        if not self.state.loaded:
            self.state.loaded, self.state.loads = True, self.state.loads + 1
        if asked.get("stream"):
            self._stream(asked)
        else:
            self._whole(asked)

    def _pieces(self, asked: dict[str, Any]) -> Sequence[str]:
        return [self.state.answer(asked)] if self.state.answer else self.state.pieces

    def _whole(self, asked: dict[str, Any]) -> None:
        message = {"role": "assistant", "content": "".join(self._pieces(asked))}
        told = {"model": asked["model"], "message": message, "done": True, "done_reason": "stop"}
        self._json(200, {**told, "prompt_eval_count": 120, "eval_count": 12})

    def _hang(self) -> None:
        """Wait for the release or for the client to leave, and say nothing."""
        while not self.state.release.wait(0.05):
            self.connection.setblocking(False)
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    self.state.gone.set()
                    return
            except BlockingIOError:
                continue
            except OSError:
                self.state.gone.set()
                return
            finally:
                self.connection.setblocking(True)

    def _stream(self, asked: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces = self._pieces(asked)
        for number, piece in enumerate(pieces):
            if number and self.state.fault == "cut":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if number and self.state.fault == "in_stream":
                self._chunk({"error": "an error was encountered while running the model"})
                break
            self._part(asked, piece)
            if number and self.state.fault == "hang_in_stream":
                self._hang()
                return
            while self.state.fault == "drip":
                if self.state.release.wait(0.05):
                    return
                self._part(asked, "ね")
        else:
            self._done(asked)
        self.wfile.write(b"0\r\n\r\n")

    def _part(self, asked: dict[str, Any], piece: str) -> None:
        message = {"role": "assistant", "content": piece}
        self._chunk({"model": asked["model"], "message": message, "done": False})

    def _done(self, asked: dict[str, Any]) -> None:
        self._chunk(
            {
                "model": asked["model"],
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": self.state.done_reason,
                "prompt_eval_count": 120,
                "eval_count": 12,
                "total_duration": 1_300_000_000,
            }
        )

    def _chunk(self, value: dict[str, Any]) -> None:
        line = json.dumps(value).encode() + b"\n"
        self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")


def ollama_handler(state: Ollama) -> Handler:
    """A handler of the protocol, for one stand-in."""
    return type("Handler", (_OllamaHandler,), {"state": state})


@dataclass
class Gemini:
    """What the stand-in of the cloud answers, and what it was asked, with the model of each."""

    text: str = "うん、まかせて！いっしょに考えよ！"
    status: int = 200
    finish: str = "STOP"
    answer: Callable[[dict[str, Any]], str] | None = None
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


class _GeminiHandler(_Handler):
    """Speaks streamGenerateContent."""

    state: Gemini

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        model = self.path.partition("/models/")[2].partition(":")[0]
        self.state.asked.append((model, body))
        self.state.keys.append(self.headers["x-goog-api-key"])
        if self.state.status != 200:
            told = {"error": {"code": self.state.status, "message": "no", "status": "NO"}}
            self._send(self.state.status, json.dumps(told).encode(), "application/json")
            return
        text = self.state.answer(body) if self.state.answer else self.state.text
        half = len(text) // 2
        parts = [self._part(model, text[:half]), self._part(model, text[half:])]
        parts[-1]["candidates"][0]["finishReason"] = self.state.finish
        parts[-1]["usageMetadata"] = {
            "promptTokenCount": 300,
            "candidatesTokenCount": 20,
            "totalTokenCount": 320,
        }
        lines = b"".join(b"data: %b\r\n\r\n" % json.dumps(part).encode() for part in parts)
        self._send(200, lines, "text/event-stream")

    def _part(self, model: str, text: str) -> dict[str, Any]:
        content = {"parts": [{"text": text}], "role": "model"}
        return {"candidates": [{"content": content, "index": 0}], "modelVersion": model}


def gemini_handler(state: Gemini) -> Handler:
    """A handler of the protocol, for one stand-in."""
    return type("Handler", (_GeminiHandler,), {"state": state})


@dataclass
class OpenAI:
    """What the stand-in of an OpenAI-compatible server answers, and what it was asked.

    `pieces` are sent one by one; `hold` keeps a reply back until it is set; `knows_usage` is whether
    the server accepts the option for the tokens of a streamed reply.
    """

    pieces: Sequence[str] = ("うん、まかせて！", "いっしょに考えよ！")
    status: int = 200
    finish: str = "stop"
    knows_usage: bool = True
    models: Sequence[str] = ("gpt-4o-mini", "gpt-4o")
    hold: threading.Event = field(default_factory=threading.Event)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def reset(self) -> None:
        """As at the beginning, with nothing held back."""
        self.hold.set()
        self.__init__()  # type: ignore[misc]  # all of it anew, for the next test
        self.hold.set()

    def wait_for(self, calls: int) -> None:
        """Wait until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.asked) >= calls, 20), len(self.asked)


class _OpenAIHandler(_Handler):
    """Speaks /v1/chat/completions, streamed, and /v1/models."""

    state: OpenAI

    def do_GET(self) -> None:
        data = [{"id": name, "object": "model"} for name in self.state.models]
        self._json(200, {"object": "list", "data": data})

    def do_POST(self) -> None:
        state = self.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not state.knows_usage and "stream_options" in body:
            message = "stream_options: extra fields not permitted"
            self._json(400, {"error": {"message": message, "type": "invalid_request_error"}})
            return
        with state.changed:
            state.asked.append(body)
            state.keys.append(self.headers["Authorization"])
            state.changed.notify_all()
        if state.status != 200:
            self._json(state.status, {"error": {"message": "no", "type": "no"}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        state.hold.wait(30)
        for piece in state.pieces:
            self._chunk(body, [{"index": 0, "delta": {"content": piece}, "finish_reason": None}])
        self._chunk(body, [{"index": 0, "delta": {}, "finish_reason": state.finish}])
        if "stream_options" in body:
            used = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320}
            self._chunk(body, [], usage=used)
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, body: dict[str, Any], choices: list[Any], **more: object) -> None:
        value = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        line = json.dumps({**value, "choices": choices, **more}).encode()
        self.wfile.write(b"data: %b\n\n" % line)
        self.wfile.flush()

    def _json(self, status: int, value: dict[str, Any]) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")


def openai_handler(state: OpenAI) -> Handler:
    """A handler of the protocol, for one stand-in."""
    return type("Handler", (_OpenAIHandler,), {"state": state})
