"""`python -m app`: gunicorn keeps the workers, uvicorn the connections, threads run Flask.

A worker's event loop answers what the fast path answers by itself, and reads every other request to
its end before a thread is taken for it: a client that sends slowly, or not at all, costs a
connection and no thread.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from a2wsgi import WSGIMiddleware
from gunicorn.app.base import BaseApplication
from uvicorn_worker import UvicornWorker

from app.connection import Connection, Front
from app.fastpath import FastPath
from app.house import MAX_BODY, House
from app.server import SECURITY_HEADERS, create_app
from app.settings import Settings

# Seconds that requests under way have to finish in, once the server is told to stop.
STOP_WITHIN = 5

# How uvicorn is set up, wherever it runs.
UVICORN: dict[str, Any] = {
    "loop": "uvloop",
    "lifespan": "off",
    "ws": "none",
    # Which proxies are believed is TSUKURIOKI_PROXIES' to say.
    "proxy_headers": False,
    "server_header": False,
    "access_log": False,
    "timeout_graceful_shutdown": STOP_WITHIN,
}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
_GONE = "tsukurioki.gone"


def serve(settings: Settings, house: Callable[[], House]) -> None:
    """Serve until a signal, with workers that each make a house. Ends with SystemExit."""
    # What is loaded by now is shared by the workers that are forked, and not touched by collecting.
    gc.collect()
    gc.freeze()
    processes: Any = _Processes(settings, house)
    processes.run()


class Service:
    """What a worker serves: an ASGI application, and the protocol of its connections.

    Without `fast`, Flask answers everything.
    """

    def __init__(self, settings: Settings, house: House, *, fast: bool = True) -> None:
        app = create_app(settings, house)
        # Its types are ASGI's and WSGI's to the last key; ours are plain dicts.
        in_threads: Any = WSGIMiddleware
        self._flask: Asgi = in_threads(_Stopping(app.wsgi_app), workers=settings.threads)
        # A store in Redis is asked over a socket, which an event loop must not wait for.
        path = FastPath(house, SECURITY_HEADERS) if fast and not settings.redis else None
        self.protocol = functools.partial(
            Connection,
            Front(path, settings.request_seconds, settings.keep_seconds, house.counters.refused),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, once it is here as a whole."""
        body = await _whole_body(receive)
        if body is None:
            return
        gone = threading.Event()
        watch = asyncio.create_task(_watch(receive, gone))
        try:
            await self._flask(_with_length(scope, body, gone), _once(body), send)
        finally:
            watch.cancel()


async def _whole_body(receive: Receive) -> bytes | None:
    """The body; no more than what is refused as too long, and None where the client went away."""
    parts, length, more = [], 0, True
    while more and length <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        length += len(parts[-1])
        more = message.get("more_body", False)
    return b"".join(parts)


def _with_length(scope: Scope, body: bytes, gone: threading.Event) -> Scope:
    """The scope of a request whose body is here: in chunks or not, its length is known.

    Names with an underscore are left out: WSGI could not tell `X_Forwarded_For` from the header that
    a proxy writes.
    """
    headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
    chunked = [name for name, _ in headers if name == b"transfer-encoding"]
    if chunked:
        headers = [header for header in headers if header[0] != b"transfer-encoding"]
        headers.append((b"content-length", str(len(body)).encode()))
    return {**scope, "headers": headers, _GONE: gone}


def _once(body: bytes) -> Receive:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _watch(receive: Receive, gone: threading.Event) -> None:
    """Note when the client goes away. uvicorn says the same once the answer is complete."""
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


class _Stopping:
    """WSGI middleware that stops an answer in parts when nobody is there to read it."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        gone: threading.Event = environ["asgi.scope"][_GONE]
        parts = self._app(environ, start)
        try:
            for part in parts:
                yield part
                if gone.is_set():
                    return
        finally:
            close = getattr(parts, "close", None)
            if close:
                close()


class _Worker(UvicornWorker):
    """A worker of gunicorn that serves a `Service`."""

    CONFIG_KWARGS = {**UVICORN, "timeout_notify": 1}  # noqa: RUF012 as its base has it

    def handle_exit(self, sig: int, frame: object) -> None:
        """Interrupted, gunicorn sends SIGQUIT, which uvicorn does not know: end as by SIGTERM."""
        os.kill(os.getpid(), signal.SIGTERM)

    async def callback_notify(self) -> None:
        """Every second: tell gunicorn that this worker lives, and end where gunicorn does not."""
        if os.getppid() != self.ppid:
            os.kill(os.getpid(), signal.SIGTERM)
        await super().callback_notify()

    def load_wsgi(self) -> None:
        """Make the service, and have uvicorn make its connections."""
        self.wsgi = self.app.wsgi()
        self.config.http = self.wsgi.protocol


class _Processes(BaseApplication):
    """gunicorn with our settings, and none of its own from files or the environment."""

    def __init__(self, settings: Settings, house: Callable[[], House]) -> None:
        self._settings = settings
        self._house = house
        super().__init__()  # type: ignore[no-untyped-call]

    def load_config(self) -> None:
        """Hand the settings on."""
        settings, config = self._settings, self.cfg
        assert config
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        for name, value in {
            "bind": f"{host}:{settings.port}",
            "workers": settings.workers,
            "worker_class": _Worker,
            "backlog": settings.backlog,
            "graceful_timeout": STOP_WITHIN + 1,
            "control_socket_disable": True,
            "loglevel": "error",
        }.items():
            config.set(name, value)

    def load(self) -> Service:
        """The service of a worker, in that worker."""
        return Service(self._settings, self._house())
