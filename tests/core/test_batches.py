"""Reading a log for its index: by one process or by several, with more than memory holds."""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import lmdb
import psutil
import pytest

from app.core import batches, index, parts
from app.core.batches import Batch, BatchReader, ranges, read_batches
from app.core.deal import random_play
from app.core.deck import Deck
from app.core.entry import Entry
from app.core.index import IndexWriter, index_paths
from app.core.log import LogWriter, log_path
from app.core.parts import Parts, pack, unpack
from tests.making import entry, small_deck


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Deck:
    return small_deck(tmp_path_factory.mktemp("decks") / "small")


@pytest.fixture
def store(tmp_path: Path, deck: Deck) -> Path:
    """A log with all that a log can have: whole hands, variants, replacements, damage, a torn tail."""
    store = tmp_path / "store"
    with LogWriter(store, deck.id) as log:
        log.append(everything(deck))
    path = log_path(store, deck.id)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[7::50] = [line[:60] + b"?" + line[61:] for line in lines[7::50]]
    path.write_bytes(b"".join(lines) + b'{"key"')
    return store


def everything(deck: Deck) -> list[Entry]:
    rng = random.Random(3)
    hand = [cards[0] for cards in deck.cards_by_category.values()][: deck.hand_size]
    queries = [*deck.plays_of_hand(hand), *(random_play(deck, rng) for _ in range(400))]
    made = []
    for number, query in enumerate(rng.sample(queries, len(queries))):
        source = rng.choice(["composer", "gemini", "strange"])
        made.append(entry(query, f"詩{number}", rng.choice([0, 0, 0, 1]), source))
        if number % 5 == 0:
            again = rng.choice(made)
            made.append(replace(again, response={"title": "再", "poem": f"{number}"}, cost_usd=0.1))
    return made


def everything_in(store: Path, deck: Deck) -> dict[str, list[tuple[bytes, bytes]]]:
    """Every database of an index that is built from nothing."""
    for path in store.glob("*.lmdb*"):
        path.unlink()
    with IndexWriter(store, deck):
        pass
    path = index_paths(store, deck.id)[-1]
    names = ("answers", "hands", "stock", "stocked", "meta")
    with lmdb.open(str(path), subdir=False, readonly=True, max_dbs=len(names)) as env:
        found = {}
        for name in names:
            database = env.open_db(name.encode(), create=False)
            with env.begin(db=database) as txn:
                found[name] = [(bytes(key), bytes(value)) for key, value in txn.cursor()]
    return found


def opened(batch: Batch) -> tuple[Batch, list[list[object]], list[list[object]]]:
    """A batch and what is packed in it: equal items need not be packed as equal bytes."""
    answers = [unpack([piece]) for piece in batch.answers]
    seats = [unpack([piece]) for piece in batch.seats]
    return replace(batch, answers=[], seats=[]), answers, seats


def test_who_reads_a_log_does_not_matter(
    store: Path, deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index is the same read by one process in one go, or by several in many parts on disk."""
    alone = everything_in(store, deck)
    assert all(alone.values())
    monkeypatch.setattr(batches, "RANGE", 20_000)
    monkeypatch.setattr(batches, "WORTH_READERS", 0)
    monkeypatch.setattr(batches, "READERS", 2)
    monkeypatch.setattr(index, "_PART", 10_000)
    monkeypatch.setattr(parts, "_HELD", 10_000)
    assert everything_in(store, deck) == alone
    assert not multiprocessing.active_children()
    # Nothing but the log, its lock and the index is left behind.
    assert {path.suffix for path in store.iterdir()} == {".jsonl", ".lock", ".lmdb", ".lmdb-lock"}


def test_batches_hold_every_line_once(
    store: Path, deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges meet at line ends, however long a line is, and a torn tail is in none of the batches."""
    path = log_path(store, deck.id)
    size = path.stat().st_size
    for length in (1, 1_000, 30_000, size * 2):
        monkeypatch.setattr(batches, "RANGE", length)
        spans = list(ranges(path, 0))
        assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == size
        read = list(read_batches(BatchReader(path, deck, 1), 0, 1))
        assert sum(batch.lines for batch in read) == path.read_bytes().count(b"\n")
        assert max(batch.end for batch in read) == size - len(b'{"key"')


def test_a_reader_that_is_killed_loses_nothing(
    store: Path, deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of processes that were killed are read by the one that is left, in their order."""
    monkeypatch.setattr(batches, "RANGE", 20_000)
    monkeypatch.setattr(batches, "WORTH_READERS", 0)
    reader = BatchReader(log_path(store, deck.id), deck, 3)
    alone = list(read_batches(reader, 0, 1))
    assert len(alone) > 6
    together = read_batches(reader, 0, 2)
    found = [next(together)]
    helpers = multiprocessing.active_children()
    assert len(helpers) == 2
    for helper in helpers:
        helper.kill()
        helper.join()
    found += together
    assert list(map(opened, found)) == list(map(opened, alone))


def test_a_reader_ends_with_the_process_that_asked_for_it(store: Path, deck: Deck) -> None:
    """Where a build is killed, no process of it is left."""
    words = (
        "import multiprocessing, sys; from pathlib import Path; from app.core import batches\n"
        "from app.core.deck import load_deck\n"
        "batches.RANGE, batches.WORTH_READERS = 20_000, 0\n"
        "reader = batches.BatchReader(Path(sys.argv[1]), load_deck(Path(sys.argv[2])), 1)\n"
        "for batch in batches.read_batches(reader, 0, 2):\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    assert deck.folder
    command = [sys.executable, "-c", words, str(log_path(store, deck.id)), str(deck.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as build:
        assert build.stdout
        helpers = [psutil.Process(int(pid)) for pid in build.stdout.readline().split()]
        assert len(helpers) == 2
        build.kill()
    _, left = psutil.wait_procs(helpers, timeout=30)
    assert not left


def test_what_is_sorted_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting holds a part and what has not gone to the disk yet, not all that there is."""
    monkeypatch.setattr(parts, "_HELD", 200_000)
    rng = random.Random(1)
    tracemalloc.start()
    last, size, count = b"", 0, 0
    with Parts(50, tmp_path) as sorted_parts:
        for _ in range(200):
            packed = pack([(rng.randbytes(16), bytes(1_000)) for _ in range(50)], 50)
            size += sum(map(len, packed))
            sorted_parts.add(packed)
        for part in sorted_parts:
            keys = [key for key, _ in part]
            assert keys == sorted(keys)
            assert last < keys[0]
            last, count = keys[-1], count + len(keys)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 10_000
    assert most < size / 5
    assert not list(tmp_path.iterdir())
