"""A service of models to which a client's own requests are sent on as they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson

from app.errors import ProviderStopError, UpstreamError
from app.providers import transport
from app.providers.faults import plain
from app.providers.secret import Secret

TOO_MANY, BAD_GATEWAY, GATEWAY_TIMEOUT = 429, 502, 504
# Headers of an error by which clients' libraries decide when to ask again.
_PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
# Bytes of a reply, and of all replies that are held at a time until everybody has them.
MOST_REPLY, MOST_HELD = 32 << 20, 64 << 20
# Lists and objects in a whole reply, which take up to 40 times its bytes when they are parsed.
_MOST_BRACKETS = 1 << 18
# Bytes of a service's error that are passed on.
_MOST_ERROR = 1 << 16


class ServiceAddress(NamedTuple):
    """Where a service is. `header` is the name under which its key is sent, and what comes before it."""

    url: str
    key: Secret
    header: tuple[str, str]


class Holding:
    """The bytes of replies that are held at a time, in all threads."""

    def __init__(self, most: int = MOST_HELD) -> None:
        self._free = most
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Hold more; returns whether there is room."""
        with self._lock:
            if size > self._free:
                return False
            self._free -= size
            return True

    def give(self, size: int) -> None:
        """Hold less."""
        with self._lock:
            self._free += size


class Received:
    """How much of one reply has come. It comes in one thread and may be dropped in another."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._size = self._held = 0
        self._dropped = False
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        """Note that a part has come. Raises UpstreamError: 502 for too long a reply, 429 without room."""
        with self._lock:
            self._size += size
            if self._size > MOST_REPLY:
                raise UpstreamError(BAD_GATEWAY, f"the reply is over {MOST_REPLY >> 20} MiB")
            if self._dropped:
                # A part that was on its way: nobody would give back the room for it.
                return
            if not self._holding.take(size):
                detail = "too many long replies are being received; ask again in a second"
                raise UpstreamError(TOO_MANY, detail, headers=(("retry-after", "1"),))
            self._held += size

    def drop(self) -> None:
        """Note that nobody wants the reply any more."""
        with self._lock:
            held, self._held, self._dropped = self._held, 0, True
        self._holding.give(held)


class Upstream:
    """Sends bodies on, with the owner's key and never the client's. `timeout` is in seconds, for a
    whole reply. Raises UpstreamError (502) if the address or its proxy cannot be used.

    Safe to call from several threads.
    """

    def __init__(self, address: ServiceAddress, timeout: float) -> None:
        try:
            import httpx2
        except ImportError:
            raise UpstreamError(
                BAD_GATEWAY, "recording needs httpx2; run: pip install 'tsukurioki[build]'"
            ) from None
        self._url = address.url.rstrip("/")
        self._key = address.key
        self._errors = (httpx2.HTTPError, httpx2.InvalidURL)
        self._timeout = httpx2.TimeoutException
        name, before = address.header
        headers = {"content-type": "application/json"}
        if address.key:
            headers[name] = before + address.key.reveal()
        try:
            self._client = httpx2.Client(
                headers=headers, **transport.options(httpx2, timeout, self._url)
            )
        except ProviderStopError as error:
            raise UpstreamError(BAD_GATEWAY, str(error)) from None

    def ask(self, path: str, body: bytes, received: Received) -> Any:
        """The reply, a JSON value. Raises UpstreamError."""
        with (
            self._faults(),
            self._client.stream("POST", self._url + path, content=body) as response,
        ):
            content = b"".join(_counted(response.iter_bytes(), received))
        self._check(response.status_code, response.headers, content)
        if content.count(b"[") + content.count(b"{") > _MOST_BRACKETS:
            raise UpstreamError(BAD_GATEWAY, f"the reply of {self._url} has too many parts")
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            raise UpstreamError(BAD_GATEWAY, f"the reply of {self._url} is not JSON") from None

    def stream(self, path: str, body: bytes, received: Received) -> Iterator[bytes]:
        """The bytes of a streamed reply as they come. Raises UpstreamError, perhaps after some."""
        with (
            self._faults(),
            self._client.stream("POST", self._url + path, content=body) as response,
        ):
            if response.status_code != 200:
                content = b"".join(_counted(response.iter_bytes(), received))
                self._check(response.status_code, response.headers, content)
            yield from _counted(response.iter_bytes(), received)

    def _check(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        if status == 200:
            return
        if not 400 <= status < 600:
            raise UpstreamError(BAD_GATEWAY, f"{self._url} answered with status {status}")
        said = content[:_MOST_ERROR].decode("utf-8", "replace")
        raise UpstreamError(
            status,
            f"{self._url} answered with status {status}: {plain(said, self._key)}",
            self._key.scrub(said).encode(),
            headers.get("content-type", ""),
            tuple((name, headers[name]) for name in _PASSED_ON if name in headers),
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except ProviderStopError as error:
            raise UpstreamError(BAD_GATEWAY, str(error)) from None
        except self._timeout:
            raise UpstreamError(GATEWAY_TIMEOUT, f"{self._url} did not answer in time") from None
        except self._errors as error:
            why = plain(str(error), self._key) or type(error).__name__
            raise UpstreamError(BAD_GATEWAY, f"{self._url} cannot be asked: {why}") from None

    def close(self) -> None:
        """Close connections."""
        self._client.close()


def _counted(parts: Iterator[bytes], received: Received) -> Iterator[bytes]:
    for part in parts:
        received.add(len(part))
        yield part
