"""Relaying a model's reply as it is written, within a deadline for the whole reply.

A thread of its own reads the reply (`app.providers.flights`), so that the deadline holds whatever
the model does, even if the reply trickles in; and fifty people who say the same thing at once are
one call to the model. When the last of them ends early (deadline, a refused answer, a client that
went away), the connection to the model is shut down, which stops the generation.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from app.errors import ModelFaultError, ProviderError
from app.providers.flights import Flights, Work
from app.recent import Recent
from app.store.entry import Usage

log = logging.getLogger(__name__)

# Refused requests that are remembered.
_REFUSED = 1024


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
    """The end of a reply: the model, the tokens billed, and whether it was cut at `most_tokens`.

    `shared` is whether another request, which got the same reply, is billed for it.
    """

    model: str
    usage: Usage = field(default_factory=Usage)
    cut: bool = False
    shared: bool = False


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


class Streams:
    """The streamed request of each thread: client libraries cannot hand its Abort to the request."""

    def __init__(self) -> None:
        self._own = threading.local()

    @contextmanager
    def begun(self, ask: Ask, abort: Abort) -> Iterator[None]:
        """Requests of this thread are for this reply."""
        self._own.asked = ask.seconds, abort
        try:
            yield
        finally:
            self._own.asked = None

    def prepare(self, request: Any) -> None:
        """A hook of the HTTP client, called for each request before it is sent."""
        if asked := getattr(self._own, "asked", None):
            seconds, abort = asked
            request.extensions["trace"] = abort.trace
            request.extensions["timeout"] = {**request.extensions["timeout"], "read": seconds}


def chat_messages(system: str, messages: Iterable[Mapping[str, str]]) -> list[Any]:
    """The messages of a request to OpenAI or Ollama, which have the system text as the first."""
    return [*([{"role": "system", "content": system}] if system else []), *messages]


class ChatModel(Protocol):
    """Streams replies. `name` is the source under which they are stored."""

    name: str

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The chunks of a reply as they are written, a `Finish` last. Raises ProviderError."""


class ReplyLimit(Protocol):
    """Limits the number of replies at a time, without a queue. See `app.providers.guards`."""

    def take(self) -> bool:
        """Begin a reply; returns False if there are too many."""

    def give(self) -> None:
        """End a reply."""


class SharedReplies:
    """The replies that a model is writing in this worker, and the requests for which none was fit.

    Requests with the same key get the same reply, and a request is remembered as refused for
    `remember` seconds; if that is 0, each request has a reply of its own. `clock` gives seconds.
    """

    def __init__(self, clock: Callable[[], float], remember: float) -> None:
        self._flights = Flights[str, Finish]("")
        self._remember = remember
        self._clock = clock
        # By request, the check of the gate that refused the reply to it.
        self.refused = Recent[Hashable, str](_REFUSED, remember, clock)

    def relay(
        self, model: ChatModel, ask: Ask, limit: ReplyLimit, key: Hashable
    ) -> Generator[str | Finish, None, None]:
        """The chunks of a reply, with empty ones while it waits, a `Finish` last.

        If a reply to the same `key` is being written, its chunks are given. Raises ModelFaultError:
        `busy` if `limit` allows no further reply, `timeout` at the deadline, or the reason of the
        model's ProviderError.
        """
        clock = self._clock

        def begin() -> Work[str, Finish]:
            if not limit.take():
                raise ModelFaultError("busy", "another reply is being written")
            abort = Abort()
            until = clock() + ask.seconds
            return Work(_written(model, ask, abort, limit), abort.fire, lambda: until - clock())

        end, first = yield from self._flights.share(key if self._remember else object(), begin)
        if isinstance(end, Finish):
            yield replace(end, shared=not first)
        elif isinstance(end, ModelFaultError):
            raise ModelFaultError(end.reason, str(end), shared=not first)
        else:
            raise ModelFaultError("timeout", "the deadline is over", shared=not first)


def _written(
    model: ChatModel, ask: Ask, abort: Abort, limit: ReplyLimit
) -> Generator[str, None, Finish]:
    """The chunks of a reply; returns its end. Raises ModelFaultError."""
    try:
        with closing(model.stream(ask, abort)) as written:
            for chunk in whole_characters(written):
                if isinstance(chunk, Finish):
                    return chunk
                yield chunk
    except ProviderError as error:
        raise ModelFaultError(error.reason, str(error)) from None
    except Exception as error:  # whatever a client library raises, the next tier must answer
        log.exception("the client of %s failed", model.name)
        raise ModelFaultError("broken", type(error).__name__) from None
    finally:
        # Not earlier, because the model works until its connection is closed; and before anybody
        # has the end of the reply, because a client may send its next request at once.
        limit.give()
    raise ModelFaultError("cut", "the reply ended in the middle")


def whole_characters(chunks: Iterable[str | Finish]) -> Iterator[str | Finish]:
    """The same with chunks of whole characters, which can be encoded.

    JSON can cut a character of two UTF-16 units (most emoji) over two chunks: its first half waits
    for the second. A half without the other becomes U+FFFD, which every gate refuses.
    """
    held = ""
    for chunk in chunks:
        if isinstance(chunk, Finish):
            if held:
                yield "\ufffd"
            yield chunk
            return
        text = held + chunk
        held = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        text = text[: len(text) - len(held)]
        if text:
            yield text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if held:
        yield "\ufffd"
