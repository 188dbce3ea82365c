"""Several machines: built once, copied, served apart, and put together again as docs/many-machines.md says."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from random import Random

import orjson
import pytest

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from tests.conftest import Serve
from tests.making import Precompute, vote


@pytest.mark.long
def test_one_builds_and_others_serve(
    precompute: Precompute, serve: Serve, poem: Deck, tmp_path: Path
) -> None:
    """Copies of one store give the same answers, with or without the index that came along."""
    precompute("build", "--n", 27)
    store = tmp_path / "data" / "store"
    whole, bare = tmp_path / "whole", tmp_path / "bare"
    shutil.copytree(store, whole / "store")
    (bare / "store").mkdir(parents=True)
    shutil.copy(store / "poem.jsonl", bare / "store")
    given = []
    for data in (tmp_path / "data", whole, bare):
        with serve(TSUKURIOKI_DATA=data).client() as client:
            dealt = client.get("/api/decks/poem/deal").json()["cards"]
            hand = [{"card": card["id"], "phrase": card["poems"][1]["id"]} for card in dealt]
            hand.sort(key=lambda pick: str(pick["card"]))
            answer = client.post("/api/decks/poem/answer", json={"hand": hand})
            given.append((hand, answer.content))
    assert given[0] == given[1] == given[2]


@pytest.mark.long
def test_what_machines_saw_is_put_together(
    precompute: Precompute, serve: Serve, poem: Deck, tmp_path: Path
) -> None:
    """Answers, refusals, misses and votes of two machines, one of them run twice, add up."""
    machines = [tmp_path / "one", tmp_path / "two"]
    for run, data in enumerate((*machines, machines[0])):
        server = serve(TSUKURIOKI_DATA=data, TSUKURIOKI_WORKERS=2)
        rng = Random(run)
        with server.client() as client:
            for _ in range(5):
                query = random_play(poem, rng)
                hand = [{"card": card, "phrase": phrase} for card, phrase in query.picks]
                answer = client.post("/api/decks/poem/answer", json={"hand": hand})
            assert vote(client, answer, "up", "visitor") == 204
            assert client.get("/api/answers/0").status_code == 400
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    words = [word for data in machines for word in ("--merge", data)]
    told = orjson.loads(precompute("stats", *words, "--json").stdout)
    assert told["machines"] == 2
    assert told["answers"]["by_tier"]["composed"]["answers"] == 15
    assert told["refused_requests"] == {"400": 3}
    assert told["misses"]["total"] == 15
    assert told["feedback"]["up"] == 3
    assert "15" in precompute("stats", *words).stdout
    precompute("stats", "--merge", tmp_path, status=2)
