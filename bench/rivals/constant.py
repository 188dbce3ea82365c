"""A WSGI function that gives one answer, whatever is asked: what a WSGI server costs by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

BODY = b"x" * 950
HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", str(len(BODY))),
    ("Cache-Control", "no-cache"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
]


def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Nothing is looked up, nothing is counted."""
    start("200 OK", list(HEADERS))
    return [BODY]
