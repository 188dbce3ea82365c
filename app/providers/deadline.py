"""A time limit for a whole reply.

The time-outs of httpx and httpx2 are per read: a body that trickles in outlasts them for ever. This
transport ends the reply where the time is over, with the read time-out that the clients know.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  # compared with, not bound to


def is_local(url: str) -> bool:
    """Whether a server is on this machine."""
    return (urlsplit(url if "//" in url else f"//{url}").hostname or "localhost") in LOCAL


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a server; none for one on this machine.

    A booth's laptop often has a proxy set that leads nowhere, and the libraries would send requests
    to 127.0.0.1 through it.
    """
    parts = urlsplit(url)
    if is_local(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def client(
    library: Any, seconds: float, url: str, now: Callable[[], float] = time.monotonic
) -> Any:
    """An HTTP client of `library` (httpx or httpx2) for `url`, without a reply over `seconds`."""
    return library.Client(
        transport=transport(library, seconds, url, now),
        timeout=library.Timeout(seconds, connect=min(10.0, seconds)),
        trust_env=False,
        follow_redirects=True,
    )


def transport(
    library: Any, seconds: float, url: str, now: Callable[[], float] = time.monotonic
) -> Any:
    """The transport alone, for clients that build their own HTTP client."""

    class Limited(library.SyncByteStream):  # type: ignore[misc]  # a class of either library
        def __init__(self, stream: Any, request: Any, end: float) -> None:
            self._stream, self._request, self._end = stream, request, end

        def __iter__(self) -> Iterator[bytes]:
            for part in self._stream:
                if now() > self._end:
                    fault = f"the reply took longer than {seconds:g} s"
                    raise library.ReadTimeout(fault, request=self._request)
                yield part

        def close(self) -> None:
            self._stream.close()

    class Transport(library.HTTPTransport):  # type: ignore[misc]  # a class of either library
        def handle_request(self, request: Any) -> Any:
            end = now() + seconds
            response = super().handle_request(request)
            response.stream = Limited(response.stream, request, end)
            return response

    return Transport(proxy=proxy_for(url))
