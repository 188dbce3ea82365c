"""Relaying a model's reply as it is written, within a deadline for the whole reply.

A thread of its own reads the reply, the request waits on a queue: so the deadline holds whatever
the model does, even if the reply trickles in. If the request ends early (deadline, a refused
answer, a client that went away), the connection to the model is shut down, which stops the
generation.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from app.errors import ModelFaultError, ProviderError
from app.store.entry import Usage

# Seconds between the empty pieces of a waiting request, by which it notices that its client left.
HEARTBEAT = 0.25


class Ask(NamedTuple):
    """A request for a streamed reply. Messages are {"role": user or assistant, "content": text}.

    `most_tokens` and `seconds` limit the reply; `schema` is its JSON schema, None for plain text.
    """

    model: str
    system: str
    messages: tuple[Mapping[str, str], ...]
    most_tokens: int
    seconds: float
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply: the model, the tokens billed, and whether it was cut at `most_tokens`."""

    model: str
    usage: Usage = field(default_factory=Usage)
    cut: bool = False


class Abort:
    """Ends the thread that reads a reply, by shutting down the socket on which it waits."""

    def __init__(self) -> None:
        self._fired = threading.Event()
        self._sockets: list[socket.socket] = []

    @property
    def fired(self) -> bool:
        """Whether the reply is no longer wanted."""
        return self._fired.is_set()

    def watch(self, connection: socket.socket) -> None:
        """Add a connection to shut down on `fire`; at once if that was called already."""
        self._sockets.append(connection)
        if self.fired:
            self.fire()

    def fire(self) -> None:
        """Shut the connections down. May be called twice."""
        self._fired.set()
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The trace function of a request to httpcore: watches its socket once it is connected."""
        if event == "connection.connect_tcp.complete":
            found = info["return_value"].get_extra_info("socket")
            if found is not None:
                self.watch(found)


class ChatModel(Protocol):
    """Streams replies. `name` is the source under which they are stored."""

    name: str

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The pieces of a reply as they are written, a `Finish` last. Raises ProviderError."""


class ReplyLimit(Protocol):
    """Limits the number of replies at a time, without a queue. See `app.providers.guards`."""

    def take(self) -> bool:
        """Begin a reply; returns False if there are too many."""

    def give(self) -> None:
        """End a reply."""


def relay(
    model: ChatModel, ask: Ask, limit: ReplyLimit, clock: Callable[[], float]
) -> Generator[str | Finish, None, None]:
    """The pieces of a reply, with empty ones while it waits, a `Finish` last.

    Raises ModelFaultError: `busy` if `limit` allows no further reply, `timeout` at the deadline, or
    the reason of the model's ProviderError.
    """
    end = clock() + ask.seconds
    if not limit.take():
        raise ModelFaultError("busy", "another reply is being written")
    abort = Abort()
    pieces: queue.SimpleQueue[str | Finish | ModelFaultError | None] = queue.SimpleQueue()
    pump = threading.Thread(
        target=_pump, args=(model, ask, abort, pieces, limit), daemon=True, name="relay"
    )
    try:
        pump.start()
        yield from _until(end, pieces, clock)
    finally:
        abort.fire()


def _pump(
    model: ChatModel,
    ask: Ask,
    abort: Abort,
    pieces: queue.SimpleQueue[str | Finish | ModelFaultError | None],
    limit: ReplyLimit,
) -> None:
    last: Finish | ModelFaultError | None = None
    try:
        with closing(model.stream(ask, abort)) as written:
            for piece in written:
                if abort.fired:
                    break
                if isinstance(piece, Finish):
                    last = piece
                    break
                pieces.put(piece)
    except ProviderError as error:
        last = ModelFaultError(error.reason, str(error))
    finally:
        # Not earlier, because the model works until its connection is closed; and before the last
        # piece, because the client may send its next request as soon as it has the answer.
        limit.give()
        pieces.put(last)


def _until(
    end: float,
    pieces: queue.SimpleQueue[str | Finish | ModelFaultError | None],
    clock: Callable[[], float],
) -> Generator[str | Finish, None, None]:
    while True:
        left = end - clock()
        if left <= 0:
            raise ModelFaultError("timeout", "the deadline is over")
        try:
            piece = pieces.get(timeout=min(left, HEARTBEAT))
        except queue.Empty:
            yield ""
            continue
        if isinstance(piece, ModelFaultError):
            raise piece
        if piece is None:
            raise ModelFaultError("cut", "the reply ended in the middle")
        yield piece
        if isinstance(piece, Finish):
            return
