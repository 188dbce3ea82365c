"""The container's files name what is there; its command serves from a read-only tree, not as root.

No container engine is run here: the files are read, and what they say is done without one.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from dockerfile_parse import DockerfileParser

from app.kinds.cards.deck import Deck
from app.settings import TABLE, Settings
from precompute.cli import cli
from tests.account import as_user, python_after
from tests.making import DECKS, REPO, Precompute, environment, serving, vote

HOME = "/srv/tsukurioki"
USER = 10001


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and their values."""
    with (REPO / "Dockerfile").open("rb") as file:
        parsed = DockerfileParser(fileobj=file)
        return [
            (s["instruction"], s["value"])
            for s in parsed.structure
            if s["instruction"] != "COMMENT"
        ]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((REPO / "compose.yaml").read_text("utf-8"))
    return value


def _environment(steps: list[tuple[str, str]]) -> dict[str, str]:
    pairs = (value.partition("=") for name, value in steps if name == "ENV")
    return {name: value for name, _, value in pairs}


def _last(steps: list[tuple[str, str]], instruction: str) -> str:
    return [value for name, value in steps if name == instruction][-1]


def _health(steps: list[tuple[str, str]]) -> list[str]:
    words: list[str] = ast.literal_eval(_last(steps, "HEALTHCHECK").partition("CMD ")[2])
    return words


def test_what_is_copied_is_there_and_enough_to_install(steps: list[tuple[str, str]]) -> None:
    """Each path that is copied exists and is let through, and all that pyproject.toml names is copied."""
    ignored = (REPO / ".dockerignore").read_text("utf-8").split()
    assert ignored[0] == "*"
    copied: list[str] = []
    for name, value in steps:
        if name == "COPY" and not value.startswith("--from=build"):
            copied += value.split()[:-1]
    for path in copied:
        assert (REPO / path).exists(), path
        assert f"!{path}" in ignored
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))
    tools = project["tool"]["setuptools"]
    needed = [project["project"]["readme"], *project["project"]["license-files"]]
    needed += [f"{module}.py" for module in tools["py-modules"]]
    needed += [pattern.rstrip("*") for pattern in tools["packages"]["find"]["include"]]
    for path in needed:
        assert path.split("/")[0] in copied
    installed = next(value for name, value in steps if name == "RUN" and ".[" in value)
    extras = installed.partition(".[")[2].partition("]")[0].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    low, high = (
        int(bound.partition("3.")[2]) for bound in project["project"]["requires-python"].split(",")
    )
    for name, value in steps:
        if name == "FROM":
            assert low <= int(value.partition("python:3.")[2].partition("-")[0]) < high


def test_every_setting_and_command_is_known(
    steps: list[tuple[str, str]], compose: dict[str, Any]
) -> None:
    """Settings are settings with valid values, commands are commands, ports and volumes agree."""
    known = {row.name for row in TABLE}
    made = {name: value for name, value in _environment(steps).items() if name != "PATH"}
    assert set(made) <= known
    service = compose["services"]["tsukurioki"]
    assert set(service["environment"]) <= known
    settings = Settings.read(made)
    assert settings.host == "0.0.0.0"
    assert str(settings.ledger) == f"{HOME}/ledger" == _last(steps, "VOLUME")
    assert service["volumes"] == [f"ledger:{settings.ledger}"]
    assert set(compose["volumes"]) == {"ledger"}
    assert service["ports"] == [f"127.0.0.1:{settings.port}:{_last(steps, 'EXPOSE')}"]
    cook = next(value for name, value in steps if name == "RUN" and "precompute" in value)
    words = cook.partition(" && ")[0].split()
    assert words[0] == "precompute"
    cli.load()
    options = {option for param in cli.commands[words[1]].params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_it_is_not_root_and_writes_the_ledger_alone(
    steps: list[tuple[str, str]], compose: dict[str, Any]
) -> None:
    """A numeric user that is not root, a read-only tree, no capabilities; Valkey only where asked for."""
    assert _last(steps, "USER") == f"{USER}:{USER}"
    after = steps[[name for name, _ in steps].index("USER") :]
    assert not [value for name, value in after if name in {"RUN", "COPY", "ADD"}]
    owned = " ".join(value for name, value in steps if name == "RUN").partition("chown ")[2]
    assert owned.split() == [f"{USER}:{USER}", "ledger"]
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert compose["services"]["valkey"]["profiles"] == ["valkey"]
    assert "profiles" not in compose["services"]["tsukurioki"]
    address = Settings.read({"TSUKURIOKI_STORE": "redis://valkey:6379/0"})
    assert address.redis.startswith("redis://valkey:")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other accounts may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _read_only(ledger: Path, scratch: Path) -> list[str]:
    """The words that start a program as the image's user, in a tree where only the ledger is written."""
    script = (
        f"mount --make-rprivate / && mount --bind {ledger} {ledger} "
        f"&& mount -t tmpfs -o mode=1777 tmpfs {scratch} && mount -o remount,bind,ro / "
        '&& exec "$@"'
    )
    words = as_user(USER)
    return (
        ["unshare", "--mount", "sh", "-c", script, "sh", *words, f"TMPDIR={scratch}"]
        if words
        else []
    )


def test_the_command_serves_from_a_read_only_tree(
    steps: list[tuple[str, str]], place: Path, poem: Deck, tmp_path: Path
) -> None:
    """The image's command, user and settings: answers and votes, a health check that says 0, then 1."""
    (place / "data").mkdir()
    (place / "data" / "decks").symlink_to(DECKS)
    for name in ("ledger", "tmp"):
        (place / name).mkdir()
    Precompute({"TSUKURIOKI_DATA": place / "data"})("build", "--provider", "written", "--n", 27)
    ledger = place / "ledger"
    words = python_after(_read_only(ledger, place / "tmp"))
    if not words:
        pytest.skip("a read-only tree needs root, unshare, mount, and a Python that all may run")
    os.chown(ledger, USER, USER)
    # A file elsewhere cannot be written there.
    wrong = [*words, "-c", f"open({str(place / 'data' / 'x')!r}, 'w')"]
    assert b"Read-only" in subprocess.run(wrong, cwd=REPO, capture_output=True, check=False).stderr
    made = {name: value.replace(HOME, str(place)) for name, value in _environment(steps).items()}
    made = {name: value for name, value in made.items() if name != "PATH"}
    made["TSUKURIOKI_HOST"] = "127.0.0.1"
    command = orjson.loads(_last(steps, "CMD"))
    assert command[0] == _health(steps)[0] == "python"
    health = [sys.executable, *_health(steps)[1:]]
    log = tmp_path / "server.log"
    with serving(made, log, [*words, *command[1:]]) as server:
        alive = environment(TSUKURIOKI_PORT=server.url.rpartition(":")[2])
        assert subprocess.run(health, env=alive, check=False).returncode == 0
        with server.client() as client:
            cards = client.get("/api/decks/poem/deal").json()
            assert cards["mode"] == "stocked"
            hand = [{"card": c["id"], "phrase": c["poems"][0]["id"]} for c in cards["cards"]]
            answer = client.post("/api/decks/poem/answer", json={"hand": hand})
            assert answer.json()["tier"] in {"exact", "same_hand"}
            assert vote(client, answer, "up", "somebody") == 204
    assert [path for path in ledger.glob("poem.votes*") if path.stat().st_uid == USER]
    assert "Traceback" not in log.read_text()
    dead = subprocess.run(health, env=alive, capture_output=True, check=False)
    assert dead.returncode == 1
