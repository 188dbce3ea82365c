"""Our own time for an entry: a stand-in that answers at once, gate and durable append included.

Measured into an empty store and into one of 50,000 entries: the time must not grow with the store.
What the stand-in takes to write its answers is measured by itself and is not part of it.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from app.kinds.cards.composing import Composer
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.kinds.tasks import Draft, Drafts, Task
from app.store.entry import Entry
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter
from app.store.sources import DEFAULT_ORDER
from precompute.cook.cards import CardsCooking
from precompute.cook.clock import SystemClock
from precompute.cook.intake import Intake
from precompute.cook.report import Report
from precompute.cook.runner import Pace, Runner
from precompute.plan.strategies import Job

STORED = 50_000
COOKED = 1_000
PER_REQUEST = 10
_POEM = Path(__file__).parent.parent / "data" / "decks" / "poem"


class _AtOnce:
    """A provider whose answers were written before."""

    name = "gemini"
    fingerprint = "bench"

    def __init__(self, answers: dict[str, dict[str, str]]) -> None:
        self._answers = answers

    def write(self, tasks: Sequence[Task]) -> Drafts:
        return Drafts(tuple(Draft(t, self._answers[t.query.key]) for t in tasks), "bench")

    def close(self) -> None:
        """Nothing to let go of."""


def _plays(deck: Deck) -> Iterator[tuple[Job, dict[str, str]]]:
    """Jobs that no hand repeats in, each with an answer that the gate lets pass."""
    rng = Random(0)
    composer, gate = Composer(deck), Gate.of(deck)
    categories = list(deck.cards_by_category.values())
    while True:
        cards = [rng.choice(cards) for cards in rng.sample(categories, deck.hand_size)]
        query = deck.query([rng.choice(card.phrases) for card in cards])
        made = composer.compose(query)
        if made and gate.examine(query, made.response) is None:
            yield Job(query, 0, "bench"), made.response


def _fill(store: Path, deck: Deck, plays: Iterator[tuple[Job, dict[str, str]]]) -> None:
    with LogWriter(store, deck.id) as log:
        while block := list(itertools.islice(plays, min(1_000, STORED))):
            log.append(
                Entry(job.query.key, 0, job.query, answer, "gemini", "bench", "bench", "2026")
                for job, answer in block
            )
    with IndexWriter(store, deck) as index:
        index.catch_up()


def _cook(store: Path, deck: Deck, plays: Sequence[tuple[Job, dict[str, str]]]) -> dict[str, float]:
    clock = SystemClock()
    cooking = CardsCooking(deck)
    provider = _AtOnce({job.query.key: answer for job, answer in plays})
    started = time.perf_counter()
    with (
        LogWriter(store, deck.id) as log,
        IndexWriter(store, deck) as index,
    ):
        judge = cooking.judge(store)
        opened, used = time.perf_counter(), time.process_time()
        source = (provider.name, provider.fingerprint)
        intake = Intake(cooking, judge, source, log, index, clock.stamp, None, Report())
        pace = Pace(per_request=PER_REQUEST)
        runner = Runner(provider, intake, index, clock, pace, sources=DEFAULT_ORDER)
        report = runner.run([job for job, _ in plays])
    ended, worked = time.perf_counter(), time.process_time() - used
    asked = report.cooked + report.refused.total()
    return {
        "open_ms": (opened - started) * 1e3,
        "entry_us": (ended - opened) / asked * 1e6,
        "cpu_us": worked / asked * 1e6,
    }


def _bare_sync(folder: Path, times: int = 50) -> float:
    """Microseconds an entry that this disk alone takes: a request's lines, written and synced."""
    block = b"x" * 1_200 * PER_REQUEST
    with (folder / "bare").open("ab", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(times):
            file.write(block)
            os.fsync(file.fileno())
        return (time.perf_counter() - started) / times / PER_REQUEST * 1e6


def run() -> dict[str, float]:
    """Microseconds an entry and milliseconds to open, into an empty store and a large one."""
    deck = load_deck(_POEM)
    plays = _plays(deck)
    cooked = list(itertools.islice(plays, COOKED))
    with tempfile.TemporaryDirectory() as folder:
        empty, large = Path(folder) / "empty", Path(folder) / "large"
        _fill(large, deck, itertools.islice(plays, STORED))
        _cook(Path(folder) / "warm", deck, cooked[:100])
        sync = _bare_sync(Path(folder))
        small, big = _cook(empty, deck, cooked), _cook(large, deck, cooked)
    return {
        "entry_us_at_0": round(small["entry_us"], 1),
        "cpu_us_at_0": round(small["cpu_us"], 1),
        f"entry_us_at_{STORED}": round(big["entry_us"], 1),
        f"cpu_us_at_{STORED}": round(big["cpu_us"], 1),
        "of_it_this_disks_sync_us": round(sync, 1),
        "ratio": round(big["entry_us"] / small["entry_us"], 2),
        "open_ms_at_0": round(small["open_ms"], 1),
        f"open_ms_at_{STORED}": round(big["open_ms"], 1),
    }


if __name__ == "__main__":
    for name, figure in run().items():
        print(f"{name:>24}  {figure}")
