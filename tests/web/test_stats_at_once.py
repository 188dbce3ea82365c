"""Figures that many ask for at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.ledger.misses import Ledger
from app.ledger.votes import VoteBox
from tests.conftest import Serve

MISSES, VOTES = 20_000, 5_000


def test_misses_and_votes_are_counted_once(serve: Serve, poem: Deck, tmp_path: Path) -> None:
    """However many read `/stats` at once, what is new in a journal is counted once, and for good."""
    server = serve(TSUKURIOKI_WORKERS=1)
    folder = tmp_path / "data" / "ledger"
    ledger, votes = Ledger(folder, "poem"), VoteBox(folder, "poem")
    rng = Random(1)
    plays = [random_play(poem, rng) for _ in range(50)]
    for number in range(MISSES):
        ledger.miss(plays[number % 50], 0, "composed", "2026-01-01T00:00:00Z")
    for number in range(VOTES):
        votes.vote(f"{number:032x}", 0, "up", "2026-01-01T00:00:00Z")

    def read(_: int) -> tuple[int, int]:
        with server.client() as client:
            response = client.get("/stats")
            assert response.status_code == 200
            deck = response.json()["decks"]["poem"]
            return deck["misses"]["total"], deck["feedback"]["up"]

    with ThreadPoolExecutor(8) as pool:
        seen = set(pool.map(read, range(32)))
    assert seen == {(MISSES, VOTES)}
