"""The server over HTTP: every route, every kind of bad input, headers on every answer."""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.store.index import Index
from app.store.key import Query
from tests.conftest import Serve
from tests.making import DECKS, Precompute, Server, game_body, wait_for

# One server for all of it, however the tests are spread.
pytestmark = pytest.mark.xdist_group("http")
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


@pytest.fixture
def query(poem: Deck) -> Query:
    return random_play(poem, random.Random(4))


def ids_of(query: Query, **more: object) -> dict[str, Any]:
    """A play in the form of the deck's own route."""
    return {"hand": [{"card": card, "phrase": phrase} for card, phrase in query.picks], **more}


def stored(server: Server) -> list[str]:
    """The keys that are in the store."""
    index = Index(server.data / "store", "poem")
    keys = [key for key, _ in list(index.keys())]
    index.close()
    return keys


def secure(response: httpx.Response) -> None:
    for name, value in SECURITY.items():
        assert response.headers.get_list(name) == [value], (name, response.headers)


def problem(response: httpx.Response, status: int, title: str | None = None) -> dict[str, Any]:
    """A complete problem document of RFC 9457, with the sentence for the player."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    secure(response)
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "title", "status", "detail", "error"}
    assert body["status"] == status
    assert body["type"].startswith("tag:")
    assert all(isinstance(body[name], str) and body[name] for name in ("title", "detail", "error"))
    assert len(body["detail"]) < 400
    if title:
        assert body["title"] == title
    return body


# What is asked for


def test_the_games_own_call_is_answered(client: httpx.Client, poem: Deck, query: Query) -> None:
    """Whole card objects, as the game's client posts them, get title and poem within the gate."""
    response = client.post("/api/generate-poem", json=game_body(poem, query))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    secure(response)
    body = response.json()
    assert body["tier"] == "composed"
    assert (body["key"], body["deck"], body["variant"]) == (query.key, "poem", 0)
    assert Gate.of(poem).examine(query, {"title": body["title"], "poem": body["poem"]}) is None


def test_the_games_call_takes_ids_alone_too(client: httpx.Client, poem: Deck, query: Query) -> None:
    """Objects with nothing but ids, and bare ids, get the same answer as whole objects."""
    whole = client.post("/api/generate-poem", json=game_body(poem, query)).content
    slim = [{"conditionCard": {"id": c}, "selectedPoem": {"id": p}} for c, p in query.picks]
    bare = [{"conditionCard": c, "selectedPoem": p} for c, p in reversed(query.picks)]
    for pairs in (slim, bare):
        assert client.post("/api/generate-poem", json={"selectedPairs": pairs}).content == whole
    assert client.post("/api/decks/poem/answer", json=ids_of(query)).content == whole


def test_variants_are_given(client: httpx.Client, query: Query) -> None:
    """A variant is another poem for the same play, the same each time it is asked for."""
    poems = [
        client.post("/api/decks/poem/answer", json=ids_of(query, variant=n)).json()["poem"]
        for n in (0, 1, 999, 1)
    ]
    assert len(set(poems)) == 3
    assert poems[1] == poems[3]


def test_stocked_hands_are_dealt_and_answered_whole(
    server: Server, client: httpx.Client, poem: Deck
) -> None:
    """Every hand dealt from stock is whole cards, comes once a round, and is answered whole."""
    rng = random.Random(1)
    hands = []
    # From the beginning of a round: other tests are dealt hands by this server too.
    deals = client.get("/stats").json()["decks"]["poem"]["deals"]
    for _ in range(-deals["dealt"] % deals["stocked"]):
        client.get("/api/decks/poem/deal")
    for _ in range(10):
        response = client.get("/api/decks/poem/deal")
        secure(response)
        assert response.headers["cache-control"] == "no-store"
        dealt = response.json()
        assert (dealt["mode"], dealt["deck"]) == ("stocked", "poem")
        assert dealt["cards"] == [dict(poem.card_by_id[c["id"]].raw) for c in dealt["cards"]]
        hands.append(frozenset(c["id"] for c in dealt["cards"]))
        query = Query.play(
            "poem", [(c["id"], rng.choice(c["poems"])["id"]) for c in dealt["cards"]]
        )
        answer = client.post("/api/generate-poem", json=game_body(poem, query)).json()
        assert answer["tier"] in ("exact", "same_hand")
        if answer["tier"] == "same_hand":
            assert answer["shared"] == 4
            assert answer["key"] in stored(server)
        else:
            assert answer["key"] == query.key
    assert len(set(hands)) == 10


def test_a_visitor_who_picks_cards_is_led_to_a_stocked_hand(
    client: httpx.Client, poem: Deck
) -> None:
    """Whoever takes a card that leads on comes to a hand in stock, and is answered whole."""
    rng = random.Random(2)
    path, chosen = "/api/decks/poem/stock", list[str]()
    everything = client.get(path)
    secure(everything)
    assert (
        everything.json()["hands"]
        == client.get("/stats").json()["decks"]["poem"]["deals"]["stocked"]
    )
    assert len(everything.content) < 2000
    while len(chosen) < poem.hand_size:
        taken = {poem.card_by_id[card].category for card in chosen}
        found = client.get(path, params={"card": chosen}).json()
        assert found["otherwise"] == "composed"
        chosen.append(
            rng.choice([c for c in found["cards"] if poem.card_by_id[c].category not in taken])
        )
    assert client.get(path, params={"card": chosen}).json()["hands"] == 1
    hand = [{"card": card, "phrase": poem.card_by_id[card].phrases[0].id} for card in chosen]
    answer = client.post("/api/decks/poem/answer", json={"hand": hand}).json()
    assert answer["tier"] in ("exact", "same_hand")


def test_cards_that_make_no_hand_lead_nowhere(client: httpx.Client, poem: Deck) -> None:
    """Unknown cards, two of a category and too many are refused by name."""
    one, two = next(iter(poem.cards_by_category.values()))[:2]
    path = "/api/decks/poem/stock"
    problem(client.get(path, params={"card": "no"}), 400, "Unknown card")
    problem(client.get(path, params={"card": [one.id, two.id]}), 400, "Repeated category")
    problem(client.get(path, params={"card": [one.id] * 2}), 400, "Repeated category")
    problem(client.get(path, params={"card": [one.id] * 6}), 400, "Wrong number of cards")
    problem(client.get("/api/decks/none/stock"), 404, "Unknown deck")
    problem(client.get("/wall", params={"deck": "none"}), 404, "Deck not shown")


def test_random_hands_are_dealt_when_asked(client: httpx.Client, poem: Deck) -> None:
    """`mode=random` deals five cards of distinct categories, not the stock."""
    hands = {
        frozenset(
            card["id"] for card in client.get("/api/decks/poem/deal?mode=random").json()["cards"]
        )
        for _ in range(8)
    }
    assert len(hands) == 8
    for hand in hands:
        assert len({poem.card_by_id[card].category for card in hand}) == 5


def test_a_stored_answer_is_given_by_its_key(server: Server, client: httpx.Client) -> None:
    """An answer has an address, an ETag, and is not sent again to who has it."""
    key = stored(server)[0]
    response = client.get(f"/api/answers/{key}")
    assert response.status_code == 200
    assert response.json()["key"] == key
    secure(response)
    tag = response.headers["etag"]
    again = client.get(f"/api/answers/{key}", headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    secure(again)
    assert client.get(f"/api/answers/{key}", headers={"If-None-Match": '"x"'}).status_code == 200
    head = client.head(f"/api/answers/{key}")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)
    assert head.headers["content-length"] == str(len(response.content))


def test_an_exact_hit_is_the_stored_answer(server: Server, client: httpx.Client) -> None:
    """The body of an exact hit is byte for byte what is given under its key."""
    key = stored(server)[3]
    index_answer = client.get(f"/api/answers/{key}")
    lines = (server.data / "store" / "poem.jsonl").read_bytes().splitlines()
    hand = next(line["query"] for line in map(orjson.loads, lines) if line["key"] == key)
    asked = client.post("/api/decks/poem/answer", json={"hand": hand["hand"]})
    assert asked.content == index_answer.content
    assert asked.json()["tier"] == "exact"


def test_the_deck_is_given_whole(client: httpx.Client, poem: Deck) -> None:
    """A front end can have the deck from here: cards as they stand in cards.json, with an ETag."""
    response = client.get("/api/decks/poem")
    body = response.json()
    assert body["cards"] == orjson.loads((DECKS / "poem" / "cards.json").read_bytes())
    assert body["titles"] == list(poem.titles)
    assert (body["hands"], body["plays"]) == (poem.count_hands(), poem.count_plays())
    tag = response.headers["etag"]
    assert client.get("/api/decks/poem", headers={"If-None-Match": tag}).status_code == 304


def test_a_failed_condition_is_a_412(server: Server, client: httpx.Client) -> None:
    """A condition that does not hold is refused with a problem document, not with the body."""
    for path in ("/api/decks/poem", f"/api/answers/{stored(server)[0]}"):
        problem(client.get(path, headers={"If-Match": '"x"'}), 412)


def test_the_page_is_given_with_a_policy(client: httpx.Client) -> None:
    """The page has a content security policy, and everything it loads comes from here."""
    response = client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert policy.startswith(("default-src 'none'", "default-src 'self'"))
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    secure(response)
    paths = re.findall(r'(?:src|href)="(/static/[^"?]+)', response.text)
    assert len(paths) >= 2
    for path in paths:
        file = client.get(path)
        assert file.status_code == 200
        secure(file)
    assert "http://" not in response.text
    assert "https://" not in response.text


def test_health(client: httpx.Client) -> None:
    """Liveness says which deck has its index."""
    response = client.get("/healthz")
    told = response.json()
    assert told["status"] == "ok"
    assert told["decks"]["poem"] == {"index": True, "composable": True}
    secure(response)


@pytest.mark.parametrize(
    "path", ["/", "/stats", "/healthz", "/metrics", "/api/decks/poem", "/api/decks/poem/deal"]
)
def test_head_is_get_without_a_body(client: httpx.Client, path: str) -> None:
    """HEAD gives the headers of GET and no body."""
    response = client.head(path)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-type"] == client.get(path).headers["content-type"]
    secure(response)


@pytest.fixture
def counting(precompute: Precompute, serve: Serve) -> Server:
    """A server of two workers that has counted nothing yet.

    Workers add what they counted once a second, so that no test can tell where another's counts end.
    """
    precompute("build", "--n", 270)
    return serve(TSUKURIOKI_WORKERS=2)


def test_metrics_are_prometheus(counting: Server, query: Query) -> None:
    """/metrics is read by Prometheus's own parser, and its counts are those of /stats."""
    with counting.client() as client:
        client.post("/api/decks/poem/answer", json=ids_of(query))
        wait_for(lambda: answers(client)["total"] == 1, "the sums of all workers")
        text = client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = sum(
        sample.value
        for sample in families["tsukurioki_answer_seconds"].samples
        if sample.name.endswith("_count") and sample.labels["deck"] == "poem"
    )
    assert counted == 1


def answers(client: httpx.Client) -> dict[str, Any]:
    """What /stats tells of the poem deck's answers."""
    found: dict[str, Any] = client.get("/stats").json()["decks"]["poem"]["answers"]
    return found


def test_stats_count_over_all_workers(counting: Server, poem: Deck) -> None:
    """However many connections ask at once, /stats counts each answer once, by tier."""
    rng = random.Random(77)
    for _ in range(12):
        # A connection of its own each time, so that both workers get some.
        with counting.client() as another:
            for _ in range(5):
                query = random_play(poem, rng)
                assert another.post("/api/decks/poem/answer", json=ids_of(query)).status_code == 200
    with counting.client() as client:
        wait_for(lambda: answers(client)["total"] == 60, "the sums of all workers")
        after = answers(client)
    assert after["total"] == sum(tier["answers"] for tier in after["by_tier"].values())
    assert sum(tier["share"] for tier in after["by_tier"].values()) == pytest.approx(1)
    whole = sum(after["by_tier"].get(t, {"answers": 0})["answers"] for t in ("exact", "same_hand"))
    assert after["hit_rate"] == pytest.approx(whole / after["total"])


def test_stats_agree_with_the_command(server: Server, client: httpx.Client) -> None:
    """/stats and `precompute stats` tell the same of space, store, coverage and misses."""
    told = client.get("/stats").json()["decks"]["poem"]
    command = Precompute({"TSUKURIOKI_DATA": server.data, "TSUKURIOKI_DECKS": DECKS})
    said = orjson.loads(command("stats", "--json").stdout)
    for part in ("space", "coverage"):
        assert told[part] == said[part]
    for name, value in said["store"].items():
        assert told["store"][name] == value
    for name in ("total", "distinct"):
        assert told["misses"][name] == said["misses"][name]


def test_a_vote_is_taken(server: Server, client: httpx.Client, query: Query) -> None:
    """A player's vote on an answer is counted; a vote that means nothing is a 400."""
    key = query.key
    before = client.get("/stats").json()["decks"]["poem"]["feedback"]["up"]
    answer = client.post("/api/decks/poem/answer", json=ids_of(query))
    ballot = answer.headers["x-tsukurioki-ballot"]
    response = client.post(
        f"/api/answers/{key}/feedback", json={"vote": "up", "ballot": ballot, "visitor": "a"}
    )
    assert (response.status_code, response.content) == (204, b"")
    secure(response)
    assert client.get("/stats").json()["decks"]["poem"]["feedback"]["up"] == before + 1
    path = f"/api/answers/{key}/feedback"
    for body in (
        {"vote": "sideways"},
        {},
        {"vote": ["up"]},
        {"vote": "up", "variant": -1},
        {"vote": "up", "deck": 7},
        {"vote": "up", "ballot": ballot, "visitor": 7},
        {"vote": "up", "ballot": ballot, "visitor": "v" * 65},
    ):
        problem(client.post(path, json=body), 400)
    problem(client.post(path, json={"vote": "up", "deck": "nowhere"}), 404)
    problem(client.post("/api/answers/xyz/feedback", json={"vote": "up"}), 400, "Bad key")


def test_a_build_is_seen_by_a_running_server(server: Server, client: httpx.Client) -> None:
    """After a build a running server answers with the new entries, by all of its workers."""
    entries = client.get("/stats").json()["decks"]["poem"]["store"]["entries"]
    command = Precompute({"TSUKURIOKI_DATA": server.data, "TSUKURIOKI_DECKS": DECKS})
    command("build", "--n", entries + 27)
    for _ in range(6):
        with server.client() as another:
            told = another.get("/stats").json()["decks"]["poem"]["store"]
            assert (told["entries"], told["problem"]) == (entries + 27, None)
    key = orjson.loads((server.data / "store" / "poem.jsonl").read_bytes().splitlines()[-1])["key"]
    assert client.get(f"/api/answers/{key}").status_code == 200


# What is wrong with a request


def bad_bodies(poem: Deck, query: Query) -> dict[str, tuple[Any, str]]:
    """Bodies of the game's call, each with the title of its problem."""
    whole = game_body(poem, query)
    pairs = whole["selectedPairs"]

    def changed(*new: object) -> dict[str, object]:
        return {"selectedPairs": [*new, *pairs[len(new) :]]}

    other = next(
        c
        for c in poem.cards
        if c.category == pairs[0]["conditionCard"]["category"]
        and c.id != pairs[0]["conditionCard"]["id"]
    )
    twin = {"conditionCard": dict(other.raw), "selectedPoem": other.raw["poems"][0]}
    first = pairs[0]
    return {
        "a list": ([], "Bad request"),
        "a number": (5, "Bad request"),
        "null": (None, "Bad request"),
        "a text": ("selectedPairs", "Bad request"),
        "nothing": ({}, "Bad request"),
        "null pairs": ({"selectedPairs": None}, "Bad request"),
        "an object of pairs": ({"selectedPairs": {}}, "Bad request"),
        "no pairs": ({"selectedPairs": []}, "Wrong number of cards"),
        "four cards": ({"selectedPairs": pairs[:4]}, "Wrong number of cards"),
        "six cards": ({"selectedPairs": [*pairs, pairs[0]]}, "Wrong number of cards"),
        "a thousand cards": ({"selectedPairs": [{}] * 1000}, "Bad request"),
        "a pair of nothing": (changed({}), "Bad request"),
        "a pair of null": (changed(None), "Bad request"),
        "a pair of lists": (changed([[], []]), "Bad request"),
        "no card": (changed({"selectedPoem": first["selectedPoem"]}), "Bad request"),
        "no phrase": (changed({"conditionCard": first["conditionCard"]}), "Bad request"),
        "a card without id": (changed({**first, "conditionCard": {}}), "Bad request"),
        "a card of a number": (changed({**first, "conditionCard": 1}), "Bad request"),
        "an id of a number": (changed({**first, "conditionCard": {"id": 1}}), "Bad request"),
        "an id of null": (changed({**first, "selectedPoem": {"id": None}}), "Bad request"),
        "an id of a list": (changed({**first, "selectedPoem": {"id": ["x"]}}), "Bad request"),
        "an unknown card": (changed({**first, "conditionCard": {"id": "condition-999"}}), "Unknown card"),
        "an empty card": (changed({**first, "conditionCard": {"id": ""}}), "Unknown card"),
        "a long card": (changed({**first, "conditionCard": {"id": "長" * 9000}}), "Unknown card"),
        "a null byte": (changed({**first, "conditionCard": {"id": "\0"}}), "Unknown card"),
        "an unknown phrase": (changed({**first, "selectedPoem": {"id": "poem-999-a"}}), "Unknown phrase"),
        "another's phrase": (changed({**first, "selectedPoem": pairs[1]["selectedPoem"]}), "Unknown phrase"),
        "the same card twice": (changed(first, first), "Repeated category"),
        "a category twice": (changed(first, twin), "Repeated category"),
        "variant null": ({**whole, "variant": None}, "Bad variant"),
        "variant text": ({**whole, "variant": "0"}, "Bad variant"),
        "variant true": ({**whole, "variant": True}, "Bad variant"),
        "variant half": ({**whole, "variant": 0.5}, "Bad variant"),
        "variant minus": ({**whole, "variant": -1}, "Bad variant"),
        "variant 1000": ({**whole, "variant": 1000}, "Bad variant"),
        "variant huge": ({**whole, "variant": 2**63}, "Bad variant"),
        "variant list": ({**whole, "variant": [0]}, "Bad variant"),
    }  # fmt: skip


def test_every_bad_body_of_the_games_call_is_a_400(
    client: httpx.Client, poem: Deck, query: Query
) -> None:
    """Each kind of bad body gets a complete problem document that names its kind."""
    for kind, (body, title) in bad_bodies(poem, query).items():
        response = client.post("/api/generate-poem", content=orjson.dumps(body))
        assert response.status_code == 400, (kind, response.text)
        problem(response, 400, title)


@pytest.mark.parametrize(
    ("hand", "title"),
    [
        (None, "Bad request"),
        ([], "Wrong number of cards"),
        ([1, 2, 3, 4, 5], "Bad request"),
        ([{}] * 5, "Bad request"),
        ([{"card": "x"}] * 5, "Bad request"),
        ([{"card": "x", "phrase": 5}] * 5, "Bad request"),
        ([{"card": "x", "phrase": "y"}] * 5, "Unknown card"),
        ([{"card": {"id": "x"}, "phrase": "y"}] * 5, "Bad request"),
    ],
)
def test_every_bad_hand_is_a_400(client: httpx.Client, hand: object, title: str) -> None:
    """The deck's own route refuses bad hands as the game's call does."""
    problem(client.post("/api/decks/poem/answer", json={"hand": hand}), 400, title)


BROKEN = {
    "empty": b"",
    "not JSON": b"not JSON",
    "cut": b'{"selectedPairs": [',
    "two values": b"{} {}",
    "single quotes": b"{'selectedPairs': []}",
    "not UTF-8": b'{"selectedPairs": "\xff\xfe"}',
    "a null byte": b"\0",
    "null bytes": b"{}\0\0",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "NaN": b'{"variant": NaN}',
    "infinite": b'{"variant": 1e999}',
    "a lone surrogate": b'{"selectedPairs": "\\ud800"}',
    "deep lists": b"[" * 60_000,
    "deep objects": b'{"a":' * 12_000,
    "closed deep lists": b"[" * 30_000 + b"]" * 30_000,
    "UTF-16": '{"selectedPairs": []}'.encode("utf-16"),
    "a form": b"selectedPairs=1&variant=2",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(
    "path", ["/api/generate-poem", "/api/decks/poem/answer", f"/api/answers/{'0' * 32}/feedback"]
)
def test_what_is_no_json_is_a_400(client: httpx.Client, path: str, kind: str) -> None:
    """A body that cannot be read is a 400, and the connection goes on."""
    response = client.post(path, content=BROKEN[kind])
    problem(response, 400)
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "nonsense",
    ],
)
def test_the_content_type_does_not_matter(
    client: httpx.Client, query: Query, content_type: str
) -> None:
    """JSON is read as JSON whatever the client calls it: games send all sorts of names."""
    body = orjson.dumps(ids_of(query))
    response = client.post(
        "/api/decks/poem/answer", content=body, headers={"Content-Type": content_type}
    )
    assert response.status_code == 200


@pytest.mark.parametrize("size", [65_537, 300_000, 20_000_000])
def test_a_huge_body_is_a_413(server: Server, size: int) -> None:
    """More than 64 KiB is refused with a problem document; the server goes on."""
    with server.client() as client:
        response = client.post("/api/generate-poem", content=b" " * size)
        problem(response, 413)
    with server.client() as client:
        assert client.get("/healthz").status_code == 200


def test_64_kib_are_just_not_too_much(client: httpx.Client, query: Query) -> None:
    """A body of exactly 64 KiB is read."""
    body = orjson.dumps(ids_of(query))
    padded = body + b" " * (64 * 1024 - len(body))
    assert client.post("/api/decks/poem/answer", content=padded).status_code == 200
    problem(client.post("/api/decks/poem/answer", content=padded + b" "), 413)


def test_a_chunked_body_is_read(client: httpx.Client, query: Query) -> None:
    """A client may send its body in chunks; one that is too long in all is a 413."""
    body = orjson.dumps(ids_of(query))
    chunks = iter([body[:10], body[10:50], body[50:]])
    assert client.post("/api/decks/poem/answer", content=chunks).status_code == 200
    padded = body + b" " * (64 * 1024 - len(body))
    assert client.post("/api/decks/poem/answer", content=iter([padded])).status_code == 200
    for too_much in ([padded, b" "], [padded] * 20, [b" " * 8192] * 20):
        problem(client.post("/api/decks/poem/answer", content=iter(too_much)), 413)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/generate-poem", {"POST", "OPTIONS"}),
        ("PUT", "/api/generate-poem", {"POST", "OPTIONS"}),
        ("DELETE", "/api/decks/poem", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/api/decks/poem/deal", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/stats", {"GET", "HEAD", "OPTIONS"}),
        ("PATCH", "/", {"GET", "HEAD", "OPTIONS"}),
        ("PROPFIND", "/healthz", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_a_405(
    client: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    """A method that a route does not have is a 405 that says which it has."""
    response = client.request(method, path)
    problem(response, 405)
    assert {name.strip() for name in response.headers["allow"].split(",")} == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere", "/api", "/api/", "/api/decks", "/api/decks/", "/api/decks/nowhere",
        "/api/decks/nowhere/deal", "/api/decks/%00", "/api/decks/%ff%fe", "/api/decks/..%2f..",
        "/api/decks/%ED%A0%80/deal", "/static/", "/static/nothing.css", "/static/../app/server.py",
        "/static/%2e%2e/server.py", "/favicon.ico", "/stats/", "/healthz/x", "/%", "/%zz",
        "/" + "a" * 3000, "/api/decks/" + "長" * 300, "/api/answers/" + "0" * 32,
        "/" + "a/" * 500,
    ],
)  # fmt: skip
def test_an_unknown_path_is_a_404(client: httpx.Client, path: str) -> None:
    """What is not there is a 404 with a problem document, however odd its name."""
    problem(client.get(path), 404)


def test_an_unknown_deck_is_a_404(client: httpx.Client, query: Query) -> None:
    """A deck that is not served is a 404 that says which are."""
    body = problem(
        client.post("/api/decks/nowhere/answer", json=ids_of(query)), 404, "Unknown deck"
    )
    assert "there is poem" in body["detail"]


@pytest.mark.parametrize(
    "variant", ["x", "-1", "1000", "0x1", "", "1.0", "٣", "²", " 1", "0" * 5000, "0000001000000", "9" * 5000, "None"]
)  # fmt: skip
def test_a_nonsense_variant_is_a_400(client: httpx.Client, variant: str) -> None:
    """A variant is a whole number from 0 to 999 in plain digits."""
    response = client.get(f"/api/answers/{'0' * 32}", params={"variant": variant})
    problem(response, 400, "Bad variant")


@pytest.mark.parametrize(
    "key", ["0", "0" * 31, "0" * 33, "G" * 32, "A" * 32, "0" * 31 + "%0a", "０" * 32, "%00" * 32, "-" * 32]
)  # fmt: skip
def test_a_nonsense_key_is_a_400(client: httpx.Client, key: str) -> None:
    """A key is 32 hex digits in lower case."""
    problem(client.get(f"/api/answers/{key}"), 400, "Bad key")


def test_a_nonsense_mode_is_a_400(client: httpx.Client) -> None:
    """A deal is stocked or random."""
    for mode in ("", "x", "Stocked", "random,stocked"):
        problem(client.get("/api/decks/poem/deal", params={"mode": mode}), 400, "Bad mode")


def test_no_origin_is_answered_unless_named(client: httpx.Client) -> None:
    """Without the setting no answer has a CORS header, not even to a preflight."""
    for method in ("GET", "OPTIONS"):
        response = client.request(method, "/healthz", headers={"Origin": "https://a.example"})
        assert response.status_code == 200
        assert not [name for name in response.headers if name.startswith("access-control")]
        secure(response)


def test_refused_requests_are_counted(counting: Server) -> None:
    """/stats counts what was refused, by status."""
    with counting.client() as client:
        client.put("/stats")
        wait_for(
            lambda: client.get("/stats").json()["refused_requests"] == {"405": 1}, "the refusal"
        )


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: y\r\nConnection: close\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /api/generate-poem HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n{}",
        b"POST /api/generate-poem HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{}",
        b"POST /api/generate-poem HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /stats HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /stats HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\xfe\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://elsewhere.example/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /api//decks/poem HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
)
def test_what_is_hardly_http_gives_no_5xx(server: Server, raw: bytes) -> None:
    """Broken requests, even bodies that never come, get a 4xx or nothing; others are served on."""
    parts = urlsplit(server.url)
    assert parts.hostname
    assert parts.port
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    assert not answer.split(b"\r\n", 1)[0].startswith(b"HTTP/1.1 5"), answer[:300]
    with server.client() as client:
        assert client.get("/healthz").status_code == 200


def test_no_request_leaves_the_server_ill(server: Server, client: httpx.Client) -> None:
    """After all of it the server has both its workers and no trouble in its log."""
    assert server.process.poll() is None
    log = (server.data.parent / "server.log").read_text("utf-8")
    assert "Traceback" not in log
    assert wait_for(lambda: client.get("/healthz").status_code == 200, "health")
