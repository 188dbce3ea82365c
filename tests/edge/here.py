"""A service served by granian in a thread of the test, on a port of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from app.edge.serving import MAX_CONNECTIONS, MAX_HEAD, RsgiApplication
from tests.making import free_port, wait_for_port


@contextmanager
def served_here(application: RsgiApplication, seconds: float = 30.0) -> Iterator[int]:
    """The port, until the end of the block. `seconds`: how long a head may take."""
    port = free_port()
    server = Server(
        application,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backpressure=MAX_CONNECTIONS,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(seconds * 1000), max_buffer_size=MAX_HEAD
        ),
        log_enabled=False,
    )
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        wait_for_port(port)
        yield port
    finally:
        loops[0].call_soon_threadsafe(server.stop)
        thread.join()
