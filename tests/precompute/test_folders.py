"""Folders that are files, or that the account may not read: one sentence, whatever the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from precompute.cli import main
from tests.making import DECKS, PATIENCE, REPO, environment

NOBODY = 65534
FOLDERS = ("TSUKURIOKI_DATA", "TSUKURIOKI_DECKS", "TSUKURIOKI_STORE", "TSUKURIOKI_LEDGER")
COMMANDS = (
    "stats",
    "stats --deck harbour",
    "build --n 6",
    "build --deck harbour --strategy misses",
    "check",
    "check --repair",
    "rehearse --plays 3",
    "bundle {folder}/event.tar",
    "export --format trl --out {folder}/rows.jsonl",
    "new-deck mine --language en --hand 3",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two decks and a small store, which the settings name."""
    for name in set(os.environ) - set(environment()):
        monkeypatch.delenv(name)
    data = tmp_path / "data"
    for name in ("poem", "harbour"):
        shutil.copytree(DECKS / name, data / "decks" / name)
    (data / "ledger").mkdir()
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TSUKURIOKI_DATA", str(data))
    assert main(["build", "--n", "3"]) == 0
    return tmp_path


def said(command: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """A command's exit status and the lines of its stderr; an exception that escapes fails the test."""
    capfd.readouterr()
    status = main(command.format(folder=folder).split())
    lines = capfd.readouterr().err.splitlines()
    return status, [line for line in lines if not line.startswith("provider: ")]


@pytest.mark.parametrize("below", ["", "/and/more"])
@pytest.mark.parametrize("setting", FOLDERS)
def test_a_file_in_the_place_of_a_folder_is_named(
    setting: str,
    below: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A folder that is a file, or stands in one, is told in one line, by every command; status 2."""
    file = folder / "file"
    file.write_text("no folder")
    monkeypatch.setenv(setting, f"{file}{below}")
    for command in COMMANDS:
        status, lines = said(command, folder, capfd)
        assert (status, len(lines)) == (2, 1), command
        assert f"{setting}=" in lines[0]
        assert f"expected a folder; {file} is a file" in lines[0]
    if below:
        return
    server = subprocess.run(
        [sys.executable, "-m", "app"], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert server.returncode == 2
    assert server.stderr.splitlines()[-1].startswith(f"tsukurioki: {setting}=")
    assert "Traceback" not in server.stderr


@contextmanager
def another_user() -> Iterator[None]:
    """What follows is done as an account that is not root, for which modes of files mean nothing."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def may_be_entered(folder: Path) -> None:
    """Let other accounts enter a folder of pytest, which is the tester's alone."""
    for path in (folder, *folder.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o011)


@pytest.mark.parametrize(
    "closed",
    [
        ".",
        "ledger",
        "store",
        "store/poem.jsonl",
        "decks",
        "decks/poem",
        "decks/poem/cards.json",
        "decks/harbour/lines.json",
    ],
)
def test_what_may_not_be_read_is_one_sentence(
    closed: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """No command shows a traceback; what fails says in one line what could not be read."""
    may_be_entered(folder)
    data = folder / "data"
    for path in (folder, data, *data.rglob("*")):
        os.chown(path, NOBODY if not os.geteuid() else -1, -1)
    target = data / closed
    mode = target.stat().st_mode
    target.chmod(0)
    told = 0
    try:
        with another_user():
            for command in COMMANDS:
                status, lines = said(command, folder, capfd)
                assert status in {0, 1, 2}, command
                assert "Traceback" not in "".join(lines)
                faults = [line for line in lines if line.startswith("precompute: ")]
                if status == 2:
                    assert len(faults) == 1, (command, lines)
                    assert str(folder) in faults[0]
                    told += 1
    finally:
        target.chmod(mode)
    # Without a deck, a store or a ledger not much is left.
    assert told >= 2


@pytest.mark.parametrize(
    ("room", "library", "step"),
    [
        ("precompute", "click", "pip install 'tsukurioki[tools]'"),
        ("precompute", "rich.console", "pip install 'tsukurioki[tools]'"),
        ("precompute", "lmdb", "pip install 'tsukurioki[tools]'"),
        ("app", "granian", "pip install ."),
        ("app", "orjson", "pip install ."),
        ("app", "lmdb", "pip install ."),
    ],
)
@pytest.mark.parametrize("broken", [False, True], ids=["missing", "of another Python"])
def test_a_library_that_is_not_there_is_one_sentence(
    room: str, library: str, step: str, broken: bool, tmp_path: Path
) -> None:
    """After a plain `pip install .`, or with wheels of another Python or machine: one line, status 2."""
    fake = tmp_path / library.replace(".", "/")
    fake.mkdir(parents=True)
    # What the loader says of a compiled module that was made for another machine.
    told = f"{library}.so: cannot open shared object file"
    kind = "ImportError" if broken else "ModuleNotFoundError"
    (fake / "__init__.py").write_text(f"raise {kind}({told!r}, name={library!r})\n")
    if "." in library:
        (fake.parent / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", room, *(["stats"] if room == "precompute" else [])],
        cwd=REPO,
        env=environment(TSUKURIOKI_DATA=tmp_path, PYTHONPATH=tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"{'tsukurioki' if room == 'app' else room}: {told}")
    assert step in done.stderr


@pytest.mark.parametrize(("room", "program"), [("precompute", "precompute"), ("app", "tsukurioki")])
def test_ctrl_c_while_modules_are_loaded_is_one_sentence(
    room: str, program: str, tmp_path: Path
) -> None:
    """Who changes his mind at once gets a line and status 130, no traceback of an import."""
    fake = tmp_path / "lmdb"
    fake.mkdir()
    (fake / "__init__.py").write_text("raise KeyboardInterrupt\n")
    done = subprocess.run(
        [sys.executable, "-m", room],
        cwd=REPO,
        env=environment(TSUKURIOKI_DATA=tmp_path, PYTHONPATH=tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, f"{program}: stopped before it had begun\n")
