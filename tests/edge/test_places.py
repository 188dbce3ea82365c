"""A folder, a pipe, a device or a link in the place of a file: the server goes on without the file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.making import REPO, Precompute, environment, vote

FILES = (
    "ledger/poem.jsonl",
    "ledger/poem.1.jsonl",
    "ledger/poem.votes.jsonl",
    "ledger/state.sqlite",
    "ledger/ballots.key",
    "ledger/local.lock",
    "store/poem.lock",
    "store/poem.rehearsal.json",
)
PLACES: dict[str, Callable[[Path], object]] = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "loop": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture(params=list(PLACES))
def harmed(request: pytest.FixtureRequest, precompute: Precompute, poem_alone: Path) -> Path:
    """A data folder with answers, and in the place of each file beside them something else."""
    precompute("build", "--n", 27, TSUKURIOKI_DECKS=poem_alone)
    data = Path(str(precompute.settings["TSUKURIOKI_DATA"]))
    (data / "ledger").mkdir(exist_ok=True)
    for name in FILES:
        (data / name).unlink(missing_ok=True)
        PLACES[request.param](data / name)
    return data


def test_a_server_goes_on_without_its_files(
    harmed: Path, serve: Serve, poem_alone: Path, tmp_path: Path
) -> None:
    """Whatever stands where a file of the ledger should be, answers, votes, deals, the wall and the
    figures go on in every worker, and the log says what is wrong without a traceback."""
    server = serve(TSUKURIOKI_DECKS=poem_alone, TSUKURIOKI_WORKERS=2)
    for number in range(6):
        # A connection each, so that both workers are asked.
        with server.client() as client:
            cards = client.get("/api/decks/poem/deal?mode=random").json()["cards"]
            hand = [{"card": card["id"], "phrase": card["poems"][0]["id"]} for card in cards]
            answer = client.post("/api/decks/poem/answer", json={"hand": hand})
            assert answer.status_code == 200
        with server.client() as client:
            assert vote(client, answer, "up", f"visitor {number}") == 204
            assert client.post("/api/wall", json={"hand": hand}).status_code == 204
            for path in ("/api/wall", "/stats", "/metrics", "/healthz", "/api/decks/poem/deal"):
                assert client.get(path).status_code == 200, path
    told = (tmp_path / "server-0.log").read_text()
    assert "Traceback" not in told
    assert f"{harmed / 'ledger/poem.votes.jsonl'}: a line is lost" in told


@pytest.mark.long
def test_commands_name_what_is_in_the_place_of_a_file(
    harmed: Path, precompute: Precompute, poem_alone: Path
) -> None:
    """No command waits for it; one that needs the file ends with a sentence that names it."""
    lock = harmed / "store" / "poem.lock"
    for words in (["check"], ["stats"]):
        precompute(*words, TSUKURIOKI_DECKS=poem_alone)

    def refusal(*words: object) -> str:
        told = precompute(*words, status=2, TSUKURIOKI_DECKS=poem_alone).stderr
        return told.splitlines()[-1]

    assert f"{lock}: " in refusal("check", "--repair")
    assert f"{lock}: " in refusal("build", "--n", 30)
    lock.rmdir() if lock.is_dir() else lock.unlink()
    assert "ledger/poem." in refusal("build", "--strategy", "misses", "--n", 5)
    log = harmed / "store" / "poem.jsonl"
    log.replace(log.with_name("kept"))
    (harmed / "ledger" / "poem.jsonl").rename(log)
    for line in ("check", "check --repair", "build --n 30"):
        assert f"{log}: " in refusal(*line.split())


@pytest.mark.parametrize("name", ["ledger", "store"])
@pytest.mark.parametrize("place", ["loop"])
def test_a_server_goes_on_without_its_folders(
    tmp_path: Path, serve: Serve, poem_alone: Path, name: str, place: str
) -> None:
    """Where the ledger's or the store's folder cannot be looked at, plays are answered."""
    (tmp_path / "data").mkdir()
    folder = tmp_path / "data" / name
    PLACES[place](folder)
    settings = {f"TSUKURIOKI_{name.upper()}": folder}
    with serve(TSUKURIOKI_DECKS=poem_alone, **settings).client() as client:
        cards = client.get("/api/decks/poem/deal").json()["cards"]
        hand = [{"card": card["id"], "phrase": card["poems"][0]["id"]} for card in cards]
        answer = client.post("/api/decks/poem/answer", json={"hand": hand})
        assert answer.status_code == 200
        assert vote(client, answer, "up", "visitor") == 204
        assert client.get("/stats").status_code == 200
    assert "Traceback" not in (tmp_path / "server-0.log").read_text()


@pytest.mark.parametrize("name", ["ledger", "store"])
@pytest.mark.parametrize("place", ["pipe", "device", "long name"])
def test_what_is_no_folder_is_told_at_the_start(
    tmp_path: Path, poem_alone: Path, name: str, place: str
) -> None:
    """What can be no folder, in the place of the ledger's or the store's, is one line that names it."""
    (tmp_path / "data").mkdir()
    folder = tmp_path / "data" / (name if place in PLACES else "x" * 300)
    if place in PLACES:
        PLACES[place](folder)
    settings = {"TSUKURIOKI_DECKS": poem_alone, f"TSUKURIOKI_{name.upper()}": folder}
    ended = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=REPO,
        env=environment(TSUKURIOKI_DATA=tmp_path / "data", **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("tsukurioki: ")
    assert str(folder) in line
