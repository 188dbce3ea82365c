"""The shared state: one file for all workers, whatever happens to the file, the clock or a process."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from app.kinds.cards.wall import Flyer, Wall
from app.ledger.counters import Counters, kept_sums
from app.ledger.rate import RateLimit
from app.ledger.state import NAME, KeyedValues, State, _Connection
from app.ledger.tally import Tally, Use
from app.store.key import Query
from tests.making import REPO


class Clock:
    """Seconds of a wall clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def state_of(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], State]]:
    """Makes states of one folder, as workers do."""
    made: list[State] = []

    def make() -> State:
        made.append(State(tmp_path, clock))
        return made[-1]

    yield make
    for state in made:
        state.close()


def test_rows_are_bounded_and_forget(state_of: Callable[[], State], clock: Clock) -> None:
    """Two workers see one row; of too many rows the oldest goes; what is old reads as new."""
    one, other = (KeyedValues(state_of(), "t", 8, 4, 60.0) for _ in range(2))

    def write(row: bytearray) -> None:
        row[:] = b"abcd"

    one.change("a", write)
    assert other.change("a", bytes) == b"abcd"
    for number in range(1000):
        clock.now += 0.01
        one.change(str(number), bytes)
    assert one.count() <= 8 + 64
    assert one.change("a", bytes) == bytes(4)
    one.change("a", write)
    clock.now += 61
    assert one.count() == 0
    assert one.change("a", bytes) == bytes(4)


def test_a_rate_limit_says_when_to_come_back(state_of: Callable[[], State], clock: Clock) -> None:
    """A burst is let in, then one at a time as the minutes pass, for each key apart."""
    limit = RateLimit(state_of(), "t", 60, 3)
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 0]
    assert limit.wait("a") == pytest.approx(1.0)
    assert limit.wait("b") == 0
    clock.now += 1.0
    assert limit.wait("a") == 0
    assert limit.wait("a") > 0


@pytest.mark.parametrize("jump", [-10 * 86_400, -3600, 3600, 10 * 86_400])
def test_a_clock_that_jumps_keeps_nobody_out(
    state_of: Callable[[], State], clock: Clock, jump: float
) -> None:
    """After a reboot or a clock that was set, nobody waits for longer than the limit's own window."""
    limit = RateLimit(state_of(), "t", 6, 3)
    while limit.wait("a") == 0:
        continue
    clock.now += jump
    assert limit.wait("a") <= 10.0
    clock.now += 30
    assert limit.wait("a") == 0


def test_no_number_is_given_twice(state_of: Callable[[], State]) -> None:
    """Eight threads with states of their own deal every number once; another stock begins anew."""
    taken: list[int] = []
    lock = threading.Lock()

    def take() -> None:
        state = state_of()
        for _ in range(50):
            number = state.take_number("dealt d", 7)
            with lock:
                taken.append(number)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(400))
    assert state_of().taken("dealt d", 7) == 400
    assert state_of().take_number("dealt d", 9) == 0


def test_workers_that_begin_a_file_together_share_it(tmp_path: Path, clock: Clock) -> None:
    """However many open a new file in the same moment, none of them goes on alone."""
    for turn in range(20):
        state, together = State(tmp_path / str(turn), clock), threading.Barrier(8)

        def take(state: State = state, together: threading.Barrier = together) -> int:
            together.wait()
            number = state.take_number("poem", 37)
            state.close()
            return number

        with ThreadPoolExecutor(8) as pool:
            taken = [pool.submit(take) for _ in range(8)]
        assert sorted(number.result() for number in taken) == list(range(8))


def test_a_tally_adds_up_over_workers(state_of: Callable[[], State]) -> None:
    """Two who add to one tally lose nothing."""
    one, other = Tally(state_of(), "d"), Tally(state_of(), "d")
    for tally in (one, other, one):
        tally.add("2026-11-21", "rules", Use(100, 20))
    other.add("2026-11-21", "cloud", Use(100, 20, 300, 20, 0.000_14))
    rows = {row.tier: row for row in one.rows()}
    assert (rows["rules"].answers, rows["rules"].characters_in) == (3, 300)
    assert rows["cloud"].usd == pytest.approx(0.000_14)


def _count(folder: Path, times: int) -> None:
    counters = Counters(State(folder, Clock()), "run")
    for _ in range(times):
        counters.answered("d", "exact", 0.001)
    counters.flush()


def test_counters_add_up_over_processes(tmp_path: Path, clock: Clock) -> None:
    """What forked workers count is in the sums of their run, and in those of all runs."""
    context = multiprocessing.get_context("fork")
    counters = Counters(State(tmp_path, clock), "run")
    counters.answered("d", "exact", 0.001)
    workers = [context.Process(target=_count, args=(tmp_path, 500)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counters.by_tier("d")["exact"].answers == 2001
    Counters(State(tmp_path, clock), "another").fetched("d")
    assert sum(kept_sums(tmp_path, clock)["tsukurioki_answer_seconds", "d", "exact"][:-1]) == 2001


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=3),
    st.lists(st.floats(0, 20), min_size=1, max_size=9),
)
def test_prometheus_reads_every_count(texts: list[str], took: list[float]) -> None:
    """Whatever the labels' values are, Prometheus's own parser reads them and their counts back."""
    deck, tier, reason = texts
    counters = Counters(State(None, Clock()), "run")
    for seconds in took:
        counters.answered(deck, tier, seconds)
        counters.passed(deck, tier, "gate", reason)
    counters.refused(404)
    families = {f.name: f for f in text_string_to_metric_families(counters.exposition())}
    assert {(name, family.type) for name, family in families.items()} == {
        ("tsukurioki_answer_seconds", "histogram"),
        ("tsukurioki_refused_requests", "counter"),
        ("tsukurioki_fetched_answers", "counter"),
        ("tsukurioki_passed", "counter"),
    }
    (passed,) = families["tsukurioki_passed"].samples
    assert passed.labels == {"deck": deck, "tier": tier, "why": "gate", "reason": reason}
    assert passed.value == len(took)
    samples = families["tsukurioki_answer_seconds"].samples
    assert all((s.labels["deck"], s.labels["tier"]) == (deck, tier) for s in samples)
    found = {(s.name.rpartition("_")[2], s.labels.get("le")): s.value for s in samples}
    assert found["count", None] == found["bucket", "+Inf"] == len(took)
    assert found["sum", None] == pytest.approx(sum(took), abs=1e-6)
    for (what, edge), count in found.items():
        if what == "bucket":
            assert count == sum(seconds <= float(str(edge)) for seconds in took)


def test_reading_the_counts_of_others_writes_nothing(tmp_path: Path, clock: Clock) -> None:
    """A ledger without a state is read as one that counted nothing, and gets no file."""
    assert kept_sums(tmp_path, clock) == {}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_set_aside(tmp_path: Path, clock: Clock, seed: int) -> None:
    """However the file is harmed the state goes on, and what was there is kept under another name."""
    state = State(tmp_path, clock)
    for number in range(200):
        state.take_number(f"n{number}", 7)
    state.close()
    path, rng = tmp_path / NAME, Random(seed)
    whole = bytearray(path.read_bytes())
    harms: list[Callable[[], bytes]] = [
        lambda: b"no database at all" * 100,
        lambda: bytes(len(whole)),
        lambda: rng.randbytes(len(whole)),
        lambda: bytes(whole[: len(whole) // 2 + 13]),
        lambda: bytes(whole[:100]) + rng.randbytes(len(whole) - 100),
        lambda: bytes(b ^ (rng.random() < 0.05) for b in whole),
    ]
    harmed = harms[seed % len(harms)]()
    path.write_bytes(harmed)
    again = State(tmp_path, clock)
    for _ in range(3):
        assert again.take_number("new", 3) >= 0
    again.close()
    kept = [p.read_bytes() for p in tmp_path.iterdir() if "damaged" in p.name]
    assert harmed in kept or path.exists()
    fresh = State(tmp_path, clock)
    assert fresh.take_number("after", 3) == 0
    assert fresh.taken("after", 3) == 1
    fresh.close()


def use_all(folder: Path, clock: Clock) -> None:
    """Everything that is kept in the state, written and read."""
    state = State(folder, clock)
    counters, wall, tally = Counters(state, "run"), Wall(state), Tally(state, "d")
    counters.answered("d", "exact", 0.001)
    counters.passed("d", "local", "guard", "busy")
    counters.refused(404)
    counters.exposition()
    counters.by_tier("d")
    counters.passes("d")
    wall.hang(Flyer(Query.play("d", [("card", "phrase")]), 0, "now"))
    wall.flyers("d")
    tally.add("2026-01-01", "rules", Use(usd=0.5))
    list(tally.rows())
    state.take_number("dealt d", 7)
    RateLimit(state, "t", 60, 3).wait("a")
    kept_sums(folder, clock)
    state.close()


@pytest.mark.parametrize("count", [60, pytest.param(400, marks=pytest.mark.long)])
def test_values_that_nobody_wrote_are_damage(tmp_path: Path, clock: Clock, count: int) -> None:
    """Whichever bytes of the file are others, in its structure or in a value, everything that is
    kept in it can be read and written at once, in a file that is shared."""
    good, harmed = tmp_path / "good", tmp_path / "harmed"
    good.mkdir()
    use_all(good, clock)
    whole, rng = (good / NAME).read_bytes(), Random(count)
    written = [place for place, byte in enumerate(whole) if byte]
    aside = 0
    for number in range(count):
        shutil.rmtree(harmed, ignore_errors=True)
        harmed.mkdir()
        place, length = rng.choice(written), rng.choice((1, 1, 16))
        other = bytes(b ^ rng.randrange(1, 256) for b in whole[place : place + length])
        mutant = whole[:place] + other + whole[place + length :]
        (harmed / NAME).write_bytes(mutant)
        use_all(harmed, clock)
        state = State(harmed, clock)
        state.take_number("shared", 3)
        state.close()
        other_state = State(harmed, clock)
        assert other_state.taken("shared", 3) == 1, number
        other_state.close()
        aside += any(harmed.glob("*.damaged-*"))
    assert aside


def test_what_was_not_written_back_yet_is_set_aside_too(tmp_path: Path, clock: Clock) -> None:
    """Of a damaged file, what its write-ahead log holds is kept beside it."""
    state = State(tmp_path, clock)
    state.take_number("a", 3)
    with closing(sqlite3.connect(tmp_path / NAME)) as file, file:
        file.execute("UPDATE numbers SET next = 'x'")
    assert state.take_number("a", 3) == 0
    assert state.take_number("b", 3) == 0
    kept = tmp_path / f"{NAME}.damaged-1"
    with closing(sqlite3.connect(kept)) as file, file:
        assert file.execute("SELECT name, next FROM numbers").fetchall() == [("a", "x")]
    state.close()


def test_who_waits_for_a_busy_file_is_let_in(state_of: Callable[[], State]) -> None:
    """Where another worker has the file nearly all the time, whoever waits finds the gaps: no number
    is given twice, as it would be if a process went on alone."""
    waiting, busy = state_of(), state_of()
    held, done = threading.Event(), threading.Event()

    def work(file: sqlite3.Connection) -> None:
        held.set()
        done.wait(0.015)
        held.clear()

    def hold() -> None:
        while not done.wait(0.001):
            busy.run(work)
        busy.close()

    holder = threading.Thread(target=hold)
    holder.start()
    taken = []
    for _ in range(20):
        held.wait()
        taken.append(waiting.take_number("a", 3))
    done.set()
    holder.join()
    assert taken == list(range(20))
    assert state_of().taken("a", 3) == 20


def test_a_locked_file_is_waited_for_once(
    state_of: Callable[[], State], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the file, only the first transaction waits for it: what was there is
    read at once, and values that are changed meanwhile are kept, and are in the file afterwards."""
    state, other = state_of(), state_of()
    rows, others = (KeyedValues(one, "t", 8, 4, 60.0) for one in (state, other))
    tries = list[str]()

    def execute(file: _Connection, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "BEGIN IMMEDIATE":
            tries.append(statement)
        return sqlite3.Connection.execute(file, statement, *values)

    def write(value: bytes) -> Callable[[bytearray], None]:
        def change(row: bytearray) -> None:
            row[:] = value

        return change

    rows.change("a", write(b"old1"))
    rows.change("b", write(b"old2"))
    with closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(_Connection, "execute", execute)
        assert rows.read("a") == b"old1"
        assert not tries
        clock.now += 1
        rows.change("a", write(b"new1"))
        first = len(tries)
        clock.now += 1
        rows.change("a", write(b"new3"))
        state.add_sums("s", {"n": [1]})
        rows.read("b")
        assert len(tries) - first < first / 5
        assert rows.read("a") == b"new3"
        assert rows.read("b") == b"old2"
        lock.execute("COMMIT")
    others.change("b", write(b"new2"))
    rows.change("c", bytes)
    assert others.read("a") == rows.read("a") == b"new3"
    assert rows.read("b") == b"new2"


def test_a_fault_of_the_work_is_no_damage(tmp_path: Path, clock: Clock) -> None:
    """What fails with any file is raised, and the file stays where it is."""
    state = State(tmp_path, clock)
    state.take_number("a", 3)
    works: tuple[Callable[[sqlite3.Connection], object], ...] = (
        lambda file: file.execute("SELECT 1").fetchall()[1],
        lambda file: file.execute("SELECT nothing FROM nowhere"),
    )
    for work in works:
        with pytest.raises((IndexError, sqlite3.OperationalError)):
            state.run(work)
    assert state.taken("a", 3) == 1
    assert not list(tmp_path.glob("*.damaged-*"))
    state.close()


@pytest.mark.parametrize("place", ["file", "read_only", "folder_at_name"])
def test_without_a_file_each_goes_on_alone(tmp_path: Path, clock: Clock, place: str) -> None:
    """If the folder cannot be written, or is none, a process keeps a state of its own."""
    folder = tmp_path / "ledger"
    if place == "file":
        folder.write_text("in the way")
    else:
        folder.mkdir()
        if place == "folder_at_name":
            (folder / NAME).mkdir()
        elif os.geteuid() == 0:
            pytest.skip("root may write into a read-only folder")
        else:
            folder.chmod(0o555)
    state = State(folder, clock)
    assert [state.take_number("n", 3) for _ in range(3)] == [0, 1, 2]


_FULL = """
import resource, sys, time
from pathlib import Path
from app.ledger.state import State
state = State(Path(sys.argv[1]), time.time)
state.take_number("n", 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
print([state.take_number("n", 3) for _ in range(2000)][-1] > 0)
"""


def test_trouble_is_told_once_a_minute(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Many failures in a row are one line in the log, and another one while they go on."""
    (tmp_path / NAME).mkdir()
    state = State(tmp_path, clock)
    for _ in range(20):
        state.take_number("poem", 37)
    clock.now += 61
    state.take_number("poem", 37)
    assert caplog.text.count("the state is not shared") == 2


def test_sums_wait_for_the_file(tmp_path: Path, clock: Clock) -> None:
    """What is added while the file is locked or cannot be made is seen at once and shared later."""
    state, other = State(tmp_path, clock), State(tmp_path, clock)
    state.add_sums("t", {"a": [1, 2]})
    lock = sqlite3.connect(tmp_path / NAME, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    state.add_sums("t", {"a": [10, 20], "b": [5]})
    lock.execute("COMMIT")
    lock.close()
    assert state.sums("t") == {"a": [11, 22], "b": [5]}
    assert other.sums("t") == {"a": [1, 2]}
    (tmp_path / NAME).rename(tmp_path / "away")
    (tmp_path / NAME).mkdir()
    state.add_sums("t", {"b": [1]})
    assert state.sums("t") == {"a": [10, 20], "b": [6]}
    (tmp_path / NAME).rmdir()
    state.add_sums("t", {"a": [1, 1]})
    assert other.sums("t") == {"a": [11, 21], "b": [6]}
    state.close()
    other.close()


def test_a_full_disk_stops_nobody(tmp_path: Path) -> None:
    """When the file cannot grow any more, numbers are still given and nothing is raised."""
    command = [sys.executable, "-c", _FULL, str(tmp_path)]
    ended = subprocess.run(
        command, cwd=REPO, capture_output=True, text=True, check=True,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )  # fmt: skip
    assert ended.stdout == "True\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)


_KILLED = """
import sys, time
from pathlib import Path
from app.ledger.state import State
state = State(Path(sys.argv[1]), time.time)
while True:
    print(state.take_number("n", 3), flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_said(tmp_path: Path, clock: Clock) -> None:
    """A process is killed at many moments: every number that it gave counts as given."""
    last = -1
    for moment in range(8):
        command = [sys.executable, "-c", _KILLED, str(tmp_path)]
        with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for _ in range(20 * moment + 1):
                number = int(process.stdout.readline())
                assert number > last
                last = number
            process.kill()
            rest = process.stdout.read().splitlines()
        last = max([last, *(int(line) for line in rest if line.isdigit())])
        state = State(tmp_path, clock)
        assert state.taken("n", 3) > last
        last = max(last, state.taken("n", 3) - 1)
        state.close()
    with closing(sqlite3.connect(tmp_path / NAME)) as file, file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("harm", ["deleted", "replaced", "damaged"])
def test_workers_meet_again_after_the_file_was_harmed(
    state_of: Callable[[], State], tmp_path: Path, harm: str
) -> None:
    """If the open file is deleted, replaced or damaged, all workers soon share one file again."""
    states = [state_of() for _ in range(6)]
    for state in states:
        state.take_number("a", 9)
    for tail in ("-wal", "-shm"):
        (tmp_path / (NAME + tail)).unlink()
    if harm == "deleted":
        (tmp_path / NAME).unlink()
    else:
        new = tmp_path / "new"
        new.write_bytes(Random(4).randbytes(32_768) if harm == "damaged" else b"")
        new.rename(tmp_path / NAME)
    for state in states:
        state.taken("b", 9)
    taken = [state.take_number("b", 9) for state in (*states, state_of())]
    assert taken == list(range(7))
    assert len(list(tmp_path.glob("*.damaged-*"))) == (harm == "damaged")
