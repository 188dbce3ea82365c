"""A service served by uvicorn in a thread of the test, on a port of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from app.serving import UVICORN, Service


@contextmanager
def served_here(service: Service) -> Iterator[int]:
    """The port, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(service, http=service.protocol, log_config=None, **UVICORN)  # type: ignore[arg-type]
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            # Connections wait in the backlog until it takes them.
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
