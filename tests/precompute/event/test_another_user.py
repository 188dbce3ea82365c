"""A bundle of one deck, unpacked by one account and served by another, with the settings it brings."""

from __future__ import annotations

import configparser
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.account import as_user, python_after
from tests.making import REPO, Precompute, environment, museum, serving

BROUGHT = {
    "TSUKURIOKI_DECK": "museum",
    "TSUKURIOKI_RADIUS": "0",
    "TSUKURIOKI_TIERS": "exact,template",
}
UNIT = REPO / "deploy" / "tsukurioki.service"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other accounts may enter, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def _unit() -> tuple[list[str], dict[str, str]]:
    """The command of the systemd unit, and the settings it makes."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text("utf-8"))
    service = unit["Service"]
    name, _, value = service["Environment"].partition("=")
    return shlex.split(service["ExecStart"]), {name: value}


@pytest.fixture
def release(place: Path) -> Path:
    """The data folder of a museum that was packed with settings, and unpacked under umask 077."""
    museum(place / "home" / "decks" / "museum")
    museum(place / "home" / "decks" / "other")
    home = Precompute({"TSUKURIOKI_DATA": place / "home", **BROUGHT})
    home("bundle", place / "event.tar", "--deck", "museum", TSUKURIOKI_DECK="other")
    (place / "booth").mkdir(0o700)
    done = subprocess.run(
        home.words("unpack", place / "event.tar", "--into", place / "booth" / "event"),
        cwd=place,
        env=environment(),
        umask=0o077,
        capture_output=True,
        text=True,
        check=True,
    )
    for name, value in BROUGHT.items():
        assert f"the bundle sets {name}={value}\n" in done.stdout
    # Who serves as another account is told what that account may not do.
    assert f"chown -R THAT-USER {(place / 'booth' / 'event' / 'ledger').resolve()}" in done.stdout
    assert f"other users cannot enter {(place / 'booth').resolve()}: chmod o+x" in done.stdout
    (place / "booth").chmod(0o755)
    return place / "booth" / "event" / "current" / "data"


@pytest.mark.parametrize("own", [{}, {"TSUKURIOKI_RADIUS": "2"}], ids=["alone", "overridden"])
def test_the_settings_that_travelled_are_used_and_shown(
    release: Path, own: dict[str, str], tmp_path: Path
) -> None:
    """The unit's command serves the bundle's deck, radius and tiers, as another account where one may."""
    command, made = _unit()
    assert made == {"TSUKURIOKI_DATA": "/srv/tsukurioki/event/current/data"}
    assert command[1:] == ["-m", "app"]
    words = [*(python_after(as_user(65534)) or [sys.executable]), *command[1:]]
    log = tmp_path / "server.log"
    with (
        serving({"TSUKURIOKI_DATA": release, **own}, log, words) as server,
        server.client() as client,
    ):
        told = client.get("/stats").json()
        assert list(told["decks"]) == ["museum", "recorded"]
        assert told["tiers"] == ["exact", "template"]
        assert client.get("/api/decks/museum/deal").status_code == 200
    shown = log.read_text()
    for name, value in (BROUGHT | own).items():
        assert f"{name}={value}" in shown
    assert ("TSUKURIOKI_RADIUS=2 here, not the bundle's 0" in shown) == bool(own)
    assert "Traceback" not in shown
    if words[0] != sys.executable:
        # As told: the ledger is still the other account's, which is one line and no more.
        assert "Permission denied" in shown
