"""The local page of `precompute review`: it listens on this machine only, and asks for a token.

The token is in the part of the address after #, which browsers send to nobody; the page sends it in
the header Authorization, which no page of another origin can. A request must name this machine as its
host, so that no other name can be made to resolve to it (DNS rebinding).
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flask
import orjson
from flask import Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

import app
from app.errors import (
    ChangedTextError,
    OperatorError,
    PlanError,
    RefusedTextError,
    StoreWriteError,
    TsukuriokiError,
)
from app.kinds.language import ENGLISH
from precompute.review.desk import DecisionRequest, Desk, Publisher, TextFilter, row_of

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "page"
_STATIC = Path(app.__file__).parent / "static"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MOST_ROWS = 200
_MOST_BYTES = 1 << 20


class _UnreadableError(TsukuriokiError):
    """A request that cannot be understood; the message says why."""


class _Quiet(WSGIRequestHandler):
    """Prints no line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Do nothing."""


def make_app(desk: Desk, publisher: Publisher, token: str, language: str) -> flask.Flask:
    """The page and its API, in the deck's language unless the page is asked for another."""
    site = flask.Flask(__name__, static_folder=str(_STATIC), static_url_path="/static")
    site.config.update(TRUSTED_HOSTS=[HOST, "localhost"], MAX_CONTENT_LENGTH=_MOST_BYTES)

    @site.before_request
    def admit() -> Response | None:
        # The page has nothing in it, so that it can be loaded before it knows the token.
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode(), token.encode())
        if not request.path.startswith("/api/") or (scheme.lower() == "bearer" and right):
            return None
        return _problem(401, "Token needed", "open the address that precompute review printed")

    @site.after_request
    def headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    _add_page(site)
    _add_api(site, desk, publisher, language)
    _add_errors(site)
    return site


def _add_page(site: flask.Flask) -> None:
    @site.get("/")
    def page() -> Response:
        return flask.send_from_directory(PAGE, "index.html")

    @site.get("/page/<name>")
    def file(name: str) -> Response:
        return flask.send_from_directory(PAGE, name)


def _add_api(site: flask.Flask, desk: Desk, publisher: Publisher, language: str) -> None:
    words = orjson.loads((PAGE / "words.json").read_bytes())

    @site.get("/api/deck")
    def deck() -> Response:
        wanted = (request.args.get("lang"), language, ENGLISH.id)
        shown = next(one for one in wanted if one in words)
        value = {
            "name": desk.deck.name,
            "language": language or shown,
            "shown": shown,
            "words": words[shown],
            "choices": desk.choices(),
        }
        return _json(value)

    @site.get("/api/answers")
    def answers() -> Response:
        names = desk.names(_wanted(request.args))
        start, most = _number("offset", 0), min(_number("limit", 50), _MOST_ROWS)
        votes = desk.votes()
        entries = map(desk.entry, names[start : start + most])
        value = {
            "total": len(names),
            "counts": desk.counts(),
            "problem": publisher.problem,
            "rows": [row_of(desk, entry, votes) for entry in entries if entry],
        }
        return _json(value)

    @site.post("/api/answers/<key>/<int:variant>")
    def decide(key: str, variant: int) -> Response:
        entry = desk.decide((key, variant), _said(request.get_data()))
        publisher.due()
        return _json(row_of(desk, entry, desk.votes()))


def _add_errors(site: flask.Flask) -> None:
    @site.errorhandler(OperatorError)
    def refused(error: OperatorError) -> Response:
        kinds = {
            ChangedTextError: (409, "Changed"),
            RefusedTextError: (422, "Refused by the gate"),
            StoreWriteError: (507, "Not written"),
        }
        status, title = kinds.get(type(error), (400, "Not possible"))
        more = {"refusal": str(error.refusal)} if isinstance(error, RefusedTextError) else {}
        return _problem(status, title, str(error), **more)

    @site.errorhandler(_UnreadableError)
    def bad(error: _UnreadableError) -> Response:
        return _problem(400, "Bad request", str(error))

    @site.errorhandler(HTTPException)
    def other(error: HTTPException) -> Response:
        return _problem(error.code or 500, error.name, error.description or "")


def listen(site: flask.Flask, port: int) -> BaseWSGIServer:
    """A server of the page on this machine; port 0 is any that is free. Raises PlanError if it is taken."""
    try:
        # Bound here: Werkzeug ends the process if the port is taken.
        bound = socket.create_server((HOST, port))
    except OSError as error:
        raise PlanError(f"port {port}: {error.strerror}; name another with --port") from None
    with bound:
        number = bound.getsockname()[1]
        return make_server(
            HOST, number, site, threaded=True, request_handler=_Quiet, fd=bound.fileno()
        )


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), content_type="application/json")


def _problem(status: int, title: str, detail: str, **more: str) -> Response:
    """A problem document (RFC 9457)."""
    members = {"status": status, "title": title, "detail": detail, "error": detail, **more}
    return Response(orjson.dumps(members), status, content_type="application/problem+json")


def _number(name: str, default: int | None) -> Any:
    text = request.args.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _UnreadableError(f"{name} is a whole number, not {text!r}")
    return int(text)


def _wanted(given: Mapping[str, str]) -> TextFilter:
    names = ("search", "source", "status", "check", "votes")
    texts = {name: given.get(name, "") for name in names}
    return TextFilter(**texts, least=_number("least", None), most=_number("most", None))


def _said(body: bytes) -> DecisionRequest:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _UnreadableError("the body is no JSON") from None
    kinds = {"verdict": str, "mark": str, "texts": dict, "note": str, "force": bool}
    if not isinstance(value, dict) or not {"verdict", "mark"} <= value.keys() <= kinds.keys():
        raise _UnreadableError(
            f"the body is an object with verdict, mark and perhaps {', '.join(kinds)}"
        )
    for name, kind in kinds.items():
        if name in value and not isinstance(value[name], kind):
            raise _UnreadableError(f"{name} is no {kind.__name__}")
    if not all(isinstance(text, str) for text in value.get("texts", {}).values()):
        raise _UnreadableError("texts have texts")
    return DecisionRequest(**value)
