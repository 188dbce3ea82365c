"""The booth: the pages of the game, the wall and the dashboard, and the API of the wall.

The pages contain no figures and no flyers, so that anybody may open them. If TSUKURIOKI_TOKEN is
set, `/stats`, `/metrics`, the list of flyers and their removal need `Authorization: Bearer …`. A
browser cannot send that header when an address is opened: so the page asks for the token, not the
server.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import flask
import orjson
from flask import Response, request

from app.errors import RequestError
from app.kinds.cards.deck import Deck
from app.kinds.cards.pages import bare_page, choice_of, common_words, page_of
from app.kinds.cards.plays import HUNG, Play
from app.kinds.cards.service import ServedCards
from app.kinds.cards.tiers import CardLadder
from app.kinds.cards.wall import Flyer, Wall
from app.kinds.chat.deck import CharacterDeck
from app.store.key import Query
from app.web import ollama
from app.web.bodies import json_body, json_response
from app.web.chat import choice_of as chat_choice
from app.web.service import Service, current_service

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


def _wall() -> Wall:
    wall: Wall = flask.current_app.extensions[WALL]
    return wall


def _served() -> ServedCards:
    """The deck that a page or a wall is about: `?deck=`, or the first of those that are shown."""
    return current_service().shown_deck(request.args.get("deck"))


@booth.get("/")
def game() -> Response:
    """The game; of several decks, first the page that lets one choose.

    The chat if that is the deck, or if there is no deck of cards; for programs, what Ollama says here.
    """
    if text := ollama.root_text():
        return text
    service = current_service()
    deck = request.args.get("deck", service.shown[0])
    if service.has_choice and "deck" not in request.args:
        response = _choice()
    elif not service.cards or deck in service.chats:
        asked = {**request.args, **({"deck": deck} if deck in service.chats else {})}
        address = f"/chat?{urlencode(asked)}" if asked else "/chat"
        response = Response(status=302, headers={"Location": address})
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


def _choice() -> Response:
    """The page on which visitors choose a deck, dressed as the first of them."""
    first = current_service().shown_decks[0]
    page = _page_of(first if isinstance(first, Deck) else None, first.language)
    languages = [language for one in page["decks"] for language, _ in one["languages"]]
    return _rendered(CHOICE, page | {"words": common_words(languages)})


def _page(name: str, **values: Any) -> Response:
    deck = _served().deck
    return _rendered(name, _page_of(deck, deck.language), deck=deck, **values)


def _page_of(deck: Deck | None, language: str) -> dict[str, Any]:
    """The data for a page: about its deck, if it has one, and about those that visitors choose from."""
    service = current_service()
    page = bare_page(language) if deck is None else page_of(deck)
    if service.has_choice:
        page["decks"] = [_choice_of(one) for one in service.shown_decks]
    return page


def _choice_of(deck: Deck | CharacterDeck) -> dict[str, Any]:
    return choice_of(deck) if isinstance(deck, Deck) else chat_choice(deck)


def _rendered(name: str, page: dict[str, Any], **values: Any) -> Response:
    settings = current_service().settings
    text = flask.render_template(
        f"booth/{name}",
        page=page,
        words=page["words"][page["language"]],
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
        current_service().access.demand_token(request.environ)
        return view(*args, **kwargs)

    return guarded


@booth.before_app_request
def _guard_figures() -> None:
    # A preflight request of a browser cannot have the token.
    if request.path in GUARDED and request.method != "OPTIONS":
        current_service().access.demand_token(request.environ)


@booth.get("/api/wall")
@for_host
def flyers() -> Response:
    """The flyers on the wall, newest first, with their texts."""
    served = _served()
    ladder = served.ladder.quick()
    hung = _wall().flyers(served.deck.id)
    known = (flyer for flyer in hung if _still_legal(served.deck, flyer.query))
    shown = [body for flyer in known if (body := _shown(ladder, flyer))]
    return json_response({"flyers": shown}, cache="no-store")


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
    query, variant = HUNG.read(_served().deck, json_body())
    _wall().hang(Flyer(query, variant, current_service().now()))
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
        raise RequestError(404, "No such flyer", "no flyer on the wall has this id")
    return Response(status=204)
