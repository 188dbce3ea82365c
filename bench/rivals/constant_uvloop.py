"""The floor: a connection of uvloop that gives one answer to whatever comes in, parsing nothing."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from bench.rivals.constant import BODY, HEADERS

_LINES = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
_RESPONSE = f"HTTP/1.1 200 OK\r\n{_LINES}\r\n".encode() + BODY


class Constant(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers."""
        # uvloop's transports are asyncio's by what they do, not by their class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Whole requests come in one piece here."""
        self._transport.write(_RESPONSE)


async def serve(port: int) -> None:
    """Until it is ended."""
    server = await asyncio.get_running_loop().create_server(Constant, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
