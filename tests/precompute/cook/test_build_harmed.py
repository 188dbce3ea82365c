"""Builds that are killed, stopped, locked out or run out of room: nothing cooked is lost."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.store.log import LogWriter, Record, log_path, read_log
from tests.making import REPO, Precompute, environment, row, wait_for

N = 1300


@pytest.fixture
def precompute(tmp_path: Path, poem_alone: Path) -> Precompute:
    """Runs `precompute` on the poem deck alone."""
    return Precompute({"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_DECKS": poem_alone})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return log_path(tmp_path / "data" / "store", "poem")


def size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def whole_lines(log: Path) -> list[bytes]:
    """The lines of a log that end, each of them an entry."""
    if not log.exists():
        return []
    lines = [line for line in log.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert all(isinstance(item, Record) for item in list(read_log(log))[: len(lines)])
    return lines


def finished(precompute: Precompute, log: Path, n: int = N) -> None:
    """A further build completes the plan: n entries, none twice, index and log agree."""
    precompute("build", "--n", n)
    records = [item.entry for item in read_log(log) if isinstance(item, Record)]
    assert len(records) == len({(e.key, e.variant) for e in records}) == n
    assert "\n0 errors" in precompute("check").stdout
    told = orjson.loads(precompute("stats", "--json").stdout)
    assert (told["store"]["entries"], told["store"]["damaged_lines"]) == (n, 0)


@pytest.mark.long
def test_killed_at_many_moments_nothing_is_lost(
    precompute: Precompute, log: Path, poem: Deck
) -> None:
    """SIGKILL while building, again and again: what was appended stays, the rest is cooked once."""
    rng = random.Random(11)
    killed = 0
    for _ in range(6):
        before = whole_lines(log)
        target = size(log) + rng.choice([0, 1, rng.randint(1, 100_000), rng.randint(1, 250_000)])
        process = precompute.start("build", "--n", N)

        def ripe(process: subprocess.Popen[str] = process, target: int = target) -> bool:
            return process.poll() is not None or size(log) > target

        wait_for(ripe, "the log to grow")
        if rng.random() < 0.3:
            # Within the index's writing, which comes last, or within the next batch.
            wait_for(lambda p=process: p.poll() is not None or rng.random() < 0.2, "chance")
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        after = whole_lines(log)
        assert after[: len(before)] == before
    assert killed >= 2
    finished(precompute, log)
    gate = Gate.of(poem)
    for item in read_log(log):
        assert isinstance(item, Record)
        assert gate.examine(item.entry.query, item.entry.response) is None


def test_what_build_reported_survives_a_kill_of_the_next(precompute: Precompute, log: Path) -> None:
    """Entries that a build has told of are in the store whatever becomes of the next build."""
    said = precompute("build", "--n", 270)
    assert row(said.stdout, "cooked") == "270"
    told = whole_lines(log)
    process = precompute.start("build", "--n", N)
    wait_for(lambda: size(log) > sum(map(len, told)), "the log to grow")
    process.kill()
    process.communicate()
    assert whole_lines(log)[:270] == told
    finished(precompute, log)


def test_ctrl_c_keeps_everything_and_says_so(precompute: Precompute, log: Path) -> None:
    """SIGINT ends a build with a sentence and status 130; the index has what the log has."""
    process = precompute.start("build", "--n", 20_000)
    wait_for(lambda: process.poll() is not None or size(log) > 100_000, "the log to grow")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.strip().splitlines()[-1] == (
        "precompute: stopped; what was cooked is kept, run the same again"
    )
    kept = len(whole_lines(log))
    assert kept >= 80
    told = orjson.loads(precompute("stats", "--json").stdout)
    assert told["store"]["entries"] == kept
    assert "\n0 errors" in precompute("check").stdout
    # An answer that was refused may be cooked after later ones: the first of the plan are not all there.
    again = precompute("build", "--n", kept).stdout
    there, cooked = (int(row(again, name).replace(",", "")) for name in ("already there", "cooked"))
    assert there + cooked == kept
    entries = orjson.loads(precompute("stats", "--json").stdout)["store"]["entries"]
    assert entries == kept + cooked


def test_two_builds_at_once(precompute: Precompute, log: Path, tmp_path: Path) -> None:
    """While one process writes, another build is told so in a line and exits 2; stats still work."""
    precompute("build", "--n", 27)
    with LogWriter(tmp_path / "data" / "store", "poem"):
        said = precompute("build", "--n", 54, status=2)
        assert said.stderr.splitlines()[-1] == (
            f"precompute: {log}: another process is writing to this store; wait until it has ended"
        )
        assert precompute("check", "--repair", status=2).stdout == ""
        assert orjson.loads(precompute("stats", "--json").stdout)["store"]["entries"] == 27
    finished(precompute, log, 54)


@pytest.mark.long
@pytest.mark.parametrize("room", [30_000, 150_000, 400_000])
def test_a_limit_on_files_is_a_full_disk(precompute: Precompute, log: Path, room: int) -> None:
    """Where files may not grow further, a build says so, exits 2 and keeps every whole batch."""
    done = subprocess.run(
        precompute.words("build", "--n", 540),
        env=environment(**precompute.settings),
        cwd=REPO,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("precompute: ")
    assert size(log) <= room
    kept = whole_lines(log)
    assert sum(map(len, kept)) == size(log)
    finished(precompute, log, 540)
    assert whole_lines(log)[: len(kept)] == kept


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of two megabytes as the data folder, where this account may mount one."""
    folder = tmp_path / "data"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(precompute: Precompute, log: Path, small_disk: Path) -> None:
    """On a disk that fills up a build exits 2 with a sentence; with room again it completes."""
    said = precompute("build", "--n", 20_000, status=2)
    assert said.stderr.splitlines()[-1].startswith("precompute: ")
    kept = whole_lines(log)
    assert len(kept) >= 100
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    finished(precompute, log)
    assert whole_lines(log)[: len(kept)] == kept


def test_a_read_only_store(precompute: Precompute, log: Path, small_disk: Path) -> None:
    """On a read-only disk build exits 2; stats, check and rehearse work or say why not."""
    precompute("build", "--n", 54)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = precompute("build", "--n", 81, status=2)
    assert "cannot be written: Read-only file system" in said.stderr
    assert orjson.loads(precompute("stats", "--json").stdout)["store"]["entries"] == 54
    assert "\n0 errors" in precompute("check").stdout
    assert "Read-only" in precompute("rehearse", "--plays", 5, status=2).stderr
