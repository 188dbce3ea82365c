"""OpenAI: a module for each endpoint, and here the errors and the lists of models of all.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

NAME = "openai"
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def render_error(status: int, message: str, code: str = "", field: str = "") -> dict[str, Any]:
    """The body of an error."""
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error"),
            "param": field or None,
            "code": code or None,
        }
    }


def render_models(names: Iterable[str], created: int) -> dict[str, Any]:
    """The list of models."""
    return {"object": "list", "data": [render_model(name, created) for name in names]}


def render_model(name: str, created: int) -> dict[str, Any]:
    """One model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "tsukurioki"}
