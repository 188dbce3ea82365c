"""HTTP for the clients: a time limit for whole replies, proxies, and no redirects to other origins.

The time-outs of httpx and httpx2 are for each read, so that a body that trickles in never times
out. The transport made here raises the library's ReadTimeout when the whole reply takes too long.
It refuses redirects that would send a key, or a prompt, to another origin.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from app.errors import ProviderStopError

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
_HOST = re.compile(r"[\w.:%-]+")
_REDIRECTS = (301, 302, 303, 307, 308)
# These two keep method and body; the others turn a POST into a GET, which asks for something else.
_REPEATED = (307, 308)
# Seconds for which a connection that nobody uses is kept. Many servers close one after five, and a
# request that is sent in that moment is lost.
_IDLE = 4.0


def is_local(url: str) -> bool:
    """Whether a server is on this machine: localhost, 127.0.0.0/8, [::1]."""
    host = urlsplit(url if "//" in url else f"//{url}").hostname or "localhost"
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for a server; None if there is none.

    A server on this machine is always asked directly: the libraries would send requests to
    127.0.0.1 through a proxy, which at an event may not be reachable. Raises ProviderStopError if
    the proxy cannot be used.
    """
    parts = urlsplit(url if "//" in url else f"//{url}")
    if is_local(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    name = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(name)
    if proxy:
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        _check_proxy(f"{name.upper()}_PROXY", proxy)
    return proxy


def _check_proxy(variable: str, proxy: str) -> None:
    # The value may contain a password, so that it is not shown.
    try:
        parts = urlsplit(proxy)
        host = _HOST.fullmatch(parts.hostname or "")
        usable = bool(host) and parts.scheme in _PROXY_SCHEMES and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ProviderStopError(
            f"{variable} is not the address of a proxy",
            "set it to one like http://host:3128, or unset it",
            "proxy",
        )
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise ProviderStopError(
            f"{variable} names a SOCKS proxy, which needs a package that is not installed",
            f"run: pip install socksio, or unset {variable}",
            "proxy",
        )


def origin(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def refuse_redirect(method: str, url: str, status: int, location: str | None) -> None:
    """Raise ProviderStopError for a redirect to another origin, or one that would lose the body."""
    if status not in _REDIRECTS or not location:
        return
    target = urljoin(url, location)
    try:
        same = origin(target) == origin(url)
    except ValueError:
        same = False
    if same and (method in ("GET", "HEAD") or status in _REPEATED):
        return
    shown = "".join(c for c in target.split("?")[0] if c.isprintable())[:200]
    raise ProviderStopError(
        f"{origin(url)} sends requests on to {shown}, where nothing was sent, the key least of all",
        "if that address is right, set it as the service's",
    )


def options(
    library: Any, seconds: float, url: str, now: Callable[[], float] = time.monotonic
) -> dict[str, Any]:
    """Arguments for an HTTP client of `library` (httpx or httpx2) that asks `url`.

    A whole reply may take `seconds`. Connecting may take 10 seconds, or 1 on this machine. `now`
    gives seconds. Raises ProviderStopError if a proxy cannot be used.
    """
    local = is_local(url)
    return {
        "transport": _transport(library, seconds, url, now),
        "timeout": library.Timeout(seconds, connect=min(1.0 if local else 10.0, seconds)),
        "trust_env": False,
        "follow_redirects": True,
    }


def _transport(library: Any, seconds: float, url: str, now: Callable[[], float]) -> Any:
    """The transport in `options`.

    Connections are kept for later requests and shared by all threads. A request with a `trace` has
    a connection of its own, because the reply is stopped by shutting down its socket.
    """
    proxy = proxy_for(url)
    limited = _limited_stream(library, seconds, now)

    class Transport(library.HTTPTransport):  # type: ignore[misc]  # a class of either library
        @cached_property
        def _unshared(self) -> Any:
            unkept = library.Limits(max_keepalive_connections=0)
            return library.HTTPTransport(proxy=proxy, limits=unkept)

        def handle_request(self, request: Any) -> Any:
            end = now() + seconds
            send: Any = super() if "trace" not in request.extensions else self._unshared
            response = send.handle_request(request)
            to = response.headers.get("location")
            try:
                refuse_redirect(request.method, str(request.url), response.status_code, to)
            except ProviderStopError:
                response.close()
                raise
            response.stream = limited(response.stream, request, end)
            return response

    return Transport(proxy=proxy, limits=library.Limits(keepalive_expiry=_IDLE))


def _limited_stream(library: Any, seconds: float, now: Callable[[], float]) -> Any:
    """The library's class of streams, with a time at which a reply must have ended."""

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

    return Limited
