"""The fast path against Flask: for whatever is asked, no difference but the time it takes.

Two servers, one with the fast path and one without, each with its own copy of one store, its own
counters and ledger, and clocks that stand still, are asked the same over HTTP, byte for byte.
"""

from __future__ import annotations

import itertools
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPResponse
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.edge.fastpath import FastPath
from app.edge.serving import RsgiApplication
from app.kinds.cards.dealing import random_play
from app.kinds.cards.loading import load_deck
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.dialects.openai.chat import read as read_chat
from app.kinds.prompts.gate import REPLY
from app.kinds.prompts.key import KeyRules, query_of
from app.kinds.prompts.reply import Choice, Reply, Tokens
from app.ledger.misses import read_ledger
from app.settings import Settings
from app.store.entry import Entry
from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter, entry_at, log_path
from app.web.service import Service
from bench.material import cooked
from precompute.plan.strategies import plan_stock
from tests.edge.here import served_here

DECKS = Path(__file__).parents[2] / "data" / "decks"
NOW = "2026-01-01T00:00:00Z"
ORIGIN = "https://game.example"
PATIENCE = 10.0
Seen = tuple[int, list[tuple[str, str]], bytes]


@dataclass(frozen=True)
class Ask:
    """A request. A header that is None is not sent, where it would be by itself."""

    name: str
    path: str
    method: str = "GET"
    data: bytes | None = None
    headers: dict[str, str | None] = field(default_factory=dict)

    def raw(self) -> bytes:
        """The bytes that are sent."""
        told: dict[str, str | None] = {"Host": "127.0.0.1"}
        if self.data is not None:
            told |= {"Content-Type": "application/json", "Content-Length": str(len(self.data))}
        told |= self.headers
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in told.items() if value is not None]
        return "\r\n".join([*lines, "", ""]).encode() + (self.data or b"")

    def send(self, port: int) -> Seen:
        """Status, headers in the order of their names, and body.

        Without Date, and without Connection: whether a body that is not read keeps the connection
        depends on how much of it has arrived.
        """
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            connection.sendall(self.raw())
            response = HTTPResponse(connection, method=self.method)
            response.begin()
            headers = sorted(
                (name.lower(), value)
                for name, value in response.getheaders()
                if name.lower() not in ("date", "connection")
            )
            return response.status, headers, response.read()


@dataclass(frozen=True)
class Side:
    """One of the two servers."""

    service: Service
    port: int

    def noted(self) -> dict[str, Any]:
        """Everything that is to be equal after a request, beside what was answered."""
        deck = self.service.settings.deck
        return {
            "counters": self.service.counters.sums(),
            "ledger": list(read_ledger(self.service.settings.ledger, deck)),
        }


def assert_same(sides: tuple[Side, Side], ask: Ask) -> None:
    """Ask both sides, and compare what they say and what they note."""
    fast, slow = sides
    assert ask.send(fast.port) == ask.send(slow.port), ask.name
    # A request that was answered may still be being counted.
    end = time.monotonic() + PATIENCE
    while fast.noted() != slow.noted() and time.monotonic() < end:
        time.sleep(0.005)
    assert fast.noted() == slow.noted(), ask.name


def _still(start: float = 0.0) -> Callable[[], float]:
    return lambda: start


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two stocked hands."""
    folder = tmp_path_factory.mktemp("store")
    deck = load_deck(DECKS / "poem")
    with LogWriter(folder, deck.id) as log, IndexWriter(folder, deck) as index:
        jobs = itertools.islice(plan_stock(deck, 0, 1), 54)
        log.append(cooked(deck, [job.query for job in jobs]))
        index.catch_up()
    replies = PromptDeck("recorded")
    with LogWriter(folder, replies.id) as log, IndexWriter(folder, replies) as index:
        log.append([recorded("once", 0), recorded("twice", 0), recorded("twice", 1)])
        index.catch_up()
    return folder


def recorded(text: str, variant: int) -> Entry:
    """A recorded reply to a message."""
    request = read_chat(orjson.loads(prompt(text)))[0]
    query = query_of("recorded", request, KeyRules())
    reply = Reply((Choice(f"answer {variant} to {text}"),), "m", Tokens(3, 2)).to_text()
    return Entry(query.key, variant, query, {REPLY: reply}, "openai", "m", "recorded", NOW)


def prompt(text: str, **more: object) -> bytes:
    """The body of a chat completion of one message."""
    message = {"role": "user", "content": text}
    return orjson.dumps({"model": "m", "messages": [message], **more})


def settings_of(store: Path, folder: Path, **more: str) -> Settings:
    """Settings with a copy of the store in a folder."""
    return Settings.read(
        {
            "TSUKURIOKI_DECKS": str(DECKS),
            "TSUKURIOKI_STORE": str(shutil.copytree(store, folder / "store")),
            "TSUKURIOKI_LEDGER": str(folder / "ledger"),
            "TSUKURIOKI_REQUEST_SECONDS": "1",
            **more,
        }
    )


@pytest.fixture(scope="module", params=["", f"{ORIGIN},https://other.example"])
def sides(
    store: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Side, Side]]:
    """With the fast path and without, once with no origin allowed and once with two."""
    made = []
    with ExitStack() as stack:
        for fast in (True, False):
            folder = tmp_path_factory.mktemp("side")
            known = settings_of(store, folder, TSUKURIOKI_CORS_ORIGINS=request.param)
            # One secret, so that the same answer has the same ballot on both sides.
            known.ledger.mkdir()
            (known.ledger / "ballots.key").write_bytes(b"s" * 32)
            service = Service(known, clock=_still(), timer=_still(), now=lambda: NOW, rng=Random(7))
            port = stack.enter_context(served_here(RsgiApplication(known, service, fast=fast)))
            made.append(Side(service, port))
        yield made[0], made[1]
    for side in made:
        index = side.service.cards["poem"].index()
        assert index
        index.close()


def stored_queries(service: Service) -> list[Query]:
    """The queries of the store, in the order of their keys."""
    index = service.cards["poem"].index()
    assert isinstance(index, Index)
    log = log_path(service.settings.store, "poem")
    return [entry_at(log, index.offset(key) or 0).query for key, _ in sorted(index.keys())]


def near(service: Service) -> Query:
    """A play that is not stored, one phrase away from one that is."""
    index = service.cards["poem"].index()
    assert index
    deck = service.cards["poem"].deck
    for query in stored_queries(service):
        card = deck.card_by_id[query.picks[0][0]]
        for phrase in card.phrases:
            other = Query.play(deck.id, [(card.id, phrase.id), *query.picks[1:]])
            if index.get(other.raw_key) is None:
                return other
    raise AssertionError("every neighbour is stored")


def hand(query: Query, **more: object) -> bytes:
    """The body of an ask by ids."""
    picks = [{"card": card, "phrase": phrase} for card, phrase in query.picks]
    return orjson.dumps({"hand": picks, **more})


def game(service: Service, query: Query, **more: object) -> bytes:
    """The body that the game sends: whole card objects."""
    deck = service.cards["poem"].deck
    pairs = []
    for card_id, phrase_id in query.picks:
        raw = deck.card_by_id[card_id].raw
        chosen = next(p for p in raw["poems"] if p["id"] == phrase_id)
        pairs.append({"conditionCard": raw, "selectedPoem": chosen})
    return orjson.dumps({"selectedPairs": pairs, **more})


def asks_for_answers(service: Service) -> Iterator[Ask]:
    """Plays of every tier, by both routes, plain and not."""
    exact, close = stored_queries(service)[0], near(service)
    other = random_play(service.cards["poem"].deck, Random(3))
    to, gen = "/api/decks/poem/answer", "/api/generate-poem"
    for name, query in (("exact", exact), ("same_hand", close), ("composed", other)):
        yield Ask(f"{name} by ids", to, "POST", hand(query))
        yield Ask(f"{name} by the game", gen, "POST", game(service, query))
        yield Ask(f"{name} variant 2", to, "POST", hand(query, variant=2))
        yield Ask(
            f"{name} backwards",
            to,
            "POST",
            hand(query._replace(sorted_picks=query.sorted_picks[::-1])),
        )
    ids = [{"conditionCard": c, "selectedPoem": p} for c, p in exact.picks]
    yield Ask("the game with ids only", gen, "POST", orjson.dumps({"selectedPairs": ids}))
    body = hand(exact)
    for origin in (ORIGIN, "https://evil.example", "null"):
        yield Ask(f"origin {origin}", to, "POST", body, {"Origin": origin})
        yield Ask(f"preflight {origin}", to, "OPTIONS", None, {"Origin": origin})
    yield Ask(
        "a form's type", to, "POST", body, {"Content-Type": "application/x-www-form-urlencoded"}
    )
    yield Ask("a query string", f"{to}?variant=3", "POST", body)
    yield Ask("a slash too many", f"{to}/", "POST", body)
    yield Ask("another deck", "/api/decks/nothing/answer", "POST", body)
    yield Ask("a deck with a slash", "/api/decks/poem/poem/answer", "POST", body)
    yield Ask("no deck", "/api/decks//answer", "POST", body)
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
        yield Ask(f"{method} a play", to, method, body)
        yield Ask(f"{method} the game's", gen, method, body)


def asks_refused(service: Service) -> Iterator[Ask]:
    """Every bad input."""
    exact = stored_queries(service)[0]
    picks = [{"card": card, "phrase": phrase} for card, phrase in exact.picks]
    to, gen = "/api/decks/poem/answer", "/api/generate-poem"
    good = hand(exact)
    twice = [picks[0], picks[0], *picks[2:]]
    bodies: dict[str, bytes] = {
        "nothing": b"",
        "no JSON": b"{",
        "NaN": b'{"hand":NaN}',
        "not UTF-8": b'{"hand":"\xff"}',
        "a surrogate": b'{"hand":[{"card":"\\ud800","phrase":"x"}]}',
        "a list": b"[]",
        "a number": b"1",
        "null": b"null",
        "no hand": b"{}",
        "hand is null": b'{"hand":null}',
        "hand is a text": b'{"hand":"abcde"}',
        "hand is an object": b'{"hand":{"card":1}}',
        "picks are texts": b'{"hand":["a","b","c","d","e"]}',
        "picks are lists": b'{"hand":[[1,2],[1,2],[1,2],[1,2],[1,2]]}',
        "four cards": orjson.dumps({"hand": picks[:4]}),
        "six cards": orjson.dumps({"hand": [*picks, picks[0]]}),
        "forty cards": orjson.dumps({"hand": picks * 8}),
        "a card twice": orjson.dumps({"hand": twice}),
        "an unknown card": orjson.dumps({"hand": [{"card": "x", "phrase": "y"}, *picks[1:]]}),
        "an unknown phrase": orjson.dumps({"hand": [{**picks[0], "phrase": "y"}, *picks[1:]]}),
        "a card that is a number": orjson.dumps({"hand": [{**picks[0], "card": 1}, *picks[1:]]}),
        "a card that is a list": orjson.dumps({"hand": [{**picks[0], "card": []}, *picks[1:]]}),
        "a member twice": good[:-1] + b',"hand":[]}',
        "more members": orjson.dumps({"hand": picks, "more": 1}),
        "deep": b'{"hand":' + b"[" * 5000 + b"]" * 5000 + b"}",
        "64 KiB": good + b" " * (64 * 1024 - len(good)),
        "64 KiB and one": good + b" " * (64 * 1024 - len(good) + 1),
        "a megabyte": good + b" " * (1 << 20),
    }
    for variant in (
        b"-1",
        b"999",
        b"1000",
        b"1.0",
        b"true",
        b"null",
        b'"0"',
        b"[]",
        b"1" + b"0" * 30,
    ):
        bodies[f"variant {variant.decode()}"] = good[:-1] + b',"variant":' + variant + b"}"
    for name, body in bodies.items():
        yield Ask(f"{name}, by ids", to, "POST", body)
        yield Ask(f"{name}, the game's", gen, "POST", body.replace(b'"hand"', b'"selectedPairs"'))
    for name, pair in {
        "no card": {"selectedPoem": {"id": "x"}},
        "a card that is null": {"conditionCard": None, "selectedPoem": {"id": "x"}},
        "a card without id": {"conditionCard": {}, "selectedPoem": {"id": "x"}},
        "an id that is a number": {"conditionCard": {"id": 1}, "selectedPoem": {"id": "x"}},
    }.items():
        yield Ask(name, gen, "POST", orjson.dumps({"selectedPairs": [pair] * 5}))
    for length in ("", "-1", "x", "1e3", "99999999999999999999", "0", str(len(good) + 5), "+5"):
        yield Ask(f"length {length!r}", to, "POST", good, {"Content-Length": length})
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(good), good)
    chunked: dict[str, str | None] = {"Content-Length": None, "Transfer-Encoding": "chunked"}
    yield Ask("in chunks", to, "POST", chunk, chunked)
    yield Ask("in chunks and not", to, "POST", chunk, {"Transfer-Encoding": "chunked"})
    yield Ask("no host", to, "POST", good, {"Host": None})
    yield Ask("a header that is none", to, "POST", good, {"X Y": "1"})
    yield Ask("a header twice", to, "POST", good, {"content-length": str(len(good))})
    for value in ("close", "keep-alive", "Keep-Alive", "upgrade"):
        yield Ask(f"connection {value}", to, "POST", good, {"Connection": value})
    yield Ask("an upgrade", to, "POST", good, {"Connection": "upgrade", "Upgrade": "h2c"})


def asks_by_key(service: Service) -> Iterator[Ask]:
    """Stored answers and what only looks like one."""
    key = stored_queries(service)[0].key
    to = f"/api/answers/{key}"
    index = service.cards["poem"].index()
    assert index
    etag = f'"{xxhash.xxh3_64_hexdigest(index.get(bytes.fromhex(key)) or b"")}"'
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        yield Ask(f"{method} by key", to, method)
    tags = (etag, f"W/{etag}", f'"x", {etag}', "*", '"x"', "", etag.strip('"'), f" {etag} ")
    for tag, method in itertools.product(tags, ("GET", "HEAD")):
        yield Ask(f"{method} if none match {tag!r}", to, method, None, {"If-None-Match": tag})
    for name, value in (
        ("If-Match", '"x"'),
        ("If-Match", etag),
        ("Range", "bytes=0-9"),
        ("If-Range", etag),
        ("If-Modified-Since", "Wed, 01 Jan 2031 00:00:00 GMT"),
        ("Origin", ORIGIN),
        ("Origin", "https://evil.example"),
        ("Accept-Encoding", "gzip"),
    ):
        yield Ask(f"{name} {value}", to, "GET", None, {name: value})
    for query in ("variant=0", "variant=1", "variant=x", "variant=0&variant=1", "x=1", "variant="):
        yield Ask(f"by key ?{query}", f"{to}?{query}")
    for path in ("", key.upper(), key[:-1], key + "0", f"{key}/", "0" * 32, "g" * 32, "%20" * 32):
        yield Ask(f"key {path!r}", f"/api/answers/{path}")
    yield Ask("feedback", f"{to}/feedback", "POST", b'{"vote":"up"}')


def asks_for_replies(service: Service) -> Iterator[Ask]:
    """Recorded replies, and prompts that have none, in every dialect."""
    to = "/v1/chat/completions"
    for text in ("once", "twice", "never"):
        yield Ask(text, to, "POST", prompt(text))
        yield Ask(f"{text} again", to, "POST", prompt(text))
        yield Ask(f"{text} streamed", to, "POST", prompt(text, stream=True))
        yield Ask(f"{text} with more", to, "POST", prompt(text, user="u"))
        yield Ask(f"{text} of Ollama", "/api/chat", "POST", prompt(text, stream=False))
        generate = orjson.dumps({"model": "m", "prompt": text, "stream": False})
        yield Ask(f"{text} of Ollama's generate", "/api/generate", "POST", generate)
        contents = orjson.dumps({"contents": [{"parts": [{"text": text}]}]})
        yield Ask(f"{text} of Gemini", "/v1/models/m:generateContent", "POST", contents)
        responses = orjson.dumps({"model": "m", "input": text})
        yield Ask(f"{text} as a response", "/v1/responses", "POST", responses)
    body = prompt("once")
    for origin in (ORIGIN, "https://evil.example", "null"):
        yield Ask(f"origin {origin}", to, "POST", body, {"Origin": origin})
        asked = {"Origin": origin, "Access-Control-Request-Headers": "x-stainless-os, content-type"}
        yield Ask(f"preflight {origin}", to, "OPTIONS", None, {**asked})
    yield Ask("a key", to, "POST", body, {"Authorization": "Bearer sk-any"})
    yield Ask("a query", f"{to}?key=x", "POST", body)
    yield Ask("another host", to, "POST", body, {"Host": "evil.example"})
    yield Ask("no host", to, "POST", body, {"Host": None})
    yield Ask("no type", to, "POST", body, {"Content-Type": None})
    for name, wrong in (("no JSON", b"{"), ("a list", b"[]"), ("nothing", b"")):
        yield Ask(name, to, "POST", wrong)
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        yield Ask(f"{method} a prompt", to, method, body)


def asks_of_other_routes(service: Service) -> Iterator[Ask]:
    """Every other route: the layer only hands on."""
    for path in (
        "/",
        "/api/decks/poem",
        "/api/decks/poem/deal?mode=random",
        "/healthz",
        "/api",
        "/x",
    ):
        for method in ("GET", "HEAD", "POST"):
            yield Ask(f"{method} {path}", path, method)


@pytest.mark.long
@pytest.mark.parametrize(
    "asks", [asks_for_answers, asks_refused, asks_by_key, asks_for_replies, asks_of_other_routes]
)
def test_no_request_tells_the_fast_path_from_flask(
    sides: tuple[Side, Side], asks: Callable[[Service], Iterable[Ask]]
) -> None:
    """Status, headers but Date, body, counters and ledger are the same with and without it.

    Each is asked twice: what comes again is answered by another way.
    """
    for ask in asks(sides[0].service):
        assert_same(sides, ask)
        assert_same(sides, ask)


def test_plain_requests_do_not_reach_flask(sides: tuple[Side, Side]) -> None:
    """What the layer is there for is answered by the layer."""
    service = sides[0].service
    key = stored_queries(service)[0].key
    plain = [ask for ask in asks_for_answers(service) if ask.name.split()[0] in TIERS]
    assert len(plain) == 12
    fast = FastPath(service, ())
    headers: Any = Message()
    headers["Host"] = "127.0.0.1"
    for ask in plain:
        answered = fast.post(ask.path, headers, ask.data or b"")
        assert answered, ask.name
        assert answered.status == 200
        # So that the sides' figures stay the same.
        ask.send(sides[1].port)
    by_key = Ask("by key", f"/api/answers/{key}")
    answered = fast.get(by_key.path, headers)
    assert answered
    assert answered.status == 200
    by_key.send(sides[1].port)


def test_a_reply_does_not_reach_flask_again(sides: tuple[Side, Side]) -> None:
    """A reply that Flask has given is the fast path's, streamed or not, unless there are several."""
    service = sides[0].service
    fast = FastPath(service, ())
    headers: Any = Message()
    headers["Host"] = "127.0.0.1"
    to = "/v1/chat/completions"
    for body, kept in (
        (prompt("once", user="fast"), True),
        (prompt("once", user="fast", stream=True), True),
        (prompt("twice", user="fast"), False),
        (prompt("never", user="fast"), False),
    ):
        assert fast.post(to, headers, body) is None
        for side in sides:
            seen = Ask("", to, "POST", body).send(side.port)
        answered = fast.post(to, headers, body)
        assert (answered is not None) == kept, body
        if answered:
            assert answered.body == seen[2]
            # So that the sides' figures stay the same.
            Ask("", to, "POST", body).send(sides[1].port)


def test_a_reply_for_who_shows_the_token_is_for_nobody_else(store: Path, tmp_path: Path) -> None:
    """However often it was given to clients with the token, one without it gets none."""
    known = settings_of(store, tmp_path, TSUKURIOKI_TOKEN="open-sesame")
    service = Service(known, clock=_still(), timer=_still(), now=lambda: NOW, rng=Random(7))
    to, body = "/v1/chat/completions", prompt("once")
    with served_here(RsgiApplication(known, service, fast=True)) as port:
        for token, status in [("Bearer open-sesame", 200)] * 3 + [(None, 401)] * 2:
            ask = Ask("", to, "POST", body, {"Authorization": token})
            assert ask.send(port)[0] == status


TIERS = ("exact", "same_hand", "composed")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6)
    | st.dictionaries(
        st.sampled_from(
            ["hand", "card", "phrase", "variant", "selectedPairs", "conditionCard", "selectedPoem", "id"]
        ),
        inner,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(body=JSON, path=st.sampled_from(["/api/generate-poem", "/api/decks/poem/answer"]))
def test_no_json_tells_the_fast_path_from_flask(
    sides: tuple[Side, Side], body: object, path: str
) -> None:
    """Whatever JSON is sent, both say the same."""
    assert_same(sides, Ask("any", path, "POST", orjson.dumps(body)))


def test_the_index_is_found_by_both(sides: tuple[Side, Side]) -> None:
    """The two sides look at one store: what they are compared on is there."""
    for side in sides:
        index = side.service.cards["poem"].index()
        assert isinstance(index, Index)
        assert index.meta().entries == 54
