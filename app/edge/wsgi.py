"""Answering requests by a WSGI application (PEP 3333) in threads, in turns of their clients."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import re
import sys
import urllib.parse
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple

from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]
from werkzeug.wsgi import FileWrapper

from app.edge.bodies import NoRoomError
from app.web.access import client_address
from app.web.dialects import WAITS
from app.web.service import MAX_BODY

# Bodies longer than MAX_BODY that a worker reads at a time. It computes for up to seconds for each, with
# many times its length of memory: more at once would take no less time, but all that the worker has.
READ_AT_ONCE = 2

# Requests of one client that may wait for a place; each holds its body.
MOST_WAITING = 512

# M_ARENA_MAX of glibc's malloc.h.
_MOST_HEAPS = -8

Transport = Any
Environ = dict[str, Any]
Wsgi = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Places:
    """Admits a number of requests at a time; waiting clients take turns.

    (In order of arrival, one request of a client would wait for 5,000 of another client.) A request is
    let in only if its client holds fewer places than are free: the first client gets half of them, the
    next a quarter, and so on, so that few clients cannot take all. Their requests may wait for minutes,
    for a model or for somebody who does not read, and others' must not wait with them.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._held: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def take(self, client: str) -> None:
        """Wait until a request of `client` is admitted. Raises NoRoomError."""
        if self.take_at_once(client):
            return
        if len(self._waiting.get(client, ())) >= MOST_WAITING:
            raise NoRoomError("too many requests of this client wait for their turn")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._drop(client, turn)
            else:
                self.give(client)
            raise

    def _drop(self, client: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(client, deque())
        if turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[client]

    def take_at_once(self, client: str) -> bool:
        """Admit a request of `client` if there is a place for it; returns whether there is."""
        if not self._may_enter(client):
            return False
        self._enter(client)
        return True

    def _may_enter(self, client: str) -> bool:
        return self._held.get(client, 0) < self._free

    def _enter(self, client: str) -> None:
        self._free -= 1
        self._held[client] = self._held.get(client, 0) + 1

    def give(self, client: str) -> None:
        """End a request of `client`, and admit one of each client that may have another place now."""
        self._free += 1
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
        for other in list(self._waiting):
            if not self._free:
                # Nobody can enter, however many wait.
                break
            if self._may_enter(other):
                self._admit(other)

    def _admit(self, client: str) -> None:
        """Admit a request that waits, and put the client behind the others."""
        turns = self._waiting.pop(client)
        while turns:
            turn = turns.popleft()
            if not turn.done():
                self._enter(client)
                turn.set_result(None)
                break
        if turns:
            self._waiting[client] = turns


class _Place:
    """A place that was taken, to be given back once. `leave` may be called in any thread, and twice."""

    def __init__(self, places: Places, client: str) -> None:
        self._places: Places | None = places
        self._client = client
        self._loop = asyncio.get_running_loop()

    def leave(self) -> None:
        """Give the place back soon."""
        self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        places, self._places = self._places, None
        if places:
            places.give(self._client)


class InThreads:
    """Answers requests by a WSGI application in threads.

    `proxies` is TSUKURIOKI_PROXIES. A client has `seconds` to take the next part of a stream.
    """

    def __init__(self, app: Wsgi, threads: int, proxies: int, seconds: float) -> None:
        self._app = app
        self._proxies = proxies
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(threads, "answer")
        self._places = Places(threads)
        self._long = Places(READ_AT_ONCE)

    async def __call__(self, scope: Scope, protocol: HTTPProtocol, body: bytes) -> None:
        """Answer. Raises ProtocolClosed if the client goes away meanwhile, and NoRoomError."""
        environ = wsgi_environ(scope, body)
        client = self._client(environ)
        if len(body) <= MAX_BODY:
            await self._in_thread(environ, protocol, client)
            return
        await _taken(self._long, client, protocol)
        place = _Place(self._long, client)
        environ[WAITS] = place.leave
        try:
            await self._in_thread(environ, protocol, client)
        finally:
            place.leave()

    async def _in_thread(self, environ: Environ, protocol: HTTPProtocol, client: str) -> None:
        loop = asyncio.get_running_loop()
        await _taken(self._places, client, protocol)
        try:
            await loop.run_in_executor(self._threads, self._answer, environ, protocol, loop)
        finally:
            self._places.give(client)

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
            if WAITS in environ:
                trim_heap()

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
                sent = asyncio.run_coroutine_threadsafe(_sent(transport, part), loop)
                try:
                    sent.result(self._seconds)
                except TimeoutError:
                    # Whoever reads nothing gets no more; the connection is closed.
                    sent.cancel()
                    return


def trim_heap() -> None:
    """Give the system back what has been freed.

    After loading it is 5 MB, which workers would copy to use it again; after long bodies, a gigabyte.
    """
    # Not every C library has it.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def share_heap() -> None:
    """Let all threads of this process and its workers allocate in one heap; before there are threads.

    By itself the C library of Linux gives up to eight heaps to each core, and each keeps what it has freed:
    a worker that 200 visitors had asked 20,000 times was 7 MB larger. Python's threads take turns anyway.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_MOST_HEAPS, 1)


async def _taken(places: Places, client: str, protocol: HTTPProtocol) -> None:
    """Wait for a place. Raises ProtocolClosed if the client goes away: nobody wants an answer then, for
    which a service may have to be paid.
    """
    if places.take_at_once(client):
        return
    turn = asyncio.ensure_future(places.take(client))
    # Granian's type stub lacks it.
    left = asyncio.ensure_future(protocol.client_disconnect())
    try:
        await asyncio.wait((turn, left), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        if turn.done() and not turn.exception():
            places.give(client)
        turn.cancel()
        raise
    finally:
        left.cancel()
    if not turn.done():
        turn.cancel()
        raise ProtocolClosed
    turn.result()


async def _sent(transport: Transport, part: bytes) -> None:
    await transport.send_bytes(part)


class _Start:
    """WSGI's `start_response`, which keeps status and headers."""

    status = 500
    headers: list[tuple[str, str]]

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        self.status = int(status[:3])
        self.headers = lower(headers)

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


def lower(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers with their names in small letters, as RSGI wants them."""
    return [(name.lower(), value) for name, value in headers]


def wsgi_environ(scope: Scope, body: bytes) -> Environ:
    """The WSGI environment (PEP 3333) of a request."""
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
    _add_headers(environ, scope)
    if environ.pop("HTTP_CONTENT_LENGTH", None) is not None or body:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


def _add_headers(environ: Environ, scope: Scope) -> None:
    """Add a request's headers.

    Those with an underscore in their names are left out: in WSGI, `X_Forwarded_For` would be the
    same as the header that a proxy writes.
    """
    for name, value in scope.headers.items():
        if "_" not in name:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            joint = "; " if name == "cookie" else ","
            environ[key] = f"{environ[key]}{joint}{value}" if key in environ else value
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    if scope.authority is not None:
        # A request for an absolute URL names its host there (RFC 9112, 3.2.2).
        environ["HTTP_HOST"] = scope.authority


class _Address(NamedTuple):
    host: str
    port: str


def _address(text: str) -> _Address:
    """Parse an address of granian's: `127.0.0.1:8000` or `[::1]:8000`."""
    found = urllib.parse.urlsplit(f"//{text}")
    return _Address(found.hostname or "", str(found.port or ""))
