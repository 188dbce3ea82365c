"""The JSON of requests and of responses."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import RequestError
from app.web.service import MAX_BODY

JSON = "application/json"


def parse_json(raw: bytes) -> Any:
    """The JSON of a request's body. Raises RequestError (400)."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            400, "Bad JSON", f"the body is not JSON: {error.msg}", "うまく読み取れませんでした。"
        ) from None


def json_body() -> Any:
    """The JSON of this request's body. Raises RequestError (400), RequestEntityTooLarge."""
    raw = request.get_data(cache=False)
    if len(raw) > MAX_BODY:
        raise RequestEntityTooLarge
    return parse_json(raw)


def json_object() -> dict[str, Any]:
    """The same, which must be an object."""
    value = json_body()
    if not isinstance(value, dict):
        raise bad_request("expected a JSON object")
    return value


def bad_request(detail: str) -> RequestError:
    """The error (400) for a body that is JSON, but not what is expected."""
    return RequestError(400, "Bad request", detail)


def json_response(value: object, status: int = 200, *, cache: str = "") -> Response:
    """A response with a value, or with bytes that are JSON already; `cache` is Cache-Control."""
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    response = Response(body, status, content_type=JSON)
    if cache:
        response.headers["Cache-Control"] = cache
    return response
