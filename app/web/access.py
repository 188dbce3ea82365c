"""Access: the host names that this server answers to, the origins that may call it, the token.

Any web page can make its visitor's browser send requests to this server. Two rules keep such a page
from acting, or reading, as if it were one of ours:

- A request must name this server as its host. Otherwise a page of `evil.example` could make its own
  name resolve to this machine (DNS rebinding) and would then be of the same origin. An IP address in
  `Host` is always accepted: DNS is not involved, and visitors' phones on the booth's network use the
  address.
- A request that may change something must not come from a page of another origin. The algorithm is
  that of Go's `net/http.CrossOriginProtection` (Filippo Valsorda, 2025): browsers say where a request
  comes from in `Sec-Fetch-Site` (to https and localhost) and in `Origin`. A request with neither
  comes from a program, which cannot abuse a visitor's rights, and is accepted.

The content type is not checked: the second rule covers forms and `text/plain` too, and games send
JSON with various content types.

The token protects the host's own pages and chats that cost money. Wrong tokens are counted for each
client address in each worker, so that a short one cannot be guessed at the speed of the network.
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
# DNS allows names of 253 characters, and a port adds six.
_LONGEST_HOST = 260
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# Wrong tokens that an address may send at once, and the seconds to wait for each further one:
# enough for typing errors; at ten a minute, guessing four random digits takes most of a day.
GUESSES, GUESS_SECONDS = 10, 6.0
# Addresses for which a worker counts wrong tokens.
_ADDRESSES = 4096


class Access:
    """Judges requests by their headers. Each worker has one.

    `machine` gives the host name of this machine, which other machines may use, also as
    `<name>.local`; `clock` gives monotonic seconds.
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
        """The error for a request that must be refused; None if it may be answered.

        `host`, `origin` and `site` are the headers Host, Origin and Sec-Fetch-Site, None if they
        are missing. The status is 400 without a valid Host, 421 for the name of another host, 403
        for a request of a page of another origin.

        The fast path calls this too, and leaves refused requests to Flask, which sends the error.
        """
        if host is None or len(host) > _LONGEST_HOST:
            return _bad_host()
        if status := self._host_status(host):
            return _bad_host() if status == 400 else _other_host(host)
        if method not in _SAFE and self._cross_origin(host, origin, site):
            detail = (
                "a page of another origin sent this; TSUKURIOKI_CORS_ORIGINS names those that may"
            )
            return RequestError(403, "Cross-origin request", detail)
        return None

    def refusal_wsgi(self, environ: Mapping[str, Any]) -> RequestError | None:
        """`refusal` for a WSGI request. HTTP/1.0, which some health checks use, needs no Host."""
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
        """Raise RequestError (401, or 429 after too many wrong ones) unless the token is right.

        If an address has sent too many wrong tokens, the right one is refused too: otherwise it
        would learn from the answer which guess is right.
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
        """0 for a name of this server, else the status of the refusal."""
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
        # Browsers send "null" for a page without an origin of its own, which equals no host.
        return origin is not None and origin.partition("://")[2].lower() != host.lower()


class _Guesses:
    """Counts wrong tokens by client address, by the generic cell rate algorithm (GCRA)."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # The time at which an address may send `GUESSES` wrong tokens again.
        self._paid: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, address: str) -> float:
        """Seconds until this address may send a token again; 0 if it may now."""
        unpaid = self._paid.get(address, 0.0) - self._clock()
        return max(0.0, unpaid - (GUESSES - 1) * GUESS_SECONDS)

    def count(self, address: str) -> None:
        """Count a wrong token."""
        with self._lock:
            paid = max(self._clock(), self._paid.pop(address, 0.0))
            self._paid[address] = paid + GUESS_SECONDS
            if len(self._paid) > _ADDRESSES:
                del self._paid[next(iter(self._paid))]


def client_address(environ: Mapping[str, Any]) -> str:
    """The address by which limits count: IPv4, or the /64 network of an IPv6 address.

    Networks give each client a whole /64 of IPv6 addresses. Behind the operator's proxies,
    werkzeug's ProxyFix puts the client's address into REMOTE_ADDR (see `create_app`).
    """
    written: str = environ.get("REMOTE_ADDR", "")
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        # Behind a proxy this can be any text that the client chose.
        return written[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def on_this_machine(environ: Mapping[str, Any]) -> bool:
    """Whether the client is on the server's machine."""
    try:
        return ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def too_many(title: str, seconds: int) -> RequestError:
    """The error (429) for too many requests; `seconds` until the next may be sent."""
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
    return RequestError(400, "Bad host", "a request names its host in one Host header")


def _other_host(host: str) -> RequestError:
    detail = f"this server is not {host!r}; TSUKURIOKI_HOSTS lists the names that it answers to"
    return RequestError(421, "Unknown host", detail)
