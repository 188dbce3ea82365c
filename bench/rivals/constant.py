"""The floor: a WSGI function that gives one answer, whatever is asked, behind the server that we use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

_BODY = b"x" * 950
_HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(_BODY))),
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
]


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Nothing is looked up, nothing is counted."""
    start("200 OK", list(_HEADERS))
    return [_BODY]
