"""An RSGI application that gives one answer, whatever is asked: what our HTTP server costs by itself."""

from __future__ import annotations

from typing import Any

BODY = b"x" * 950
HEADERS = [
    ("content-type", "application/json"),
    ("cache-control", "no-cache"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
]


class Constant:
    """Nothing is looked up, nothing is counted."""

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """Read the body and answer."""
        if scope.method == "POST":
            await protocol()
        protocol.response_bytes(200, HEADERS, BODY)


app = Constant()
