"""Who may ask: the names that this server answers to, the pages that may send to it, the token.

Browsers are what these rules are about. A page from anywhere can make its visitor's browser send
requests to this server; two rules keep it from acting or reading as if it were one of ours:

- A request must name this server as its host. Without that, a page of `evil.example` could have its
  own name point to this machine (DNS rebinding) and would then count as ours. An IP address in
  `Host` is always accepted: no DNS answer stands between it and the machine that was asked, so
  nothing can be rebound, and visitors' phones on the booth's network ask by address.
- A request that may change something must not come from a page of another origin. This is the
  algorithm of Go's `net/http.CrossOriginProtection` (Filippo Valsorda, 2025): browsers say where a
  request comes from in `Sec-Fetch-Site` (to https and localhost) and in `Origin`. A request with
  neither comes from a program, which has no visitor whose rights it could borrow, and is accepted.

The content type is not looked at: the second rule covers forms and `text/plain` too, and games send
JSON under all sorts of names.

The token is for the host's own pages and for chats that cost. Wrong ones are counted for each client
address in each worker, so that a short token cannot be tried out at the speed of the network.
"""

from __future__ import annotations

import hmac
import ipaddress
import math
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from werkzeug.sansio.utils import host_is_trusted

from app.errors import RequestError
from app.settings import Settings

ANY = "*"
# A longer name is no name: DNS allows 253 characters, and a port adds six.
_LONGEST_HOST = 260
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# Wrong tokens that an address may show at once, and how many seconds it waits for each more. A host
# mistypes a few times; at ten a minute four random digits take most of a day.
GUESSES, GUESS_SECONDS = 10, 6.0
# Addresses whose guesses a worker remembers.
_ADDRESSES = 4096
_SENTENCE = "うまく受け取れませんでした。"


class Access:
    """Judges requests by their headers. One is made for a worker.

    `machine` is this machine's name, which other machines may know it by, also as `<name>.local`;
    `clock` gives seconds that only go forward.
    """

    def __init__(
        self,
        settings: Settings,
        machine: Callable[[], str] = socket.gethostname,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = settings.token.encode()
        self._guesses = _Guesses(clock)
        self._origins = frozenset(settings.cors_origins)
        self._any_host = ANY in settings.hosts
        name = machine().lower()
        known = ("localhost", settings.host, name, f"{name.partition('.')[0]}.local")
        self._names = tuple({n.lower() for n in (*settings.hosts, *known) if host_is_trusted(n)})
        self._host_status = lru_cache(maxsize=256)(self._judge_host)

    def refusal(
        self, method: str, host: str | None, origin: str | None, site: str | None
    ) -> RequestError | None:
        """Why a request must not be answered; None if it may be.

        `host`, `origin` and `site` are its headers Host, Origin and Sec-Fetch-Site, None where it
        has none. Refused are, with 400, a request without a usable Host, with 421 one for the host
        of another, with 403 one that a page of another origin sent.

        Whatever answers before Flask asks this first, and leaves what is refused to Flask, which
        asks again and says why.
        """
        if host is None or len(host) > _LONGEST_HOST:
            return _bad_host()
        if status := self._host_status(host):
            return _bad_host() if status == 400 else _other_host(host)
        if method not in _SAFE and self._cross_origin(host, origin, site):
            return RequestError(
                403,
                "Cross-origin request",
                "a page of another origin sent this; TSUKURIOKI_CORS_ORIGINS names those that may",
                _SENTENCE,
            )
        return None

    def refusal_wsgi(self, environ: Mapping[str, Any]) -> RequestError | None:
        """The same of a WSGI request. HTTP/1.0 needs no Host: health checks use it, no browser does."""
        host = environ.get("HTTP_HOST")
        if host is None and environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            host = "localhost"
        return self.refusal(
            environ["REQUEST_METHOD"],
            host,
            environ.get("HTTP_ORIGIN"),
            environ.get("HTTP_SEC_FETCH_SITE"),
        )

    def demand_token(self, environ: Mapping[str, Any]) -> None:
        """Raise RequestError (401, or 429 after too many wrong ones) where the token is not shown.

        An address that guessed too often waits, even with the right token: otherwise it would see
        by the answer which of its guesses is right.
        """
        scheme, _, shown = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if not self._token:
            return
        if scheme.lower() == "bearer" and shown.strip():
            address = client_address(environ)
            if wait := math.ceil(self._guesses.wait(address)):
                raise too_many("Too many wrong tokens", wait)
            if hmac.compare_digest(shown.strip().encode(), self._token):
                return
            self._guesses.count(address)
        raise RequestError(
            401,
            "Token needed",
            "send 'Authorization: Bearer' with the value of TSUKURIOKI_TOKEN",
            "合言葉が要ります。",
            (("WWW-Authenticate", 'Bearer realm="tsukurioki"'),),
        )

    def _judge_host(self, host: str) -> int:
        """0 for a host that is ours, else the status to refuse it with."""
        host = host.lower()
        if not host_is_trusted(host):
            return 400
        return (
            0 if self._any_host or _is_address(host) or host_is_trusted(host, self._names) else 421
        )

    def _cross_origin(self, host: str, origin: str | None, site: str | None) -> bool:
        if origin in self._origins:
            return False
        if site is not None:
            return site not in ("same-origin", "none")
        # A page that the browser does not want to name is "null", which is no host.
        return origin is not None and origin.partition("://")[2].lower() != host.lower()


class _Guesses:
    """Wrong tokens by client address: for each the time at which all of its guesses are paid for."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._paid: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, address: str) -> float:
        """Seconds until this address may show a token again; 0 where it may now."""
        unpaid = self._paid.get(address, 0.0) - self._clock()
        return max(0.0, unpaid - (GUESSES - 1) * GUESS_SECONDS)

    def count(self, address: str) -> None:
        """Count a wrong one."""
        with self._lock:
            paid = max(self._clock(), self._paid.pop(address, 0.0))
            self._paid[address] = paid + GUESS_SECONDS
            if len(self._paid) > _ADDRESSES:
                del self._paid[next(iter(self._paid))]


def client_address(environ: Mapping[str, Any]) -> str:
    """Whom limits count: the client's IPv4 address, or the /64 that its IPv6 address is in.

    A network gives one client a whole /64 of IPv6 addresses. Behind proxies of the operator's,
    werkzeug's ProxyFix has put the client's address there (see `create_app`).
    """
    told: str = environ.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        # What a proxy wrote; how long it is is the client's choice.
        return told[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def too_many(title: str, seconds: int) -> RequestError:
    """A refusal (429) that says after how many seconds to ask again."""
    return RequestError(
        429,
        title,
        f"ask again in {seconds} s",
        "少し待ってから、もう一度お願いします。",
        (("Retry-After", str(seconds)),),
    )


def _is_address(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bad_host() -> RequestError:
    return RequestError(400, "Bad host", "a request names its host in one Host header", _SENTENCE)


def _other_host(host: str) -> RequestError:
    detail = f"this server is not {host!r}; TSUKURIOKI_HOSTS lists the names that it answers to"
    return RequestError(421, "Unknown host", detail, _SENTENCE)
