"""The booth: the pages of the game, the wall and the dashboard, and the API of the wall.

The pages contain no figures and no flyers, so that anybody may open them. If TSUKURIOKI_TOKEN is
set, `/stats`, `/metrics`, the list of flyers and their removal need `Authorization: Bearer …`. A
browser cannot send that header when an address is opened: so the page asks for the token, not the
server.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import flask
import orjson
from flask import Response, request

from app.errors import RequestError
from app.kinds.cards.deck import Deck
from app.kinds.cards.pages import choice_of, common_words, page_of
from app.kinds.cards.plays import HUNG, Play
from app.kinds.cards.service import ServedCards
from app.kinds.cards.tiers import CardLadder
from app.ledger.wall import Flyer, Wall
from app.store.key import Query
from app.web import ollama
from app.web.sentences import SENTENCE
from app.web.service import Service, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.blueprints import BlueprintSetupState

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
GUARDED = frozenset({"/stats", "/metrics"})
WALL = "tsukurioki-wall"
CHOICE = "decks.html"

booth = flask.Blueprint("booth", __name__)


@booth.record
def _hang_on_app(state: BlueprintSetupState) -> None:
    service: Service = state.app.extensions["tsukurioki"]
    state.app.extensions[WALL] = Wall(service.state)


def _service() -> Service:
    service: Service = flask.current_app.extensions["tsukurioki"]
    return service


def _wall() -> Wall:
    wall: Wall = flask.current_app.extensions[WALL]
    return wall


def _served() -> ServedCards:
    """The deck that a page or a wall is about: `?deck=`, or the first of those that are shown."""
    return _service().shown_deck(request.args.get("deck"))


@booth.get("/")
def game() -> Response:
    """The game; of several decks, first the page that lets one choose.

    The chat if there is no deck of cards; for programs, what Ollama says here.
    """
    if text := ollama.root_text():
        return text
    if not _service().cards:
        response = Response(status=302, headers={"Location": "/chat"})
    elif len(_service().shown) > 1 and "deck" not in request.args:
        response = _page(CHOICE)
    else:
        response = _page("game.html", titles=_served().deck.titles)
    response.vary.add("Accept")
    return response


@booth.get("/wall")
def wall_page() -> Response:
    """The page with the latest flyers, for a second screen."""
    return _page("wall.html")


@booth.get("/dashboard")
def dashboard() -> Response:
    """The host's page, which shows `/stats`."""
    return _page("dashboard.html")


def _page(name: str, **values: Any) -> Response:
    service = _service()
    settings = service.settings
    deck = _served().deck
    decks = [service.served(one).deck for one in service.shown]
    page = page_of(deck)
    if len(decks) > 1:
        page["decks"] = [choice_of(one) for one in decks]
    if name == CHOICE:
        page["words"] = common_words(decks)
    text = flask.render_template(
        f"booth/{name}",
        deck=deck,
        page=page,
        words=page["words"][deck.language],
        idle=settings.idle,
        guarded=bool(settings.token),
        **values,
    )
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


def for_host(view: Callable[..., Response]) -> Callable[..., Response]:
    """A view that needs the token, if one is set."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Response:
        _service().access.demand_token(request.environ)
        return view(*args, **kwargs)

    return guarded


@booth.before_app_request
def _guard_figures() -> None:
    # A preflight request of a browser cannot have the token.
    if request.path in GUARDED and request.method != "OPTIONS":
        _service().access.demand_token(request.environ)


@booth.get("/api/wall")
@for_host
def flyers() -> Response:
    """The flyers on the wall, newest first, with their texts."""
    served = _served()
    ladder = served.ladder.quick()
    hung = _wall().flyers(served.deck.id)
    known = (flyer for flyer in hung if _still_legal(served.deck, flyer.query))
    shown = [body for flyer in known if (body := _shown(ladder, flyer))]
    response = Response(orjson.dumps({"flyers": shown}), content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _still_legal(deck: Deck, query: Query) -> bool:
    """Whether a flyer is still a play of the deck, which may have changed since."""
    try:
        return deck.legal_query(query.picks) == query
    except RequestError:
        return False


def _shown(ladder: CardLadder, flyer: Flyer) -> dict[str, Any] | None:
    answer = ladder.answer(Play(flyer.query, flyer.variant)) or ladder.answer(Play(flyer.query))
    if answer is None:
        return None
    body = orjson.loads(answer.body)
    return {
        "id": flyer.id,
        "hand": flyer.query.to_json()["hand"],
        "shown": flyer.shown,
        "title": body["title"],
        "poem": body["poem"],
        "tier": answer.tier,
    }


@booth.post("/api/wall")
def hang() -> Response:
    """Hang a finished play, given by its ids, on the wall of its deck."""
    body = parse_json(request.get_data(cache=False))
    query, variant = HUNG.read(_served().deck, body)
    _wall().hang(Flyer(query, variant, _service().now()))
    return Response(status=204)


@booth.delete("/api/wall")
@for_host
def clear() -> Response:
    """Take down all flyers of a deck."""
    _wall().clear(_served().deck.id)
    return Response(status=204)


@booth.delete("/api/wall/<key>")
@for_host
def take_down(key: str) -> Response:
    if not _wall().remove(key):
        raise RequestError(404, "No such flyer", "no flyer on the wall has this id", SENTENCE)
    return Response(status=204)
