"""Many workers: what they count adds up and deals do not repeat, whatever becomes of one of them."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx
import psutil

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from tests.conftest import Serve
from tests.making import PATIENCE, Precompute, Server, wait_for


def workers(server: Server) -> list[psutil.Process]:
    """The processes that answer: children of the one that was started that count."""
    below = psutil.Process(server.process.pid).children(recursive=True)
    return [process for process in below if _answers_requests(process)]


def _answers_requests(process: psutil.Process) -> bool:
    try:
        return "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # It was killed, and its parent has yet to notice.
        return False


def ask(client: httpx.Client, deck: Deck, seed: int) -> str:
    """A random play, asked; gives the tier."""
    query = random_play(deck, Random(seed))
    hand = [{"card": card, "phrase": phrase} for card, phrase in query.picks]
    answer = client.post(f"/api/decks/{deck.id}/answer", json={"hand": hand})
    assert answer.status_code == 200
    return str(answer.json()["tier"])


def counted(server: Server) -> dict[str, int]:
    """Answers by tier as `/stats` has them."""
    with server.client() as client:
        told = client.get("/stats").json()["decks"]["poem"]["answers"]["by_tier"]
    return {tier: figures["answers"] for tier, figures in told.items()}


def test_counters_add_up_over_workers(precompute: Precompute, serve: Serve, poem: Deck) -> None:
    """What clients were given is what `/stats` and `/metrics` say, whichever worker they asked."""
    precompute("build", "--n", 27)
    server = serve(TSUKURIOKI_WORKERS=3)

    def some(start: int) -> list[str]:
        with server.client() as client:
            return [ask(client, poem, seed) for seed in range(start, start + 40)]

    with ThreadPoolExecutor(8) as pool:
        given = Counter(tier for tiers in pool.map(some, range(0, 400, 50)) for tier in tiers)
    # A worker adds what it has counted once a second.
    wait_for(lambda: counted(server) == given, "the sums of all workers")
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("tsukurioki_answer_seconds_count")]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in found) == given.total()


def test_a_killed_worker_is_replaced_and_its_counts_stay(
    precompute: Precompute, serve: Serve, poem: Deck
) -> None:
    """After SIGKILL of each worker in turn nothing that was answered is lost once it was added, or counted twice."""
    precompute("build", "--n", 27)
    server = serve(TSUKURIOKI_WORKERS=2)
    given: Counter[str] = Counter()
    for turn in range(2):
        with server.client() as client:
            given.update(ask(client, poem, seed) for seed in range(100 * turn, 100 * turn + 30))
        # A worker adds what it has counted once a second; what it has not added dies with it.
        wait_for(lambda: counted(server) == given, "the sums of all workers")
        before = {process.pid for process in workers(server)}
        os.kill(min(before), signal.SIGKILL)
        wait_for(
            lambda old=before: (
                len(now := {p.pid for p in workers(server)}) >= 2 and min(old) not in now
            ),
            "another worker",
        )
        wait_for(lambda: _answers(server), "an answer")
    assert counted(server) == given


def test_workers_that_are_killed_again_and_again_are_replaced(serve: Serve) -> None:
    """Each worker that is seen is killed, six in a row: the server still answers, and ends by a signal."""
    server = serve(TSUKURIOKI_WORKERS=2)
    killed: set[int] = set()
    for _ in range(6):
        wait_for(lambda: any(p.pid not in killed for p in workers(server)), "another worker")
        pid = next(p.pid for p in workers(server) if p.pid not in killed)
        killed.add(pid)
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: _answers(server), "an answer")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0


def _answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_workers_share_memory_and_nothing_else(serve: Serve) -> None:
    """Workers deal hands of their own, though they are forks of one process; and that one has opened
    nothing of the state, which they would inherit."""
    server = serve(TSUKURIOKI_WORKERS=3)

    def deal(_: int) -> list[tuple[str, ...]]:
        with server.client() as client:
            told = [client.get("/api/decks/poem/deal?mode=random").json() for _ in range(5)]
        return [tuple(card["id"] for card in one["cards"]) for one in told]

    with ThreadPoolExecutor(8) as pool:
        dealt = [hand for hands in pool.map(deal, range(8)) for hand in hands]
    # Of sixteen million hands; with one sequence for all, a third or more would be there again.
    assert len(set(dealt)) >= len(dealt) - 2
    opened = {Path(file.path).name for file in psutil.Process(server.process.pid).open_files()}
    assert not {name for name in opened if name.startswith("state.sqlite")}


def test_workers_end_with_the_process_that_keeps_them(serve: Serve) -> None:
    """After SIGKILL of the process that was started no worker is left, and the port is free."""
    server = serve(TSUKURIOKI_WORKERS=2)
    wait_for(lambda: len(workers(server)) == 2, "two workers")
    left = workers(server)
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not any(process.is_running() for process in left), "the end of the workers")
    assert not _answers(server)


def test_deals_go_on_after_a_killing_and_a_restart(precompute: Precompute, serve: Serve) -> None:
    """Hands dealt by three workers, one of them killed, and after a restart: none twice in a round."""
    precompute("build", "--n", 27 * 12)
    dealt: list[tuple[str, ...]] = []
    lock = threading.Lock()

    def deal(server: Server) -> None:
        with server.client() as client:
            for _ in range(2):
                told = client.get("/api/decks/poem/deal").json()
                with lock:
                    dealt.append(tuple(sorted(card["id"] for card in told["cards"])))

    first = serve(TSUKURIOKI_WORKERS=3)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(deal, [first] * 3))
    os.kill(workers(first)[0].pid, signal.SIGKILL)
    wait_for(lambda: _answers(first), "an answer")
    first.process.send_signal(signal.SIGTERM)
    first.process.wait(60)
    deal(serve(TSUKURIOKI_WORKERS=2))
    assert len(dealt) == 8
    assert len(set(dealt)) == 8
