"""The HTTP server of `python -m app`: granian runs the worker processes, threads in them run Flask.

Granian (hyper) parses the head of a request, and limits its size and time, before our code runs.
With its RSGI interface, a request body that arrives slowly, and a response that is read slowly,
occupy a connection but no thread. (With its WSGI interface, which is faster, each occupies one of
the threads that answer; see docs/performance.md.)

RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import io
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]
from werkzeug.wsgi import FileWrapper

from app.edge.fastpath import FastPath, RequestHeaders
from app.settings import Settings
from app.web.access import client_address
from app.web.app import SECURITY_HEADERS, create_app, problem_body
from app.web.dialects import GOOGLE, MAX_PROMPT_BODY, codec_of, is_prompt_path
from app.web.line import MAX_DELIVERY, WEBHOOK
from app.web.sentences import SENTENCE, language_for, sentence_in
from app.web.service import MAX_BODY, Service

# Seconds in which running requests must finish when the server is stopped.
STOP_WITHIN = 5
# Bytes of a request's first line and headers.
MAX_HEAD = 64 * 1024
# Open connections of a worker; further ones wait to be accepted.
MAX_CONNECTIONS = 16_384

# Bytes of a body that are read and dropped after it is too long.
THROWN_AWAY = 4 << 20
# Paths, besides those of prompts, whose bodies may be longer than MAX_BODY.
LONGER = {WEBHOOK: MAX_DELIVERY}
# Bytes of bodies longer than MAX_BODY (prompts with images) that a worker holds at a time.
MOST_HELD = 64 << 20
# Parts of a body in chunks: each of them costs, whatever its size.
MOST_PARTS = 4_096
PARTS_A_TURN = 8
# The reason for cancelling a task whose request body is late.
_LATE = "the body is late"

# Threads of a worker for all other requests to Flask; Python runs one of them at a time.
THREADS = 8
# Connections that may wait until a worker accepts them, which takes milliseconds.
BACKLOG = 1024
# Threads of a worker for requests that stream or wait for a model.
SLOW_THREADS = 64

Transport = Any
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def serve(settings: Settings, service: Callable[[], Service]) -> None:
    """Serve until a signal; each worker calls `service`."""
    # Keep the garbage collector from writing to the memory that forked workers share. (It would take
    # a twentieth of the start to find a quarter of a megabyte to free.)
    gc.freeze()
    gc.enable()
    _trim_heap()
    _raise_open_files()
    # macOS would start workers by "spawn", which shares no memory and cannot take over `load`.
    multiprocessing.set_start_method("fork", force=True)
    server = Granian(
        "tsukurioki",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.RSGI,
        workers=settings.workers,
        http=HTTPModes.http1,
        loop=Loops.uvloop,
        websockets=False,
        backlog=BACKLOG,
        backpressure=MAX_CONNECTIONS,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(settings.request_seconds * 1000), max_buffer_size=MAX_HEAD
        ),
        # Its messages about workers would only disturb an operator.
        log_level=LogLevels.critical,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=STOP_WITHIN,
    )

    def load() -> Any:
        return RsgiApplication(settings, service())

    server.serve(target_loader=load, wrap_loader=False)


def _trim_heap() -> None:
    """Give the system back what loading has freed, 5 MB: workers would copy it to use it again."""
    # Not every C library has it.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _raise_open_files() -> None:
    """Raise the limit of open files (each connection is one), which is often 1,024 by default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * MAX_CONNECTIONS), most))


class RsgiApplication:
    """The RSGI application of a worker. Without `fast`, Flask answers all requests."""

    def __init__(self, settings: Settings, service: Service, *, fast: bool = True) -> None:
        app = create_app(settings, service).wsgi_app
        self._flask = InThreads(app, THREADS, settings.proxies)
        # Requests that stream or wait for a model occupy a thread for seconds: they have threads of
        # their own, so that other requests do not wait for them.
        self._slow = InThreads(app, SLOW_THREADS, settings.proxies)
        self._slow_paths = set(service.slow_paths())
        # The event loop must not wait for Redis.
        self._fast = FastPath(service, SECURITY_HEADERS) if fast and not settings.redis else None
        self._counters = service.counters
        self._language = service.language
        self._stopping = service.stopping
        self._flushing: asyncio.Future[None] | None = None
        self._bodies = Bodies(settings.request_seconds)
        self._parent = os.getppid()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called in a worker before it serves."""
        # A server in a thread, as in tests, gets no signals.
        main = threading.current_thread() is threading.main_thread()
        for number in (signal.SIGINT, signal.SIGTERM) if main else ():
            # Granian's own handler is the loop's, which is called too: it reads signals from a
            # descriptor that Python writes to for any handler.
            signal.signal(number, lambda *_: self._stopping.set())
        self._bodies.loop = loop
        self._tick(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called in a worker after it has served."""
        self._counters.flush()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once a second: end late requests, and add this worker's counts to the sums."""
        loop.call_later(1, self._tick, loop)
        # If the parent was killed, the worker would occupy the port for ever.
        if os.getppid() != self._parent:
            os.kill(os.getpid(), signal.SIGTERM)
        self._bodies.end_late()
        # In a thread, because another process may hold the lock of the state file.
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.run_in_executor(None, self._counters.flush)

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Receive a whole request and answer it."""
        # Granian's type stub lacks `get_all`.
        headers: Any = scope.headers
        # Granian makes these anew at each access.
        method, path = scope.method, scope.path
        fast = None if scope.query_string or scope.authority else self._fast
        answered, body, held = None, b"", Held(self._bodies)
        try:
            if method == "GET":
                answered = fast.get(path, headers) if fast else None
            elif method != "HEAD":
                prompt = is_prompt_path(path)
                most = MAX_PROMPT_BODY if prompt else LONGER.get(path, MAX_BODY)
                body = await self._bodies.whole(headers, protocol, most, held)
                if fast and method == "POST":
                    answered = fast.post(path, headers, body)
                if prompt and not answered:
                    await self._slow(scope, protocol, body)
                    return
            if answered:
                protocol.response_bytes(*answered)
            elif path in self._slow_paths:
                await self._slow(scope, protocol, body)
            else:
                await self._flask(scope, protocol, body)
        except TimeoutError:
            detail = f"a request must be sent within {self._bodies.seconds:g} s"
            self._refuse(scope, protocol, HTTPStatus.REQUEST_TIMEOUT, detail)
        except NoRoomError:
            detail = "too many long bodies are being received; ask again in a second"
            self._refuse(scope, protocol, HTTPStatus.TOO_MANY_REQUESTS, detail)
        except ProtocolClosed:
            # The body was incomplete or not HTTP, or the client is gone.
            self._refuse(scope, protocol, HTTPStatus.BAD_REQUEST, "the body is not whole")
        finally:
            held.give()

    def _refuse(
        self, scope: Scope, protocol: HTTPProtocol, status: HTTPStatus, detail: str
    ) -> None:
        self._counters.refused(status)
        google = any(scope.headers.get(name) is not None for name in GOOGLE)
        codec = codec_of(scope.method, scope.path, google=google)
        if codec:
            mime, body = "application/json", orjson.dumps(codec.render_error(status, detail))
        else:
            mime = "application/problem+json"
            wanted = language_for(scope.headers.get("accept-language"), self._language)
            body = problem_body(status, status.phrase, detail, sentence_in(wanted, SENTENCE))
        headers = [("content-type", mime), *_lower(SECURITY_HEADERS)]
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            headers.append(("retry-after", "1"))
        protocol.response_bytes(status, headers, body)


class NoRoomError(Exception):
    """The worker holds as much of long bodies as it may."""


class Held:
    """How much of a long body a worker holds for one request."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = 0

    def take(self, size: int) -> None:
        """Hold more. Raises NoRoomError."""
        if self._bodies.held + size > MOST_HELD:
            raise NoRoomError
        self._bodies.held += size
        self._size += size

    def give(self) -> None:
        """Hold nothing any more."""
        self._bodies.held -= self._size
        self._size = 0


class Bodies:
    """Receives the bodies of requests, each within `seconds` (and up to one second more)."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.loop: asyncio.AbstractEventLoop | None = None
        # Bytes of long bodies; see `Held`.
        self.held = 0
        # `asyncio.timeout` would cost twice as much as everything else that a hit costs here.
        self._begun: dict[asyncio.Task[Any] | None, float] = {}

    def end_late(self) -> None:
        """Cancel the requests whose bodies are late; to be called once a second."""
        latest = time.monotonic() - self.seconds
        for task, begun in list(self._begun.items()):
            if task and begun < latest:
                task.cancel(_LATE)

    async def whole(
        self, headers: RequestHeaders, protocol: HTTPProtocol, most: int, held: Held
    ) -> bytes:
        """A request's body of at most `most` bytes; of one that is too long, two bytes more.

        Flask refuses those: see MAX_CONTENT_LENGTH in `create_app`. Raises TimeoutError if it is
        late, ProtocolClosed if it is incomplete, NoRoomError if too many long ones are here.
        """
        length = headers.get("content-length")
        if length is None and headers.get("transfer-encoding") is None:
            return b""
        # Without the loop, it would ask the system for the process's id to find it.
        task = asyncio.current_task(self.loop)
        self._begun[task] = time.monotonic()
        try:
            # Granian has checked that it is a number.
            if length is not None and int(length) <= MAX_BODY:
                return await protocol()
            return await _beginning(protocol, most, held)
        except asyncio.CancelledError as error:
            if task is None or error.args != (_LATE,):
                raise
            task.uncancel()
            raise TimeoutError from None
        finally:
            del self._begun[task]


async def _beginning(protocol: HTTPProtocol, most: int, held: Held) -> bytes:
    """A body that is long, or of unknown length; `most` + 2 bytes if it is longer than `most`.

    The rest is read and dropped up to a limit: if the connection were closed while the client still
    sends, it might lose the response that says why.
    """
    body, size, parts = bytearray(), 0, 0
    async for part in protocol:
        size, parts = size + len(part), parts + 1
        if size > MAX_BODY and size <= most:
            held.take(len(part))
        if size <= most:
            body += part
        else:
            body.clear()
        if not parts % PARTS_A_TURN:
            # Parts that have arrived are given without a wait: let other tasks run in between.
            await asyncio.sleep(0)
        if size >= most + THROWN_AWAY or parts >= MOST_PARTS * (1 + most // THROWN_AWAY):
            return bytes(most + 2)
    return bytes(body) if size <= most else bytes(most + 2)


class Places:
    """Admits a number of requests at a time; waiting clients take turns.

    (In order of arrival, one request of a client would wait for 5,000 of another client.)
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, client: str) -> None:
        """Wait until a request of `client` is admitted."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give()
            raise

    def give(self) -> None:
        """End a request, and admit one of the client whose turn it is."""
        while self._waiting:
            client, turns = next(iter(self._waiting.items()))
            del self._waiting[client]
            turn = turns.popleft()
            if turns:
                self._waiting[client] = turns
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class InThreads:
    """Answers requests by a WSGI application in threads. `proxies` is TSUKURIOKI_PROXIES."""

    def __init__(self, app: Wsgi, threads: int, proxies: int) -> None:
        self._app = app
        self._proxies = proxies
        self._threads = ThreadPoolExecutor(threads, "answer")
        self._places = Places(threads)

    async def __call__(self, scope: Scope, protocol: HTTPProtocol, body: bytes) -> None:
        """Answer. Raises ProtocolClosed if the client goes away meanwhile."""
        loop = asyncio.get_running_loop()
        environ = wsgi_environ(scope, body)
        await self._places.take(self._client(environ))
        try:
            await loop.run_in_executor(self._threads, self._answer, environ, protocol, loop)
        finally:
            self._places.give()

    def _client(self, environ: Environ) -> str:
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if not 0 < self._proxies <= len(forwarded):
            return client_address(environ)
        return client_address({"REMOTE_ADDR": forwarded[-self._proxies].strip()})

    def _answer(
        self, environ: Environ, protocol: HTTPProtocol, loop: asyncio.AbstractEventLoop
    ) -> None:
        begun, file = _Start(), _FileWrapper()
        parts = self._app({**environ, "wsgi.file_wrapper": file}, begun)
        span = begun.span() if file.path and environ["REQUEST_METHOD"] == "GET" else None
        try:
            if span:
                # Granian reads the file while it sends it, so that it is not held in memory.
                protocol.response_file_range(begun.status, begun.headers, file.path, *span)
            elif begun.whole(environ):
                protocol.response_bytes(begun.status, begun.headers, b"".join(parts))
            else:
                self._stream(begun, parts, protocol, loop)
        finally:
            close = getattr(parts, "close", None)
            if close:
                close()

    def _stream(
        self,
        begun: _Start,
        parts: Iterable[bytes],
        protocol: HTTPProtocol,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        transport: Transport = protocol.response_stream(begun.status, begun.headers)
        for part in parts:
            if part:
                asyncio.run_coroutine_threadsafe(_sent(transport, part), loop).result()


async def _sent(transport: Transport, part: bytes) -> None:
    await transport.send_bytes(part)


class _Start:
    """WSGI's `start_response`, which keeps status and headers."""

    status = 500
    headers: list[tuple[str, str]]

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status = int(status[:3])
        self.headers = _lower(headers)

    def whole(self, environ: Environ) -> bool:
        """Whether to send the response at once; one without a length is sent as it is made."""
        if environ["REQUEST_METHOD"] == "HEAD" or self.status in (204, 304):
            return True
        return any(name == "content-length" for name, _ in self.headers)

    def span(self) -> tuple[int, int] | None:
        """The offsets at which the response's part of a file begins and ends; None if unknown."""
        headers = dict(self.headers)
        if self.status == HTTPStatus.OK and "content-length" in headers:
            return 0, int(headers["content-length"])
        found = re.fullmatch(r"bytes (\d+)-(\d+)/\d+", headers.get("content-range", ""))
        return (int(found[1]), int(found[2]) + 1) if found else None


class _FileWrapper:
    """WSGI's `wsgi.file_wrapper` for one request, which keeps the path of the file that is sent."""

    path = ""

    def __call__(self, file: Any, size: int = 8192) -> FileWrapper:
        # WhiteNoise wraps a part of a file. The name is a number if it was opened by a descriptor.
        name = getattr(getattr(file, "fileobj", file), "name", None)
        self.path = name if isinstance(name, str) else ""
        return FileWrapper(file, size)


def _lower(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers]


def wsgi_environ(scope: Scope, body: bytes) -> Environ:
    """The WSGI environment (PEP 3333) of a request.

    Headers with an underscore in their names are left out: in WSGI, `X_Forwarded_For` would be the
    same as the header that a proxy writes.
    """
    server, client = _address(scope.server), _address(scope.client)
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        # WSGI hands UTF-8 over as Latin-1.
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": server.host,
        "SERVER_PORT": server.port,
        "SERVER_PROTOCOL": "HTTP/1.0" if scope.http_version == "1" else "HTTP/1.1",
        "REMOTE_ADDR": client.host,
        "REMOTE_PORT": client.port,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        if "_" not in name:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            joint = "; " if name == "cookie" else ","
            environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    if environ.pop("HTTP_CONTENT_LENGTH", None) is not None or body:
        environ["CONTENT_LENGTH"] = str(len(body))
    if scope.authority is not None:
        # A request for an absolute URL names its host there (RFC 9112, 3.2.2).
        environ["HTTP_HOST"] = scope.authority
    return environ


class _Address(NamedTuple):
    host: str
    port: str


def _address(text: str) -> _Address:
    """Parse an address of granian's: `127.0.0.1:8000` or `[::1]:8000`."""
    found = urllib.parse.urlsplit(f"//{text}")
    return _Address(found.hostname or "", str(found.port or ""))
