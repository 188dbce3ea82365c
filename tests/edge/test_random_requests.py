"""Requests that hypothesis makes up: whatever a client sends, no 5xx and no hang."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.loading import load_deck
from tests.making import DECKS, Server, game_body

pytestmark = pytest.mark.xdist_group("http")

POEM: Deck = load_deck(DECKS / "poem")
REQUESTS_AN_EXAMPLE = 12
SCRAPS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["", "id", "condition-001", "poem-001-a", "poem", "\0", "💥", "x" * 500]),
    st.sampled_from([list(range(40)), {}, [], [[[]]], {"id": {"id": {"id": "x"}}}]),
)
ANYTHING = st.recursive(
    SCRAPS,
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=20,
)
PLAYS = st.integers(0, 10_000).map(
    lambda seed: game_body(POEM, random_play(POEM, random.Random(seed)))
)
DECK_IDS = st.sampled_from(
    ["poem", "poem", "poem", "nowhere", "..", "%00", "%ff", "poem%20", "POEM"]
)
KEYS = st.one_of(
    st.text(alphabet="0123456789abcdef", min_size=32, max_size=32),
    st.text(alphabet="0123456789abcdefG%-_.~", min_size=1, max_size=40),
)
SEGMENTS = st.text(alphabet="abcz019._-~%あé*'()!$&+,;=:@", max_size=12)
PATHS = st.one_of(
    st.just("/api/generate-poem"),
    DECK_IDS.map(lambda deck: f"/api/decks/{deck}/answer"),
    DECK_IDS.map(lambda deck: f"/api/decks/{deck}/deal"),
    DECK_IDS.map(lambda deck: f"/api/decks/{deck}"),
    KEYS.map(lambda key: f"/api/answers/{key}"),
    KEYS.map(lambda key: f"/api/answers/{key}/feedback"),
    st.sampled_from(["/", "/stats", "/healthz", "/metrics", "/static/", "/api", "/wall", "/dashboard", "/booth", "//"]),
    st.lists(SEGMENTS, max_size=5).map(lambda parts: "/" + "/".join(parts)),
)  # fmt: skip
PARAMETERS = st.dictionaries(
    st.sampled_from(["variant", "mode", "deck", "token", "n", "x"]),
    st.text(max_size=12),
    max_size=2,
)
HEADERS = st.dictionaries(
    st.sampled_from(["If-None-Match", "If-Modified-Since", "Range", "Origin", "Content-Type", "Accept", "Accept-Encoding", "Cookie", "X-Forwarded-For", "Authorization", "If-Match", "Host", "Sec-Fetch-Site"]),
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30),
    max_size=2,
)  # fmt: skip
METHODS = st.sampled_from(
    ["POST"] * 6 + ["GET"] * 5 + ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "X"]
)


@st.composite
def spoilt_plays(draw: st.DrawFn) -> Any:
    """A play of the game with one to three of its values changed, taken out or doubled."""
    body: Any = orjson.loads(orjson.dumps(draw(PLAYS)))
    if draw(st.booleans()):
        picks = [(p["conditionCard"]["id"], p["selectedPoem"]["id"]) for p in body["selectedPairs"]]
        body = {"hand": [{"card": card, "phrase": phrase} for card, phrase in picks], "variant": 0}
    for _ in range(draw(st.integers(0, 3))):
        at = body
        while True:
            names = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not names:
                break
            name = draw(st.sampled_from(names))
            if isinstance(at[name], dict | list) and draw(st.integers(0, 3)):
                at = at[name]
                continue
            action = draw(st.sampled_from(["change", "change", "drop", "double"]))
            if action == "drop":
                del at[name]
            elif action == "double" and isinstance(at, list):
                at.append(at[name])
            else:
                # A copy: a sample that is drawn again must not have been changed meanwhile.
                at[name] = orjson.loads(orjson.dumps(draw(ANYTHING)))
            break
    return body


BODIES = st.one_of(
    PLAYS.map(orjson.dumps),
    spoilt_plays().map(orjson.dumps),
    spoilt_plays().map(orjson.dumps),
    ANYTHING.map(orjson.dumps),
    st.binary(max_size=200),
    spoilt_plays().map(lambda body: orjson.dumps(body)[:-7]),
)


class Made:
    """A request; `cut` is where its body is cut into two chunks, 0 where it is not.

    No dataclass: hypothesis would print every field of a failing batch whole.
    """

    def __init__(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        parameters: dict[str, str],
        body: bytes,
        cut: int,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.parameters = parameters
        self.body = body
        self.cut = cut

    def __repr__(self) -> str:
        told = (self.method, self.path, self.headers, self.parameters, self.cut, self.body[:200])
        return " ".join(map(str, told))

    def send(self, client: httpx.Client) -> httpx.Response:
        """Send it.

        A server may close a connection of which it has not read a body, and a client learns of it
        from its next request: that is sent again, once, on a new connection.
        """
        try:
            return self._send(client)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return self._send(client)

    def _send(self, client: httpx.Client) -> httpx.Response:
        parts = iter([self.body[: self.cut], self.body[self.cut :]])
        return client.request(
            self.method,
            # Whole, for a path that begins with two slashes would be read as another host.
            f"{str(client.base_url).rstrip('/')}{self.path}",
            headers=self.headers,
            params=self.parameters or None,
            content=parts if self.cut else self.body or None,
        )


@st.composite
def requests(draw: st.DrawFn) -> Made:
    """A request, often nearly right."""
    method = draw(METHODS)
    bodiless = method in ("GET", "HEAD", "OPTIONS") and draw(st.integers(0, 20))
    return Made(
        method=method,
        path=draw(PATHS),
        headers=draw(HEADERS),
        parameters=draw(PARAMETERS),
        body=b"" if bodiless else draw(BODIES),
        cut=0 if bodiless or draw(st.integers(0, 6)) else 9,
    )


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened


def ask(client: httpx.Client, batch: list[Made]) -> None:
    """Send them one after another on one connection; none may be a 5xx or wait for ever."""
    for one in batch:
        response = one.send(client)
        assert response.status_code < 500, (one, response.text)
        assert response.headers["x-content-type-options"] == "nosniff", one
        if response.status_code >= 400 and one.method != "HEAD":
            assert set(response.json()) == {"type", "title", "status", "detail", "error"}, one
        if response.headers.get("content-type") == "application/json" and response.content:
            orjson.loads(response.content)


BATCHES = st.lists(requests(), min_size=REQUESTS_AN_EXAMPLE, max_size=REQUESTS_AN_EXAMPLE)
CALM = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@pytest.mark.long
@given(BATCHES)
@settings(max_examples=200, suppress_health_check=CALM)
def test_no_request_is_answered_with_a_5xx(client: httpx.Client, batch: list[Made]) -> None:
    """2,400 made-up requests, right, nearly right and wrong: none gives a 5xx, none hangs."""
    ask(client, batch)


def test_after_them_plays_are_answered(server: Server) -> None:
    """The server is as well as before: a play is answered on a new connection."""
    with server.client() as client:
        body = game_body(POEM, random_play(POEM, random.Random(0)))
        assert client.post("/api/generate-poem", json=body).status_code == 200
        assert client.get("/stats").status_code == 200
