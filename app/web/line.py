"""LINE's webhook: `POST /line/webhook`, see `app.web.line_bot`."""

from __future__ import annotations

import flask
from flask import Response, request

from app.errors import RequestError
from app.web.service import MAX_BODY, Service

line_api = flask.Blueprint("line", __name__)


@line_api.post("/line/webhook")
def webhook() -> Response:
    """Take the events of a delivery, which are answered later, by LINE's API."""
    service: Service = flask.current_app.extensions["tsukurioki"]
    if service.line is None:
        raise RequestError(404, "No LINE", "TSUKURIOKI_LINE_SECRET and …_TOKEN are not set here")
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY:
        raise RequestError(413, "Content Too Large", f"at most {MAX_BODY} bytes")
    service.line.deliver(body, request.headers.get("X-Line-Signature", ""))
    return Response(b"{}", content_type="application/json")
