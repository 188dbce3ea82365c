"""A service of models to which a client's own requests are sent on as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson

from app.errors import ProviderStopError, UpstreamError
from app.providers import transport
from app.providers.faults import plain
from app.providers.secret import Secret

BAD_GATEWAY, GATEWAY_TIMEOUT = 502, 504
# Headers of an error by which clients' libraries decide when to ask again.
_PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")
# Bytes of a service's error that are passed on.
_MOST_ERROR = 1 << 16


class ServiceAddress(NamedTuple):
    """Where a service is. `header` is the name under which its key is sent, and what comes before it."""

    url: str
    key: Secret
    header: tuple[str, str]


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

    def ask(self, path: str, body: bytes) -> Any:
        """The reply, a JSON value. Raises UpstreamError."""
        with self._faults():
            response = self._client.post(self._url + path, content=body)
        self._check(response.status_code, response.headers, response.content)
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            raise UpstreamError(BAD_GATEWAY, f"the reply of {self._url} is not JSON") from None

    def stream(self, path: str, body: bytes) -> Iterator[bytes]:
        """The bytes of a streamed reply as they come. Raises UpstreamError, perhaps after some."""
        with (
            self._faults(),
            self._client.stream("POST", self._url + path, content=body) as response,
        ):
            if response.status_code != 200:
                self._check(response.status_code, response.headers, response.read())
            yield from response.iter_bytes()

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
