"""Plays as they are read: every form, every route, and the words of every fault."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson
import pytest
from flask.testing import FlaskClient

from app.errors import RequestError
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.plays import GAME, HAND, HUNG, PlayForm, recorded_query
from app.settings import Settings
from app.web.app import create_app
from tests.making import REPO

NO_LIST = "'hand' must be a list of cards with their phrases"
NO_PICK = "each item of 'hand' must name a card and a phrase"
FEW = "a hand of deck 'poem' has 5 cards, not 0"
VARIANT = "'variant' is a whole number from 0 to 999"
ROUTES = {GAME: "/api/generate-poem", HAND: "/api/decks/poem/answer", HUNG: "/api/wall"}
# Each fault with what the three routes say of it. C and P stand for the names of a pick's members,
# L for that of the list.
FAULTS: dict[str, tuple[Any, str, str, str]] = {
    "no object": ([1], "expected a JSON object", "expected a JSON object", NO_LIST),
    "no list": ({}, "'selectedPairs' must be a list", "'hand' must be a list", NO_LIST),
    "an object": ({"L": {}}, "'selectedPairs' must be a list", "'hand' must be a list", NO_LIST),
    "too many": ({"L": [1] * 33}, "'selectedPairs' has 33 items", "'hand' has 33 items", NO_LIST),
    "numbers": ({"L": [1] * 5}, "expected a JSON object", "expected a JSON object", NO_PICK),
    "no card": (
        {"L": [{}] * 5},
        "selectedPairs: 'conditionCard' must be an object with an id, or an id",
        "hand: 'card' must be a text",
        NO_PICK,
    ),
    "no phrase": (
        {"L": [{"C": "x", "P": 1}] * 5},
        "selectedPairs: 'selectedPoem' must be an object with an id, or an id",
        "hand: 'phrase' must be a text",
        NO_PICK,
    ),
    "an id of a number": (
        {"L": [{"C": {"id": 1}, "P": "x"}] * 5},
        "selectedPairs conditionCard: 'id' must be a text",
        "hand: 'card' must be a text",
        NO_PICK,
    ),
    "a variant": ({"L": [], "variant": True}, VARIANT, VARIANT, VARIANT),
    "a pick before a variant": (
        {"L": [1], "variant": -1},
        "expected a JSON object",
        "expected a JSON object",
        NO_PICK,
    ),
    "a hand": ({"L": []}, FEW, FEW, FEW),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder = tmp_path_factory.mktemp("plays")
    decks = REPO / "data" / "decks"
    found = {"TSUKURIOKI_DATA": str(folder), "TSUKURIOKI_DECKS": str(decks)}
    return create_app(Settings.read(found)).test_client()


def spelt(form: PlayForm, body: Any) -> Any:
    """A body with a form's names."""
    names = {"L": form.member, "C": form.card, "P": form.phrase}
    if isinstance(body, dict):
        return {names.get(name, name): spelt(form, value) for name, value in body.items()}
    return [spelt(form, item) for item in body] if isinstance(body, list) else body


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("number", range(3), ids=["game", "hand", "hung"])
def test_a_fault_is_told_in_the_words_of_its_route(
    client: FlaskClient, number: int, fault: str
) -> None:
    """What is wrong with a play is told by each route in its own words, and asked for in Japanese."""
    form, path = list(ROUTES.items())[number]
    body, *words = FAULTS[fault]
    response = client.post(path, data=orjson.dumps(spelt(form, body)))
    told = response.get_json()
    assert (response.status_code, told["detail"]) == (400, words[number])
    titles = {
        "a hand": "Wrong number of cards",
        "a variant": "Bad request" if form is HUNG else "Bad variant",
    }
    assert told["title"] == titles.get(fault, "Bad request")
    assert told["error"]


@pytest.mark.parametrize("form", [GAME, HAND, HUNG], ids=["game", "hand", "hung"])
def test_a_play_is_read_in_any_order_with_its_variant(form: PlayForm, poem: Deck) -> None:
    """Whatever the order of the picks, a body is the same play; without a variant it is the first."""
    query = random_play(poem, Random(1))
    picks = [{"C": card, "P": phrase} for card, phrase in reversed(query.picks)]
    assert form.read(poem, spelt(form, {"L": picks})) == (query, 0)
    assert form.read(poem, spelt(form, {"L": picks, "variant": 7})) == (query, 7)


def test_the_game_may_send_objects_or_ids(poem: Deck) -> None:
    """A pair's card and phrase are objects with an id or bare ids, mixed as they come."""
    query = random_play(poem, Random(2))
    for number in range(4):
        pairs = [
            {
                "conditionCard": {"id": card, "category": "?"} if number & 1 else card,
                "selectedPoem": {"id": phrase} if number & 2 else phrase,
            }
            for card, phrase in query.picks
        ]
        assert GAME.read(poem, {"selectedPairs": pairs}).query == query
        assert recorded_query(poem, {"selectedPairs": pairs, "variant": "?"}) == query


@pytest.mark.parametrize("form", [HAND, HUNG], ids=["hand", "hung"])
def test_only_the_game_sends_objects(form: PlayForm, poem: Deck) -> None:
    """A hand of ids holds ids; an object with an id is refused."""
    picks = [{"card": {"id": c}, "phrase": p} for c, p in random_play(poem, Random(3)).picks]
    with pytest.raises(RequestError):
        form.read(poem, {"hand": picks})


def test_what_is_recorded_and_no_play_is_passed_over(poem: Deck) -> None:
    """A recorded line that is no play of the deck is none, whatever its shape."""
    for line in ({}, {"hand": 1}, {"selectedPairs": [1]}, {"hand": [], "selectedPairs": "x"}):
        assert recorded_query(poem, line) is None
