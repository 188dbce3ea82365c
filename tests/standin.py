"""A stand-in for Gemini, Ollama and OpenAI-compatible servers: real HTTP on 127.0.0.1.

It speaks the protocols as the real client libraries do, answers by `tests.cook`, fails as it is
told to, and counts. `script` are faults for the next model calls, one each; `fault` decides for the
call of a number.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from app.kinds.cards.deck import Deck
from tests.cook import Cook, Spoil

KEY = "AIza-stand-in-key-0123456789"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens instead of an answer.

    `how`: reply (status, headers, body), reset, close, cut (half of a body), hang, trickle, or
    answer (a whole answer, for faults that are in `change`, which edits the envelope).
    """

    how: str = "reply"
    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    change: Callable[[dict[str, Any]], object] | None = None


def gemini_error(code: int, status: str, message: str, *details: Mapping[str, object]) -> Fault:
    """An error as the Gemini API sends it."""
    error = {"code": code, "status": status, "message": message, "details": list(details)}
    return Fault(status=code, body=json.dumps({"error": error}).encode())


def quota_error(quota: str, delay: str | None = None) -> Fault:
    """A 429 with the quota that is used up, and how long to wait where that is told."""
    details: list[Mapping[str, object]] = [
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaId": quota, "quotaMetric": "requests"}],
        }
    ]
    if delay is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
    return gemini_error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", *details)


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
BAD_KEY = gemini_error(
    400,
    "INVALID_ARGUMENT",
    f"API key not valid: {KEY}. Please pass a valid API key.",
    {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"},
)
HTML_502 = Fault(
    status=502,
    body=b"<html><title>502</title><h1>Bad Gateway</h1></html>",
    headers=(("Content-Type", "text/html"),),
)
BAD_JSON = Fault(body=b'{"candidates": [{"content": ')
EMPTY_BODY = Fault(body=b"")


def edited(change: Callable[[dict[str, Any]], object]) -> Fault:
    """A whole answer with something changed in its envelope."""
    return Fault(how="answer", change=change)


def _blocked_candidate(reason: str) -> Callable[[dict[str, Any]], object]:
    def change(envelope: dict[str, Any]) -> None:
        envelope["candidates"] = [{"finishReason": reason, "index": 0}]

    return change


def finished(reason: str) -> Fault:
    """A candidate without parts that ended for this reason."""
    return edited(_blocked_candidate(reason))


def _cut_text(envelope: dict[str, Any]) -> None:
    candidate = envelope["candidates"][0]
    candidate["finishReason"] = "MAX_TOKENS"
    part = candidate["content"]["parts"][0]
    part["text"] = part["text"][: len(part["text"]) * 2 // 3]


def _block_prompt(envelope: dict[str, Any]) -> None:
    del envelope["candidates"]
    envelope["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}


TRUNCATED = edited(_cut_text)
BLOCKED = edited(_block_prompt)


@dataclass
class BatchJob:
    """A batch job and the file that it was made from."""

    name: str
    display: str
    file: str
    polls: int = 0
    cancelled: bool = False


@dataclass
class Tally:
    """What was asked. `calls` are model calls, `answered` those that brought a whole reply.

    `accepted` are connections, `ended` those of them that are closed.
    """

    calls: int = 0
    answered: int = 0
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    prompt_tokens: int = 0
    output_tokens: int = 0
    most_at_once: int = 0
    accepted: int = 0
    ended: int = 0


class StandIn:
    """The server. A context manager; `url` is where it is."""

    def __init__(self, deck: Deck, spoil: Spoil | None = None) -> None:
        self.cook = Cook(deck, spoil)
        self.tally = Tally()
        self.script: deque[Fault] = deque()
        self.fault: Callable[[int], Fault | None] = lambda number: None
        self.latency = 0.0
        # After so many seconds without a request a connection is closed.
        self.idle: float | None = None
        # So many calls in so many seconds; more get a 429 that says how long to wait.
        self.limit: tuple[int, float] | None = None
        self.key: str | None = KEY
        self.models = ["gemini-3.5-flash-lite", "qwen2.5:0.5b", "local-70b"]
        self.loaded: set[str] = set()
        self.batch_polls = 2
        self.batch_state = "BATCH_STATE_SUCCEEDED"
        self.batch_error_lines = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, BatchJob] = {}
        self.caches: list[str] = []
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.at_once = 0
        self._times: deque[float] = deque()
        stand_in = self

        class Handler(_Handler):
            server_of = stand_in

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_fault(self, number: int) -> Fault | None:
        """What happens to the model call of this number."""
        with self.lock:
            if self.script:
                return self.script.popleft()
            if self.limit:
                most, seconds = self.limit
                now = time.monotonic()
                while self._times and self._times[0] <= now - seconds:
                    self._times.popleft()
                if len(self._times) >= most:
                    return quota_error(PER_MINUTE, f"{self._times[0] + seconds - now + 0.01:.3f}s")
                self._times.append(now)
        return self.fault(number)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server_of: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base's name
        """Quiet."""

    def setup(self) -> None:
        super().setup()
        with self.server_of.lock:
            self.server_of.tally.accepted += 1
        # Small replies at once: without this each waits 40 ms for an acknowledgement.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def finish(self) -> None:
        super().finish()
        # Who is told that the connection has ended may use it at once, and must find it closed.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        with self.server_of.changed:
            self.server_of.tally.ended += 1
            self.server_of.changed.notify_all()

    def handle_one_request(self) -> None:
        """The first request may take its time; what is idle is a connection that has answered."""
        super().handle_one_request()
        self.connection.settimeout(self.server_of.idle)

    def do_GET(self) -> None:  # the base's name
        self._handle()

    def do_POST(self) -> None:  # the base's name
        self._handle()

    def do_DELETE(self) -> None:  # the base's name
        self._handle()

    def _handle(self) -> None:
        stand_in = self.server_of
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        path = urlsplit(self.path).path
        with stand_in.lock:
            stand_in.tally.paths.append(f"{self.command} {path}")
        for pattern, name in _ROUTES:
            found = pattern.fullmatch(f"{self.command} {path}")
            if found:
                getattr(self, f"_{name}")(raw, **found.groupdict())
                return
        self._send(404, {"error": {"code": 404, "message": f"no {path}", "status": "NOT_FOUND"}})

    # Sending.

    def _send(self, status: int, value: object, headers: Iterable[tuple[str, str]] = ()) -> None:
        body = json.dumps(value).encode()
        self._send_raw(status, body, (("Content-Type", "application/json"), *headers))

    def _send_raw(self, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, fault: Fault) -> None:
        if fault.how == "reply":
            self._send_raw(fault.status, fault.body, fault.headers)
        elif fault.how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif fault.how == "close":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault.how == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault.how == "hang":
            self.server_of.closing.wait(30)
            self.close_connection = True
        elif fault.how == "trickle":
            self._trickle()

    def _trickle(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            if self.server_of.closing.wait(0.05):
                break
            self.wfile.write(b" ")
            self.wfile.flush()
        self.close_connection = True

    # A model call in any of the protocols.

    def _call(self, body: dict[str, Any], prompt: str, envelope: Callable[[str], Any]) -> None:
        stand_in = self.server_of
        with stand_in.lock:
            tally = stand_in.tally
            tally.calls += 1
            number = tally.calls
            tally.bodies.append(body)
            stand_in.at_once += 1
            tally.most_at_once = max(tally.most_at_once, stand_in.at_once)
        try:
            self._answer(number, prompt, envelope)
        finally:
            with stand_in.lock:
                stand_in.at_once -= 1

    def _answer(self, number: int, prompt: str, envelope: Callable[[str], Any]) -> None:
        stand_in = self.server_of
        if stand_in.latency:
            stand_in.closing.wait(stand_in.latency)
        fault = stand_in.next_fault(number)
        if fault is not None and fault.how != "answer":
            self._fail(fault)
            return
        value = envelope(stand_in.cook.reply(prompt))
        if fault is not None and fault.change:
            fault.change(value)
        with stand_in.lock:
            used = value.get("usageMetadata", {})
            stand_in.tally.prompt_tokens += used.get("promptTokenCount", 0)
            stand_in.tally.output_tokens += used.get("candidatesTokenCount", 0)
            stand_in.tally.answered += 1
        self._send(200, value)

    # Gemini.

    def _gemini(self, raw: bytes, model: str) -> None:
        stand_in = self.server_of
        if stand_in.key is not None and self.headers.get("x-goog-api-key") != stand_in.key:
            self._fail(BAD_KEY)
            return
        if model not in stand_in.models:
            self._fail(gemini_error(404, "NOT_FOUND", f"models/{model} is not found"))
            return
        body = json.loads(raw)
        prompt = gemini_prompt(body)
        self._call(body, prompt, lambda text: gemini_envelope(text, prompt, model))

    def _upload(self, raw: bytes) -> None:
        files = self.server_of.files
        name = f"f{len(files) + 1}"
        files[name] = b""
        url = f"{self.server_of.url}/upload/v1/files/{name}"
        self._send(200, {}, (("X-Goog-Upload-URL", url), ("X-Goog-Upload-Status", "active")))

    def _upload_part(self, raw: bytes, name: str) -> None:
        self.server_of.files[name] += raw
        last = "finalize" in self.headers.get("X-Goog-Upload-Command", "")
        file = {"file": {"name": f"files/{name}", "sizeBytes": str(len(raw))}}
        status = "final" if last else "active"
        self._send(200, file, (("X-Goog-Upload-Status", status),))

    def _batch_create(self, raw: bytes, model: str) -> None:
        stand_in = self.server_of
        batch = json.loads(raw)["batch"]
        source = batch.get("inputConfig", batch.get("input_config"))
        file = source.get("fileName", source.get("file_name"))
        display = batch.get("displayName", batch.get("display_name", ""))
        job = BatchJob(f"batches/b{len(stand_in.batches) + 1}", display, file)
        stand_in.batches[job.name] = job
        if stand_in.script:
            self._fail(stand_in.script.popleft())
            return
        self._send(200, self._batch_value(job, "BATCH_STATE_PENDING"))

    def _batch_value(self, job: BatchJob, state: str) -> dict[str, Any]:
        metadata: dict[str, Any] = {"displayName": job.display, "state": state, "name": job.name}
        if state == "BATCH_STATE_SUCCEEDED":
            metadata["output"] = {"responsesFile": f"files/out-{job.name[8:]}"}
        return {"name": job.name, "metadata": metadata}

    def _batch_get(self, raw: bytes, name: str) -> None:
        stand_in = self.server_of
        job = stand_in.batches[name]
        job.polls += 1
        if stand_in.script:
            self._fail(stand_in.script.popleft())
            return
        done = job.polls > stand_in.batch_polls
        self._send(
            200, self._batch_value(job, stand_in.batch_state if done else "BATCH_STATE_RUNNING")
        )

    def _batch_list(self, raw: bytes) -> None:
        jobs = self.server_of.batches.values()
        operations = [self._batch_value(job, "BATCH_STATE_RUNNING") for job in jobs]
        self._send(200, {"operations": operations})

    def _batch_cancel(self, raw: bytes, name: str) -> None:
        self.server_of.batches[name].cancelled = True
        self._send(200, {})

    def _download(self, raw: bytes, name: str) -> None:
        stand_in = self.server_of
        if name not in stand_in.files:
            job = stand_in.batches[f"batches/{name.removeprefix('out-')}"]
            stand_in.files[name] = self._results(stand_in.files[job.file.removeprefix("files/")])
        self._send_raw(200, stand_in.files[name], (("Content-Type", "application/octet-stream"),))

    def _results(self, requests: bytes) -> bytes:
        stand_in = self.server_of
        lines = []
        for number, line in enumerate(requests.splitlines()):
            value = json.loads(line)
            if number < stand_in.batch_error_lines:
                result: dict[str, Any] = {"error": {"code": 13, "message": "internal"}}
            else:
                prompt = gemini_prompt(value["request"])
                text = stand_in.cook.reply(prompt)
                result = {"response": gemini_envelope(text, prompt, stand_in.models[0])}
            lines.append(json.dumps({"key": value["key"], **result}).encode())
        # Out of order, as in practice.
        return b"\n".join(reversed(lines)) + b"\n"

    def _cache_create(self, raw: bytes) -> None:
        body = json.loads(raw)
        self.server_of.caches.append(json.dumps(body, ensure_ascii=False))
        name = f"cachedContents/c{len(self.server_of.caches)}"
        self._send(200, {"name": name, "model": body["model"], "usageMetadata": {}})

    def _cache_delete(self, raw: bytes, name: str) -> None:
        self._send(200, {})

    # Ollama.

    def _ollama_chat(self, raw: bytes) -> None:
        body = json.loads(raw)
        prompt = "\n".join(message["content"] for message in body["messages"])
        if self._has_model(body["model"]):
            self.server_of.loaded.add(body["model"])
            self._call(body, prompt, lambda text: _ollama_chat(text, prompt, body["model"]))

    def _ollama_generate(self, raw: bytes) -> None:
        body = json.loads(raw)
        if not self._has_model(body["model"]):
            return
        reason = "load"
        if body.get("keep_alive") in (0, "0"):
            self.server_of.loaded.discard(body["model"])
            reason = "unload"
        else:
            self.server_of.loaded.add(body["model"])
        done = {"model": body["model"], "response": "", "done": True, "done_reason": reason}
        self._send(200, done | {"created_at": "2026-11-01T00:00:00Z"})

    def _has_model(self, model: str) -> bool:
        if model in self.server_of.models:
            return True
        self._send(404, {"error": f"model '{model}' not found"})
        return False

    def _ollama_ps(self, raw: bytes) -> None:
        models = [
            {"model": name, "name": name, "size": 1, "size_vram": 0}
            for name in self.server_of.loaded
        ]
        self._send(200, {"models": models})

    # OpenAI.

    def _openai_chat(self, raw: bytes) -> None:
        body = json.loads(raw)
        prompt = "\n".join(message["content"] for message in body["messages"])
        if body["model"] not in self.server_of.models:
            error = {"message": f"model {body['model']} not found", "type": "not_found"}
            self._send(404, {"error": error})
            return
        self._call(body, prompt, lambda text: _openai_chat(text, prompt, body["model"]))

    def _openai_models(self, raw: bytes) -> None:
        data = [{"id": "local-70b", "object": "model", "created": 1, "owned_by": "x"}]
        self._send(200, {"object": "list", "data": data})


_ROUTES = [
    (re.compile(pattern), name)
    for pattern, name in (
        (r"POST /v1(?:beta)?/models/(?P<model>[^:]+):generateContent", "gemini"),
        (r"POST /v1(?:beta)?/models/(?P<model>[^:]+):batchGenerateContent", "batch_create"),
        (r"POST /upload/v1(?:beta)?/files", "upload"),
        (r"POST /upload/v1(?:beta)?/files/(?P<name>\w+)", "upload_part"),
        (r"GET /v1(?:beta)?/files/(?P<name>[\w-]+):download", "download"),
        (r"GET /v1(?:beta)?/(?P<name>batches/\w+)", "batch_get"),
        (r"GET /v1(?:beta)?/batches", "batch_list"),
        (r"POST /v1(?:beta)?/(?P<name>batches/\w+):cancel", "batch_cancel"),
        (r"POST /v1(?:beta)?/cachedContents", "cache_create"),
        (r"DELETE /v1(?:beta)?/(?P<name>cachedContents/\w+)", "cache_delete"),
        (r"POST /api/chat", "ollama_chat"),
        (r"POST /api/generate", "ollama_generate"),
        (r"GET /api/ps", "ollama_ps"),
        (r"POST /v1/chat/completions", "openai_chat"),
        (r"GET /v1/models", "openai_models"),
    )
]


def tokens(text: str) -> int:
    """How this service counts: not as our estimates do."""
    return max(1, round(0.8 * len(text)))


def gemini_prompt(body: dict[str, Any]) -> str:
    """Everything that a request says."""
    system = body.get("systemInstruction") or body.get("system_instruction") or {"parts": []}
    parts = [*system["parts"], *(part for c in body["contents"] for part in c["parts"])]
    return "\n".join(part["text"] for part in parts)


def gemini_envelope(text: str, prompt: str, model: str) -> dict[str, Any]:
    """A whole reply."""
    used = {"promptTokenCount": tokens(prompt), "candidatesTokenCount": tokens(text)}
    return {
        "candidates": [
            {
                "content": {"parts": [{"text": text}], "role": "model"},
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {**used, "totalTokenCount": sum(used.values())},
        "modelVersion": model,
        "responseId": "r",
    }


def _ollama_chat(text: str, prompt: str, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "created_at": "2026-11-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": "stop",
        "total_duration": 1,
        "prompt_eval_count": tokens(prompt),
        "eval_count": tokens(text),
    }


def _openai_chat(text: str, prompt: str, model: str) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": tokens(prompt),
            "completion_tokens": tokens(text),
            "total_tokens": tokens(prompt) + tokens(text),
        },
    }
