"""The Flask application: routes, problem documents, headers."""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path

import flask
import orjson
import xxhash
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from app.errors import RequestError, UpstreamError
from app.kinds.cards.plays import GAME, HAND, PlayForm, read_variant
from app.kinds.cards.service import ServedCards
from app.kinds.prompts.dialects import openai
from app.ledger.votes import DOWN, UP
from app.settings import Settings
from app.web.access import client_address
from app.web.bodies import bad_request, json_object, json_response
from app.web.booth import booth
from app.web.chat import chat_api
from app.web.collect import collect_api
from app.web.dialects import DISTANCE, KEY, MODELS, TIER, codec_of_request, error_response
from app.web.gemini import gemini_api
from app.web.line import line_api
from app.web.models import Models
from app.web.ollama import ollama_api
from app.web.openai import openai_api
from app.web.problems import PROBLEM, SENTENCE, language_for, problem_body, sentence_in
from app.web.service import MAX_BODY, Service, current_service, stored_answer
from app.web.site import Site
from app.web.votes import MAX_VISITOR

BALLOT = "X-Tsukurioki-Ballot"
# The headers of ours that pages of other origins may read.
EXPOSED = ", ".join((BALLOT, TIER, KEY, DISTANCE))
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
)
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_KEY = re.compile(r"[0-9a-f]{32}")


def create_app(settings: Settings, service: Service | None = None) -> Flask:
    """The application. Raises OperatorError if a deck or a setting is wrong."""
    app = Flask("app", static_folder="static", template_folder="templates")
    # One more than is allowed: werkzeug cuts a chunked body to this length without an error.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY + 1
    service = service or Service(settings)
    app.extensions["tsukurioki"] = service
    app.extensions[MODELS] = Models(service)
    app.before_request(_admit)
    app.register_blueprint(api)
    app.register_blueprint(chat_api)
    app.register_blueprint(collect_api)
    app.register_blueprint(booth)
    app.register_blueprint(line_api)
    app.register_blueprint(openai_api)
    app.register_blueprint(ollama_api)
    app.register_blueprint(gemini_api)
    app.register_error_handler(RequestError, _on_request_error)
    app.register_error_handler(UpstreamError, _on_upstream_error)
    app.register_error_handler(HTTPException, _on_http_error)
    app.after_request(_finish)
    if settings.proxies:
        # Only the client's address: a proxy that does not set X-Forwarded-Host passes on what the
        # client sent.
        proxies = ProxyFix(app.wsgi_app, x_for=settings.proxies, x_proto=0, x_host=0)
        app.wsgi_app = proxies  # type: ignore[method-assign]  # how Flask wants middleware
    if settings.site:
        Site(settings.site, SECURITY_HEADERS, service.access).init_app(app)
    return app


api = flask.Blueprint("tsukurioki", __name__)


def _admit() -> None:
    refusal = current_service().access.refusal_wsgi(request.environ)
    if refusal:
        raise refusal
    try:
        # Werkzeug decodes it later, and does not turn the error into a response.
        request.query_string.decode()
    except UnicodeDecodeError:
        raise RequestError(400, "Bad query", "the query is not UTF-8") from None


@api.post("/api/generate-poem")
def generate_poem() -> Response:
    """An answer to a play of the game's client: whole card objects, or only their ids."""
    service = current_service()
    body = json_object()
    return _answer(service, service.served(service.settings.deck), GAME, body)


@api.post("/api/decks/<deck>/answer")
def answer(deck: str) -> Response:
    """An answer to a play of ids."""
    service = current_service()
    served = service.served(deck)
    return _answer(service, served, HAND, json_object())


def _answer(service: Service, served: ServedCards, form: PlayForm, body: object) -> Response:
    response = json_response(served.answer(*form.read(served.deck, body)).body)
    response.headers[BALLOT] = service.ballots.of_body(served.deck.id, response.data)
    return response


@api.get("/api/answers/<key>")
def answer_by_key(key: str) -> Response:
    """A stored answer. A better one may replace it, so that caches must revalidate its ETag."""
    variant = request.args.get("variant", "0")
    _check_key(key)
    # Few digits only: int() raises for thousands of them.
    number = int(variant) if re.fullmatch(r"[0-9]{1,6}", variant) else None
    service = current_service()
    found = stored_answer(service, bytes.fromhex(key), read_variant(number))
    if found is None:
        raise RequestError(
            404, "No such answer", f"no stored answer has the key {key}", "この答えは、ありません。"
        )
    service.counters.fetched(found.deck)
    return _cached(found.body)


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        raise RequestError(400, "Bad key", "a key is 32 hex digits in lower case")


@api.post("/api/answers/<key>/feedback")
def feedback(key: str) -> Response:
    """A player's vote on an answer of the game's deck, or of the one that the body names."""
    service = current_service()
    body = json_object()
    _check_key(key)
    vote = body.get("vote")
    if vote not in (UP, DOWN):
        raise RequestError(400, "Bad vote", "'vote' is up or down")
    deck = body.get("deck", service.settings.deck)
    if not isinstance(deck, str):
        raise bad_request("'deck' must be a text")
    variant = read_variant(body.get("variant", 0))
    visitor = body.get("visitor", "")
    if not isinstance(visitor, str) or len(visitor) > MAX_VISITOR:
        raise bad_request(f"'visitor' must be a text of at most {MAX_VISITOR} characters")
    voter = client_address(request.environ), visitor
    service.votes.vote(service.served(deck), key, variant, vote, body.get("ballot"), voter)
    return Response(status=204)


def _cached(body: bytes) -> Response:
    response = json_response(body, cache="no-cache")
    response.set_etag(xxhash.xxh3_64_hexdigest(body))
    response.make_conditional(request)
    return response


@api.get("/api/decks/<deck>")
def whole_deck(deck: str) -> Response:
    """The deck: cards, titles and the number of plays; or characters and intents."""
    service = current_service()
    return _cached((service.decks.get(deck) or service.served(deck)).body)


@api.get("/api/decks/<deck>/deal")
def dealt_hand(deck: str) -> Response:
    """A hand of whole card objects."""
    service = current_service()
    served = service.served(deck)
    mode = request.args.get("mode")
    if mode not in (None, "stocked", "random"):
        raise RequestError(400, "Bad mode", "'mode' is stocked or random")
    dealt, cards = served.deal(mode)
    return json_response(
        {"deck": deck, "mode": dealt, "cards": [card.raw for card in cards]}, cache="no-store"
    )


@api.get("/api/decks/<deck>/stock")
def stock(deck: str) -> Response:
    """Which cards lead to a stocked hand, together with the chosen ones (`card`, repeated)."""
    chosen = request.args.getlist("card")
    return json_response(current_service().served(deck).stock(chosen), cache="no-store")


@api.get("/stats")
def figures() -> Response:
    """Coverage and use, as JSON. Each share comes with its denominator."""
    service = current_service()
    whole = {
        "started": service.started,
        "now": service.now(),
        "tiers": list(service.settings.tiers),
        "refused_requests": service.counters.refusals(),
        **({"local_models": service.loaded.figures()} if service.loaded else {}),
        **({"line": service.line.figures()} if service.line else {}),
        "decks": {deck: served.figures() for deck, served in service.decks.items()},
    }
    return json_response(orjson.dumps(whole, option=orjson.OPT_INDENT_2), cache="no-store")


@api.get("/metrics")
def metrics() -> Response:
    """The counters for Prometheus."""
    return Response(
        current_service().counters.exposition(),
        content_type="text/plain; version=0.0.4; charset=utf-8",
    )


@api.get("/openapi.json")
def openapi() -> Response:
    """The description of all routes, as OpenAPI 3.1."""
    return _cached((Path(__file__).parent / "openapi.json").read_bytes())


@api.get("/healthz")
def health() -> Response:
    """Whether the server works, and which decks have an index."""
    service = current_service()
    decks = {deck: served.health() for deck, served in service.decks.items()}
    return json_response({"status": "ok", "decks": decks})


def _problem(status: int, title: str, detail: str, sentence: str | None = None) -> Response:
    language = language_for(request.headers.get("Accept-Language"), current_service().language)
    body = problem_body(status, title, detail, sentence_in(language, sentence or SENTENCE))
    response = Response(body, status, content_type=PROBLEM)
    response.headers["Content-Language"] = language
    response.headers.add("Vary", "Accept-Language")
    return response


def _on_request_error(error: RequestError) -> Response:
    if codec := codec_of_request():
        return error_response(codec, error)
    response = _problem(error.status, error.title, error.detail, error.sentence)
    for name, value in error.headers:
        response.headers[name] = value
    return response


def _on_upstream_error(error: UpstreamError) -> Response:
    return error_response(codec_of_request() or openai, error)


def _on_http_error(error: HTTPException) -> Response:
    status = error.code or 500
    title, detail = HTTPStatus(status).phrase, error.description or ""
    if codec := codec_of_request():
        if status == HTTPStatus.NOT_FOUND:
            detail = f"{request.path[:80]} is not served; docs/protocols.md says what is"
        response = error_response(codec, RequestError(status, title, detail))
    else:
        response = _problem(status, title, detail)
    for name, value in error.get_headers():
        if name.lower() in ("allow", "location", "retry-after"):
            response.headers[name] = value
    return response


def _finish(response: Response) -> Response:
    service = current_service()
    if response.status_code == HTTPStatus.PRECONDITION_FAILED and response.mimetype != PROBLEM:
        # Werkzeug sets this status for a failed condition but leaves the body.
        response = _problem(412, "Precondition Failed", "this is not what If-Match named")
    for name, value in SECURITY_HEADERS:
        response.headers.setdefault(name, value)
    if response.mimetype == "text/html" and not service.settings.site:
        response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    _allow_origin(service.settings, response)
    if 400 <= response.status_code < 500:
        service.counters.refused(response.status_code)
    # For servers other than ours, which do not flush once a second.
    service.counters.flush_due()
    return response


def _allow_origin(settings: Settings, response: Response) -> None:
    """Add the headers of CORS if the request's origin is one of the settings'."""
    if not settings.cors_origins:
        return
    response.headers.add("Vary", "Origin")
    origin = request.headers.get("Origin")
    if origin not in settings.cors_origins:
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = EXPOSED
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = _allowed_headers()
        response.headers["Access-Control-Max-Age"] = "600"


def _allowed_headers() -> str:
    """The request headers that a page may send; the clients of models send many of their own."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    if codec_of_request() and re.fullmatch(r"[A-Za-z0-9, -]{1,2000}", asked):
        return asked
    return "Content-Type, Authorization"
