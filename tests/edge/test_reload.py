"""Reload under load: builds one after another while many ask without pause."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from random import Random

import psutil
import pytest

from app.kinds.cards.deck import Deck
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from tests.conftest import Serve
from tests.kit import poem_deck
from tests.making import Precompute, Server
from tests.making import entry as made

ENTRIES, BUILDS, ASKERS = 540, 8, 16


def rebuild(store: Path, queries: list[Query], build: int) -> None:
    """A build that writes every entry again; one in ten its index too, as after another radius."""
    deck = poem_deck()
    entries = [made(query, poem=str(build)) for query in queries]
    with LogWriter(store, deck.id) as log:
        if build % 10 == 3:
            with IndexWriter(store, deck, radius=2):
                pass
        with IndexWriter(store, deck) as index:
            log.append(entries)
            index.catch_up()


def processes(server: Server) -> list[psutil.Process]:
    """The server's own, and its workers."""
    own = psutil.Process(server.process.pid)
    return [own, *own.children(recursive=True)]


def used(server: Server, store: Path) -> tuple[float, int, int]:
    """Private memory in MB, open files, and bytes of indexes on disk that are still held."""
    everyone = processes(server)
    return (
        sum(process.memory_full_info().uss for process in everyone) / 1e6,
        sum(process.num_fds() for process in everyone),
        sum(path.stat().st_size for path in store.glob("*.lmdb")),
    )


@pytest.mark.long
def test_builds_while_many_ask(precompute: Precompute, serve: Serve, poem: Deck) -> None:
    """No request fails, no answer is of yesterday after a second, and nothing grows."""
    precompute("build", "--n", 27)
    server = serve(TSUKURIOKI_WORKERS=2)
    store = server.data / "store"
    # A build is a process of its own: beside these askers it would wait for its turn.
    spawned = multiprocessing.get_context("spawn")
    rng = Random(1)
    hands = [
        [cards[i % len(cards)] for cards in poem.cards_by_category.values()] for i in range(12)
    ]
    queries = {
        query.key: query
        for hand in hands
        for query in [
            poem.query([card.phrases[int(rng.random() * len(card.phrases))] for card in five])
            for five in [rng.sample(hand, poem.hand_size) for _ in range(ENTRIES // 12)]
        ]
    }
    # (number of the build that is in force for certain, the one that may be)
    certain, begun, over = [0], [0], threading.Event()

    def asking(seed: int) -> int:
        own, asked = Random(seed), 0
        keys = list(queries)
        with server.client() as client:
            while not over.is_set():
                least = certain[0]
                answer = client.get(f"/api/answers/{keys[int(own.random() * len(keys))]}")
                assert answer.status_code == 200
                assert least <= int(answer.json()["poem"]) <= begun[0]
                asked += 1
        return asked

    at_first: tuple[float, int, int] | None = None
    with ProcessPoolExecutor(1, spawned) as builder, ThreadPoolExecutor(ASKERS) as pool:
        running = []
        try:
            for build in range(BUILDS + 1):
                begun[0] = build
                builder.submit(rebuild, store, list(queries.values()), build).result()
                # The second after which no answer may be of the build before.
                time.sleep(1.0)
                certain[0] = build
                if build == 0:
                    running = [pool.submit(asking, seed) for seed in range(ASKERS)]
                if build == BUILDS // 2:
                    at_first = used(server, store)
        finally:
            over.set()
        assert sum(future.result() for future in running) > BUILDS
    assert at_first
    memory, files, disk = used(server, store)
    # Room for what every process has once: an index more or less open, pages of a heap.
    assert memory < at_first[0] + 12
    assert files <= at_first[1] + 6
    assert disk < 4 * max(at_first[2], 1 << 20)
