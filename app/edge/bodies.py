"""Receiving the bodies of requests, within limits of time, size and memory."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from granian.rsgi import HTTPProtocol  # type: ignore[attr-defined]

from app.edge.fastpath import RequestHeaders
from app.web.service import MAX_BODY

# Bytes of a body that are read and dropped after it is too long.
THROWN_AWAY = 4 << 20
# Bytes of bodies longer than MAX_BODY (prompts with images) that a worker holds at a time.
MOST_HELD = 64 << 20
# Parts of a body in chunks: each of them costs, whatever its size.
MOST_PARTS = 4_096
PARTS_A_TURN = 8
# The reason for cancelling a task whose request body is late.
_LATE = "the body is late"


class NoRoomError(Exception):
    """The worker holds as much as it may; the message says of what."""


class Held:
    """How much of a long body a worker holds for one request."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._size = 0

    def take(self, size: int) -> None:
        """Hold more. Raises NoRoomError."""
        if self._bodies.held + size > MOST_HELD:
            raise NoRoomError("too many long bodies are being received")
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
