"""The wall's file, and the routes that tend it, without a browser."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.kinds.cards.wall import MOST, Flyer, Wall
from app.ledger.state import State
from app.settings import Settings
from app.store.key import Query
from app.web.app import create_app


def flyer(number: int, variant: int = 0, deck: str = "poem") -> Flyer:
    """A flyer like no other."""
    return Flyer(Query.play(deck, [(f"card-{number}", "phrase")]), variant, "2026-01-01T00:00:00Z")


def test_newest_first_and_never_many(tmp_path: Path) -> None:
    """The newest hangs first, a play hangs once, and the wall never holds more than it can show."""
    wall = Wall(State(tmp_path, time.time))
    for number in range(MOST + 5):
        wall.hang(flyer(number))
    wall.hang(flyer(10, variant=3))
    hung = wall.flyers("poem")
    assert len(hung) == MOST
    assert hung[0] == flyer(10, variant=3)
    assert len({one.id for one in hung}) == MOST


def test_each_deck_has_its_wall(tmp_path: Path) -> None:
    """A deck that is played much, or whose wall is cleared, takes no flyer of another."""
    wall = Wall(State(tmp_path, time.time))
    wall.hang(flyer(1, deck="museum"))
    for number in range(MOST + 5):
        wall.hang(flyer(number))
    assert wall.flyers("museum") == [flyer(1, deck="museum")]
    wall.clear("poem")
    assert (len(wall.flyers("museum")), wall.flyers("poem")) == (1, [])


def test_shared_between_workers(tmp_path: Path) -> None:
    """What one worker hangs or takes down the others see, and none is lost when they hang at once."""
    walls = [Wall(State(tmp_path, time.time)) for _ in range(4)]
    threads = [threading.Thread(target=wall.hang, args=(flyer(i),)) for i, wall in enumerate(walls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.id for one in walls[0].flyers("poem")} == {flyer(i).id for i in range(4)}
    assert walls[1].remove(flyer(2).id)
    assert not walls[3].remove(flyer(2).id)
    walls[2].clear("poem")
    assert walls[0].flyers("poem") == []


def test_without_a_folder(tmp_path: Path) -> None:
    """Where nothing can be written a worker keeps a wall of its own."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for wall in (Wall(State(None, time.time)), Wall(State(blocked, time.time))):
        wall.hang(flyer(1))
        assert wall.flyers("poem") == [flyer(1)]


@pytest.fixture
def client(tmp_path: Path, poem_alone: Path) -> FlaskClient:
    """An application without a server around it."""
    environ = {"TSUKURIOKI_DATA": str(tmp_path), "TSUKURIOKI_DECKS": str(poem_alone)}
    return create_app(Settings.read(environ)).test_client()


def a_hand(client: FlaskClient) -> list[dict[str, str]]:
    """A legal play."""
    cards = client.get("/api/decks/poem/deal").get_json()["cards"]
    return [{"card": card["id"], "phrase": card["poems"][0]["id"]} for card in cards]


def test_hangs_by_ids_alone(client: FlaskClient) -> None:
    """A play is hung by its ids; its text is the ladder's, whatever else was sent along."""
    body = {"hand": a_hand(client), "title": "<b>mine</b>", "poem": "mine"}
    assert client.post("/api/wall", json=body).status_code == 204
    (shown,) = client.get("/api/wall").get_json()["flyers"]
    assert "mine" not in shown["title"] + shown["poem"]
    assert client.delete(f"/api/wall/{shown['id']}").status_code == 204
    assert client.delete(f"/api/wall/{shown['id']}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"hand": "x"},
        {"hand": []},
        {"hand": [1, 2, 3, 4, 5]},
        {"hand": [{"card": 1, "phrase": 2}] * 5},
        {"hand": [{"card": "no", "phrase": "no"}] * 5},
        {"hand": [], "variant": True},
        {"hand": [{}] * 99},
    ],
)
def test_refuses_what_is_no_play(client: FlaskClient, body: Any) -> None:
    """Anything but a legal play is refused with a problem document, and nothing is hung."""
    reply = client.post("/api/wall", json=body)
    assert reply.status_code == 400
    assert reply.mimetype == "application/problem+json"
    assert client.get("/api/wall").get_json() == {"flyers": []}


@pytest.mark.parametrize("path", ["/", "/wall", "/dashboard"])
def test_pages_carry_the_policy(client: FlaskClient, path: str) -> None:
    """Each page carries the strict policy and the security headers."""
    reply = client.get(path, headers={"Accept": "text/html"})
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert " style=" not in reply.text
    assert "<style" not in reply.text
