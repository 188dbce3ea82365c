"""The HTTP server of `python -m app`: granian runs the worker processes, threads in them run Flask.

Granian (hyper) parses the head of a request, and limits its size and time, before our code runs.
With its RSGI interface, a request body that arrives slowly, and a response that is read slowly,
occupy a connection but no thread. (With its WSGI interface, which is faster, each occupies one of
the threads that answer; see docs/performance.md.)

RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import multiprocessing
import os
import resource
import select
import signal
import threading
import time
from http import HTTPStatus
from typing import Any

import orjson
from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope  # type: ignore[attr-defined]

from app.edge.bodies import Bodies, Held, NoRoomError
from app.edge.fastpath import FastPath
from app.edge.wsgi import InThreads, lower, trim_heap
from app.settings import Settings
from app.web.app import SECURITY_HEADERS, create_app
from app.web.dialects import GOOGLE, MAX_PROMPT_BODY, codec_of, is_prompt_path
from app.web.line import MAX_DELIVERY, WEBHOOK
from app.web.problems import PROBLEM, SENTENCE, language_for, problem_body, sentence_in
from app.web.service import MAX_BODY, Service

# Seconds in which running requests must finish when the server is stopped.
STOP_WITHIN = 5
log = logging.getLogger(__name__)

# Seconds before workers are started again that ended again and again.
_PAUSE = 0.5
# Bytes of a request's first line and headers.
MAX_HEAD = 64 * 1024
# Open connections of a worker; further ones wait to be accepted.
MAX_CONNECTIONS = 16_384

# Paths, besides those of prompts, whose bodies may be longer than MAX_BODY.
LONGER = {WEBHOOK: MAX_DELIVERY}
# Threads of a worker for all other requests to Flask; Python runs one of them at a time.
THREADS = 8
# Connections that may wait until a worker accepts them, which takes milliseconds.
BACKLOG = 1024
# Threads of a worker for requests that stream or wait for a model.
SLOW_THREADS = 64


def serve(settings: Settings, application: RsgiApplication) -> None:
    """Serve until a signal, by worker processes that are forks of this one."""
    # Keep the garbage collector from writing to the memory that forked workers share. (It would take
    # a twentieth of the start to find a quarter of a megabyte to free.)
    gc.freeze()
    gc.enable()
    trim_heap()
    _raise_open_files()
    # macOS would start workers by "spawn", which shares no memory and cannot take over the application.
    multiprocessing.set_start_method("fork", force=True)
    while True:
        server = _server(settings)
        try:
            server.serve(target_loader=lambda: application, wrap_loader=False)
        except SystemExit:
            if server.interrupt_signal:
                raise
        if server.interrupt_signal:
            return
        # It gives up if a worker ends twice within 5.5 seconds. All that the workers need was checked
        # before: they were killed, most likely for the memory that something took.
        log.warning("workers ended again and again; starting new ones")
        time.sleep(_PAUSE)
        if server.interrupt_signal:
            return


def _server(settings: Settings) -> Any:
    return Granian(
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


def _raise_open_files() -> None:
    """Raise the limit of open files (each connection is one), which is often 1,024 by default."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 2 * MAX_CONNECTIONS), most))


class RsgiApplication:
    """The RSGI application, made before workers are forked. Without `fast`, Flask answers all requests."""

    def __init__(self, settings: Settings, service: Service, *, fast: bool = True) -> None:
        flask = create_app(settings, service)
        # What Flask and Jinja make for their first page is made before the fork too. A page that
        # there is: a refusal would be counted, for which the state would be opened.
        first = "/chat" if service.chats else "/dashboard" if service.cards else "/"
        flask.test_client().get(first)
        app = flask.wsgi_app
        self._flask = InThreads(app, THREADS, settings.proxies, settings.request_seconds)
        # Requests that stream or wait for a model occupy a thread for seconds: they have threads of
        # their own, so that other requests do not wait for them.
        self._slow = InThreads(app, SLOW_THREADS, settings.proxies, settings.request_seconds)
        self._slow_paths = set(service.slow_paths())
        # The event loop must not wait for Redis.
        self._fast = FastPath(service, SECURITY_HEADERS) if fast and not settings.redis else None
        self._counters = service.counters
        self._indexes = [served.index for served in service.decks.values()]
        self._language = service.language
        self._stopping = service.stopping
        # A worker that is killed by a page of an index, as after decay of the disk, leaves word here for
        # the one that takes its place.
        self._faults, self._tell_faults = os.pipe()
        os.set_blocking(self._tell_faults, False)
        self._flushing: asyncio.Future[None] | None = None
        self._bodies = Bodies(settings.request_seconds)

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called in a worker before it serves."""
        # A server in a thread, as in tests, gets no signals.
        main = threading.current_thread() is threading.main_thread()
        if main:
            faulthandler.enable(self._tell_faults, all_threads=False)
        for number in (signal.SIGINT, signal.SIGTERM) if main else ():
            # Granian's own handler is the loop's, which is called too: it reads signals from a
            # descriptor that Python writes to for any handler.
            signal.signal(number, lambda *_: self._stopping.set())
        self._bodies.loop = loop
        self._parent = os.getppid()
        suspect = bool(select.select([self._faults], [], [], 0)[0])
        if suspect:
            log.warning(
                "a worker was killed by a fault of memory; large indexes are read whole now"
            )
        for index in self._indexes:
            index.forked(suspect=suspect)
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
        except NoRoomError as error:
            detail = f"{error}; ask again in a second"
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
            mime = PROBLEM
            wanted = language_for(scope.headers.get("accept-language"), self._language)
            body = problem_body(status, status.phrase, detail, sentence_in(wanted, SENTENCE))
        headers = [("content-type", mime), *lower(SECURITY_HEADERS)]
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            headers.append(("retry-after", "1"))
        protocol.response_bytes(status, headers, body)
