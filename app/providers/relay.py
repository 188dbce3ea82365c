"""Relaying a model as it writes, within a deadline over all.

The model is read by a thread of its own, the request waits on a queue: so a deadline holds whatever
the model does, a reply that trickles included. Where the request ends early (deadline, a refused
line, a client that went away) the model's connection is shut, which stops the generation.
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

# How often a request that waits looks up: often enough to notice that its client has gone.
HEARTBEAT = 0.25


class Ask(NamedTuple):
    """What a model is asked. Messages are {"role": user or assistant, "content"}.

    `schema` is the JSON schema of the reply, None for plain text.
    """

    model: str
    system: str
    messages: tuple[Mapping[str, str], ...]
    most_tokens: int
    seconds: float
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a reply: what was billed, by which model, and whether it was cut at the limit."""

    model: str
    usage: Usage = field(default_factory=Usage)
    cut: bool = False


class Abort:
    """Ends a reading thread: shuts its socket, so that it wakes up wherever it waits."""

    def __init__(self) -> None:
        self._fired = threading.Event()
        self._sockets: list[socket.socket] = []

    @property
    def fired(self) -> bool:
        """Whether nobody wants the reply any longer."""
        return self._fired.is_set()

    def watch(self, connection: socket.socket) -> None:
        """A connection to shut when the time comes; at once where it has come."""
        self._sockets.append(connection)
        if self.fired:
            self.fire()

    def fire(self) -> None:
        """End it. May be called twice."""
        self._fired.set()
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """What httpcore calls while it works: the moment when there is a socket to watch."""
        if event == "connection.connect_tcp.complete":
            found = info["return_value"].get_extra_info("socket")
            if found is not None:
                self.watch(found)


class ChatModel(Protocol):
    """Writes a reply piece by piece, a `Finish` last. Raises ProviderError.

    `name` is the source under which its replies are stored.
    """

    name: str

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The pieces as they come."""


class Slot(Protocol):
    """A place for one reply at a time (or some); not queued for."""

    def take(self) -> bool:
        """Whether there was a place."""

    def give(self) -> None:
        """Give it back."""


def relay(
    model: ChatModel, ask: Ask, slot: Slot, clock: Callable[[], float]
) -> Generator[str | Finish, None, None]:
    """The pieces of a reply, an empty one now and then while it waits, its `Finish` last.

    Raises ModelFaultError: `busy` where the slot is taken, `timeout` at the deadline.
    """
    end = clock() + ask.seconds
    if not slot.take():
        raise ModelFaultError("busy", "another reply is being written")
    abort = Abort()
    pieces: queue.SimpleQueue[str | Finish | ModelFaultError | None] = queue.SimpleQueue()
    pump = threading.Thread(
        target=_pump, args=(model, ask, abort, pieces, slot), daemon=True, name="relay"
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
    slot: Slot,
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
        # The slot is free only now (a model that still reads a shut connection is at work), and
        # before the end is told: whoever has an answer may ask again at once.
        slot.give()
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
