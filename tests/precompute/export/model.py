"""A server that speaks OpenAI's chat completions, whose replies a test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# The reply to the text of a request's last message.
Answer = Callable[[str], str]


class Asked:
    """What a server was asked, in order, and where it is."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prompts: list[str] = []
        self.lock = threading.Lock()


@contextmanager
def a_model(answer: Answer) -> Iterator[Asked]:
    """A model that gives these answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *told: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._send({"object": "list", "data": [{"id": "judge", "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            prompt = body["messages"][-1]["content"]
            with asked.lock:
                asked.prompts.append(prompt)
            text = answer(prompt)
            if body.get("stream"):
                self._stream(text)
            else:
                self._send(completion(text))

        def _stream(self, text: str) -> None:
            parts = [{"content": text}, {}]
            lines = [
                json.dumps(
                    {
                        "id": "x", "object": "chat.completion.chunk", "created": 0, "model": "judge",
                        "choices": [
                            {"index": 0, "delta": part, "finish_reason": None if part else "stop"}
                        ],
                    }
                )
                for part in parts
            ]  # fmt: skip
            raw = "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]).encode()
            self._raw(raw, "text/event-stream")

        def _send(self, value: Any) -> None:
            self._raw(json.dumps(value).encode(), "application/json")

        def _raw(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    asked = Asked(f"http://127.0.0.1:{server.server_address[1]}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()


def completion(text: str) -> dict[str, Any]:
    """A whole reply."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "judge",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
