"""An index in Redis answers as the one on disk does: one contract for both, against a real server."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.errors import IndexUnusableError, StoreWriteError
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Card, Deck
from app.store.decision import APPROVED, DELETED, REJECTED, Decision
from app.store.index import Index, IndexReader
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from precompute.plan.strategies import plan_stock
from tests.conftest import Serve
from tests.making import Precompute, entry, free_port, wait_for

redis = pytest.importorskip("redis", reason="the library for Redis is not installed")
from app.store.redis import RedisIndex, publish  # noqa: E402  # after what it needs

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no redis-server here")


class Keeper:
    """A redis-server that can be stopped and started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = [str(PROGRAM), "--port", str(self._port), "--bind", "127.0.0.1"]
        words += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        wait_for(self._answers, "redis-server")

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """End it, and with it what it held."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    """A redis-server of this test's own."""
    made = Keeper(tmp_path)
    yield made
    made.stop()


def fill(store: Path, deck: Deck, count: int, poem: str = "詩") -> list[Query]:
    """Entries of whole hands, with a second variant of each tenth."""
    queries = [job.query for job in itertools.islice(plan_stock(deck, 0, 1), count)]
    with LogWriter(store, deck.id) as log, IndexWriter(store, deck) as index:
        log.append([entry(query, poem=poem) for query in queries])
        log.append([entry(query, poem=f"{poem}二", variant=1) for query in queries[::10]])
        index.catch_up()
    return queries


def told(index: IndexReader, queries: list[Query]) -> dict[str, object]:
    """Everything that an index can be asked about some queries."""
    return {
        "meta": index.meta(),
        "get": [index.get(query.raw_key, variant) for query in queries for variant in (0, 1, 2)],
        "variants": [index.variants(query.raw_key, 3) for query in queries],
        "nearest": [
            index.nearest(query.raw_hand_key, query.digests, radius)
            for query in queries
            for radius in (0, 1, 2, 5, 12)
        ],
        "stocked": [index.stocked(place) for place in range(index.meta().stocked_hands)],
        "stock": index.stock(),
    }


def same_told(store: Path, deck: Deck, url: str, queries: list[Query]) -> None:
    """Both indexes say the same."""
    local, remote = Index(store, deck.id), RedisIndex(url, deck.id)
    try:
        assert told(remote, queries) == told(local, queries)
    finally:
        local.close()
        remote.close()


def test_both_indexes_say_the_same(tmp_path: Path, poem: Deck, keeper: Keeper) -> None:
    """After a build, a second and one that replaces: of stored, near and unknown plays."""
    store = tmp_path / "store"
    queries = fill(store, poem, 30)
    rng = Random(2)
    others = [random_play(poem, rng) for _ in range(20)]
    others += [poem.query([c.phrases[0] for c in _cards(poem, query)]) for query in queries[::5]]
    assert publish(store, poem.id, keeper.url) == 33
    same_told(store, poem, keeper.url, [*queries, *others])
    assert publish(store, poem.id, keeper.url) == 0
    queries = fill(store, poem, 60, poem="別")
    assert publish(store, poem.id, keeper.url) == 66
    same_told(store, poem, keeper.url, [*queries, *others])
    # Another radius, another index: a shelf of its own.
    with LogWriter(store, poem.id), IndexWriter(store, poem, radius=2):
        pass
    assert publish(store, poem.id, keeper.url) == 66
    same_told(store, poem, keeper.url, [*queries, *others])


def test_what_is_rejected_is_gone_from_redis(tmp_path: Path, poem: Deck, keeper: Keeper) -> None:
    """After decisions both say the same, also of what is held back, and that only once it is asked."""
    store = tmp_path / "store"
    queries = fill(store, poem, 30)
    publish(store, poem.id, keeper.url)
    verdicts = (REJECTED, DELETED, APPROVED)
    with LogWriter(store, poem.id) as log, IndexWriter(store, poem) as index:
        for query, verdict in zip(queries, verdicts, strict=False):
            log.append([replace(entry(query), decision=Decision(verdict, "now"))])
        index.catch_up()
    publish(store, poem.id, keeper.url)
    same_told(store, poem, keeper.url, queries)
    remote = RedisIndex(keeper.url, poem.id)
    assert [remote.is_held(query.raw_key) for query in queries[:4]] == [True, True, False, False]
    remote.close()


def _cards(deck: Deck, query: Query) -> list[Card]:
    return [deck.card_by_id[card] for card, _ in query.picks]


def test_a_redis_that_is_away_finds_nothing_and_comes_back(
    tmp_path: Path, poem: Deck, keeper: Keeper
) -> None:
    """Without an answer nothing is found and nothing raised; once it is back and filled, all is.

    After a failure it is not asked for a second, so that requests do not wait for it one by one.
    """
    now = [0.0]
    (query, *_) = fill(tmp_path / "store", poem, 3)
    publish(tmp_path / "store", poem.id, keeper.url)
    index = RedisIndex(keeper.url, poem.id, lambda: now[0])
    body = index.get(query.raw_key)
    assert body
    keeper.stop()
    assert index.get(query.raw_key) is None
    # Nor is it forgotten by those who find nothing without asking.
    assert index.get(query.raw_key) is None
    assert "does not answer" in index.fault
    assert index.nearest(query.raw_hand_key, query.digests, 1) == []
    assert index.meta().entries == 4
    keeper.start()
    publish(tmp_path / "store", poem.id, keeper.url)
    now[0] += 0.9
    assert index.get(query.raw_key) is None
    now[0] += 5
    assert index.get(query.raw_key) == body
    assert index.fault == ""
    index.close()


def test_an_empty_or_absent_redis_is_a_sentence(tmp_path: Path, poem: Deck, keeper: Keeper) -> None:
    """No index there, or nobody: the operator is told what to do."""
    with pytest.raises(IndexUnusableError, match="no index of deck 'poem'"):
        RedisIndex(keeper.url, poem.id)
    fill(tmp_path / "store", poem, 1)
    absent = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.raises(StoreWriteError, match="the log is safe"):
        publish(tmp_path / "store", poem.id, absent)


def garble(client: Any, rng: Random) -> None:
    """Write garbage over something that was published."""
    name = rng.choice(sorted(client.keys("tsukurioki:*")))
    kind = client.type(name)
    if rng.random() < 0.1:
        client.delete(name)
        client.rpush(name, "not", "ours")
    elif kind == b"hash":
        field = rng.choice(sorted(client.hkeys(name)))
        value, other = client.hmget(name, field, rng.choice(sorted(client.hkeys(name))))
        client.hset(name, field, rng.choice([b"", b"garbage", value[1:], value + b"}", other]))
        client.hset(name, b"foreign", b"garbage")
    elif kind == b"string":
        client.set(name, rng.choice([b"", b"garbage", b"[]", b"{}", client.get(name)[:-1]]))


def test_garbage_is_neither_served_nor_an_error(tmp_path: Path, poem: Deck, keeper: Keeper) -> None:
    """Whatever others write over what was published: an answer is right or not there, and a repair
    brings all of it back."""
    now = [0.0]
    store = tmp_path / "store"
    queries = fill(store, poem, 54)
    publish(store, poem.id, keeper.url)
    local = Index(store, poem.id)
    missing = 0
    rng = Random(7)
    with redis.Redis.from_url(keeper.url) as client:
        for _ in range(8):
            index = RedisIndex(keeper.url, poem.id, lambda: now[0])
            for _ in range(12):
                garble(client, rng)
            for query in queries:
                now[0] += 2
                found = index.get(query.raw_key)
                assert found in (None, local.get(query.raw_key))
                missing += found is None
                near = index.nearest(query.raw_hand_key, query.digests, 1)
                assert near in ([], local.nearest(query.raw_hand_key, query.digests, 1))
                index.variants(query.raw_key, 3)
                index.stocked(0)
            assert all(
                found in ([], stocked)
                for found, stocked in zip(index.stock(), local.stock(), strict=False)
            )
            index.close()
            publish(store, poem.id, keeper.url, afresh=True)
            same_told(store, poem, keeper.url, queries)
    local.close()
    assert missing


def test_built_here_served_there(
    tmp_path: Path, precompute: Precompute, serve: Serve, keeper: Keeper
) -> None:
    """A build fills Redis; a server with no store of its own deals and answers from it."""
    precompute("build", "--n", 54, TSUKURIOKI_STORE=keeper.url)
    server = serve(TSUKURIOKI_STORE=keeper.url, TSUKURIOKI_DATA=tmp_path / "elsewhere")
    with server.client() as client:
        dealt = client.get("/api/decks/poem/deal").json()
        assert dealt["mode"] == "stocked"
        for phrase in range(3):
            hand = [{"card": c["id"], "phrase": c["poems"][phrase]["id"]} for c in dealt["cards"]]
            given = client.post("/api/decks/poem/answer", json={"hand": hand}).json()
            assert given["tier"] in ("exact", "same_hand")
        assert client.get(f"/api/answers/{given['key']}").status_code == 200
        stock = client.get("/api/decks/poem/stock").json()
        assert stock["hands"] == 2
        assert set(stock["cards"]) >= {card["id"] for card in dealt["cards"]}
        keeper.stop()
        given = client.post("/api/decks/poem/answer", json={"hand": hand})
        assert given.json()["tier"] == "composed"
        assert client.get("/api/decks/poem/deal").json()["mode"] == "random"
        keeper.start()
