"""What devices collected without a server is counted once, and within the limits of other votes."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.store.key import Query
from tests.making import DECKS, Precompute, Server, serving, wait_for

pytestmark = pytest.mark.xdist_group("collect")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of its own, with a small stock: others vote from the same address."""
    folder = tmp_path_factory.mktemp("collect")
    known = {"TSUKURIOKI_DATA": folder / "data", "TSUKURIOKI_DECKS": DECKS}
    Precompute(known)("build", "--n", 54)
    with serving(known, folder / "server.log") as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as made:
        yield made


def figures(client: httpx.Client) -> tuple[int, int]:
    """Misses and votes that the server has counted."""
    deck = client.get("/stats").json()["decks"]["poem"]
    return deck["misses"]["total"], deck["feedback"]["of"]


def item_of(query: Query, **more: object) -> dict[str, Any]:
    return {"id": secrets.token_hex(16), "hand": query.to_json()["hand"], **more}


def sent(client: httpx.Client, items: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    """Send items; what the server says."""
    response = client.post("/api/collect", json={"deck": "poem", "items": items, **more})
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def stocked(client: httpx.Client, deck: Deck) -> tuple[Query, dict[str, Any]]:
    """A play with a stored answer, and that answer."""
    cards = client.get("/api/decks/poem/deal", params={"mode": "stocked"}).json()["cards"]
    query = deck.query([deck.card_by_id[card["id"]].phrases[0] for card in cards])
    answer = client.post("/api/decks/poem/answer", json={"hand": query.to_json()["hand"]}).json()
    assert answer["tier"] in ("exact", "same_hand")
    return query, answer


def test_a_miss_is_counted_once(client: httpx.Client, poem: Deck) -> None:
    """Sent three times, also beside others, an item counts once; what is stored by now counts not."""
    rng = random.Random(1)
    misses, votes = figures(client)
    items = [item_of(random_play(poem, rng), variant=n) for n in range(3)]
    ids = [item["id"] for item in items]
    assert sent(client, items[:2]) == {"done": ids[:2], "wait": 0}
    assert sent(client, items) == {"done": ids, "wait": 0}
    query, _ = stocked(client, poem)
    assert sent(client, [*items, item_of(query)])["wait"] == 0
    assert figures(client) == (misses + 3, votes)


def test_a_vote_is_for_the_text_that_was_read(client: httpx.Client, poem: Deck) -> None:
    """The server gives the same text to that play, or the vote is not counted; each visitor once."""
    misses, votes = figures(client)
    query, answer = stocked(client, poem)
    right = {"vote": "up", "key": answer["key"], "created": answer["created"], "visitor": "a"}
    counted = item_of(query, **right)
    others = [
        item_of(query, **right | {"key": "0" * 32}),
        item_of(query, **right | {"created": "2020-01-01T00:00:00Z"}),
        item_of(query, **{name: value for name, value in right.items() if name != "key"}),
        item_of(query, **right),
    ]
    told = sent(client, [counted, *others])
    assert told == {"done": [item["id"] for item in (counted, *others)], "wait": 0}
    assert sent(client, [counted])["done"] == [counted["id"]]
    assert figures(client) == (misses, votes + 1)


def test_many_votes_are_taken_little_by_little(client: httpx.Client, poem: Deck) -> None:
    """The limit for votes holds: what is beyond it is to be sent later, misses are taken at once."""
    rng = random.Random(2)
    query, answer = stocked(client, poem)
    right = {"vote": "down", "key": answer["key"], "created": answer["created"]}
    _, votes = figures(client)
    items = [item_of(query, **right, visitor=f"v{n}") for n in range(30)]
    told = sent(client, [*items, miss := item_of(random_play(poem, rng))])
    done = [item for item in items if item["id"] in told["done"]]
    assert miss["id"] in told["done"]
    assert 0 < told["wait"] <= 60
    assert 0 < len(done) <= 10
    assert figures(client)[1] == votes + len(done)
    left = [item for item in items if item not in done]

    def taken() -> bool:
        return bool(sent(client, left)["done"])

    wait_for(taken, "the limit to let another vote through")
    assert figures(client)[1] > votes + len(done)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b'{"items":[]}', 400),
        (b'{"deck":7,"items":[]}', 400),
        (b'{"deck":"nowhere","items":[]}', 404),
        (b'{"deck":"chat","items":[]}', 404),
        (b'{"deck":"poem"}', 400),
        (b'{"deck":"poem","items":{}}', 400),
        (b'{"deck":"poem","items":[7]}', 400),
        (b'{"deck":"poem","items":[{}]}', 400),
        (b'{"deck":"poem","items":[{"id":"short"}]}', 400),
        (b'{"deck":"poem","items":[' + b",".join([b'{"id":"%b"}' % (b"a" * 32)] * 51) + b"]}", 400),
        (b'{"deck":"poem","items":["' + b"a" * 70_000 + b'"]}', 413),
    ],
)
def test_what_cannot_be_read_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    """A problem document says what is wrong, and nothing is counted."""
    before = figures(client)
    response = client.post("/api/collect", content=body)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert figures(client) == before


def test_plays_that_the_deck_no_longer_has_are_done_with(client: httpx.Client) -> None:
    """A device with an edition of an older deck does not send its items for ever."""
    before = figures(client)
    strange = {"hand": [{"card": "gone", "phrase": "gone"}]}
    items = [
        {"id": secrets.token_hex(16), **more}
        for more in (
            strange,
            {},
            {"hand": 7},
            {"hand": [], "variant": -1},
            {**strange, "vote": "up"},
        )
    ]
    assert sent(client, items) == {"done": [item["id"] for item in items], "wait": 0}
    assert figures(client) == before


def test_pages_of_other_origins_do_not_collect(client: httpx.Client) -> None:
    """As for votes: a page of another origin is refused unless the operator named it."""
    headers = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    body = {"deck": "poem", "items": []}
    assert client.post("/api/collect", json=body, headers=headers).status_code == 403


@pytest.mark.long
def test_nothing_is_forgotten_by_a_restart(tmp_path: Path, poem: Deck) -> None:
    """An item that was counted before the server was started anew is not counted again."""
    known = {"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_DECKS": DECKS}
    items = [item_of(random_play(poem, random.Random(3)))]
    for _ in range(2):
        with serving(known, tmp_path / "server.log") as started, started.client() as client:
            assert sent(client, items)["done"] == [items[0]["id"]]
            assert figures(client)[0] == 1
