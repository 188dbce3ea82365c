"""LINE's webhook: `POST /line/webhook`, see `app.web.line_bot`."""

from __future__ import annotations

import flask
from flask import Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from app.errors import RequestError
from app.web.service import current_service

WEBHOOK = "/line/webhook"
# Greatest length of a delivery in bytes: a few dozen of the longest messages (5,000 characters).
MAX_DELIVERY = 1 << 20

line_api = flask.Blueprint("line", __name__)


@line_api.post(WEBHOOK)
def webhook() -> Response:
    """Take the events of a delivery, which are answered later, by LINE's API."""
    service = current_service()
    if service.line is None:
        raise RequestError(404, "No LINE", "TSUKURIOKI_LINE_SECRET and …_TOKEN are not set here")
    request.max_content_length = MAX_DELIVERY + 1
    body = request.get_data(cache=False)
    if len(body) > MAX_DELIVERY:
        raise RequestEntityTooLarge
    service.line.deliver(body, request.headers.get("X-Line-Signature", ""))
    return Response(b"{}", content_type="application/json")
