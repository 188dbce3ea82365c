"""A client's connection: the fast path before uvicorn's HTTP, and limits on slow and greedy clients."""

from __future__ import annotations

from asyncio import BaseTransport, TimerHandle
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from app.fastpath import FastPath
from app.server import SECURITY_HEADERS, SENTENCE, problem_body

# Bytes of a request's first line and headers; what uvicorn's parser would take has no end.
MAX_HEAD = 64 * 1024
# Bytes that its parser is given at once: how many requests may stand in them is bounded.
BITE = 4096


@dataclass(frozen=True, slots=True)
class Front:
    """What the connections of a worker share.

    `request_seconds` a client may take to send a request, `keep_seconds` to be silent between two, or
    not to take what it is sent; `refused` counts a refusal by its status.
    """

    fast: FastPath | None
    request_seconds: float
    keep_seconds: float
    refused: Callable[[int], None]


class _Flow(FlowControl):
    """Backpressure that does not read on while there is enough to do, whoever asks for it."""

    enough = False

    def resume_reading(self) -> None:
        """Read on, if there is not enough."""
        if not self.enough:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """One connection of a worker, made and called by uvicorn in the worker's event loop.

    Between two requests, what comes in is shown to the fast path. What that leaves is fed to uvicorn,
    and until it is answered so is everything else, a little at a time: uvicorn would take in at once
    all the requests that a client sends without waiting, and hold each of them.
    """

    flow: _Flow

    def __init__(self, front: Front, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._front = front
        self._fast = front.fast
        # The beginning of a play whose rest is likely to come next.
        self._held = b""
        # What uvicorn is to be fed once it has answered.
        self._waiting = b""
        # What uvicorn's parser is in the middle of: a request, and of that the head.
        self._in_request = self._in_head = False
        self._begun = self._head_bytes = 0
        self._answering: RequestResponseCycle | None = None
        self._touched = True
        self._late: TimerHandle | None = None
        self._silence: TimerHandle | None = None

    # Called by the event loop.

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to watch for silence."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.flow = _Flow(self.transport)
        self._await_silence()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks, and whatever is made for it."""
        self._in_time()
        if self._silence:
            self._silence.cancel()
        # uvicorn tells the last request only, which is not the one it answers where others wait.
        self.pipeline.clear()
        if self._answering:
            self._answering.disconnected = True
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer, hold back until there is more, or hand on to uvicorn."""
        fast, held = self._fast, self._held
        if held:
            data, self._held = held + data, b""
        if fast and not self.flow.write_paused and self._at_rest():
            response = fast.answer(data, self.server_state.default_headers)
            if response is not None:
                if held:
                    self._in_time()
                self._touched = True
                self.transport.write(response)
                return
            # Once: who sends a body by the byte is not copied for each of them.
            if not held and fast.lacks(data):
                self._held = data
                self._begin()
                return
        self._hand_on(data)

    def resume_writing(self) -> None:
        """The client has taken some of what it was sent."""
        self._touched = True
        super().resume_writing()

    def shutdown(self) -> None:
        """Told to stop: what has begun to arrive is still answered."""
        if self._held:
            held, self._held = self._held, b""
            self._hand_on(held)
        super().shutdown()

    # Called by uvicorn's parser.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_request = self._in_head = True
        self._begun += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._in_request = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what came meanwhile."""
        super().on_response_complete()
        if self._waiting:
            self.loop.call_soon(self._feed)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing: silence is watched here, on the fast path too."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, "not an HTTP request: a line or a method is wrong")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    # Our own.

    def _at_rest(self) -> bool:
        if self._in_request or self._waiting:
            return False
        return self.cycle is None or self.cycle.response_complete

    def _answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _in_body(self) -> bool:
        return self._in_request and not self._in_head

    def _bite(self) -> int:
        """Up to the end of a head, so that requests without a body come one by one."""
        end = -1 if self._in_body() else self._waiting.find(b"\r\n\r\n", 0, BITE)
        return BITE if end < 0 else end + 4

    def _hand_on(self, data: bytes) -> None:
        self._touched = True
        self._waiting += data
        self._feed()

    def _feed(self) -> None:
        """Feed uvicorn's parser, to the end of a request that is to be answered first."""
        while self._waiting and (self._answered() or self._in_body()):
            size = self._bite()
            part, self._waiting = self._waiting[:size], self._waiting[size:]
            begun = self._begun
            super().data_received(part)
            if self.transport.is_closing():
                self._waiting = b""
            elif self._in_head:
                # The part that it began in may hold other requests before it, and is not counted.
                self._head_bytes = self._head_bytes + len(part) if begun == self._begun else 0
                self._limit_head()
        self.flow.enough = bool(self._waiting)
        if self.flow.enough:
            self.flow.pause_reading()
        else:
            self.flow.resume_reading()
        if self._in_request:
            self._begin()
        else:
            self._in_time()

    def _limit_head(self) -> None:
        if self._head_bytes > MAX_HEAD:
            detail = f"the headers are longer than {MAX_HEAD} bytes"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, detail)

    def _begin(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self._front.request_seconds, self._refuse_late)

    def _in_time(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None

    def _refuse_late(self) -> None:
        detail = f"a request must be sent within {self._front.request_seconds:g} s"
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, detail)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Say what is wrong, unless an answer has begun, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            body = problem_body(status, status.phrase, detail, SENTENCE)
            told = [
                *self.server_state.default_headers,
                *((name.encode(), value.encode()) for name, value in SECURITY_HEADERS),
                (b"content-type", b"application/problem+json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            lines = b"".join([b"%b: %b\r\n" % header for header in told])
            self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
            self._front.refused(status)
        self.transport.close()

    def _await_silence(self) -> None:
        self._touched = False
        self._silence = self.loop.call_later(self._front.keep_seconds, self._end_silence)

    def _end_silence(self) -> None:
        answering = not self._at_rest() and not self.flow.write_paused
        if self._touched or answering:
            self._await_silence()
        else:
            self.transport.abort()
