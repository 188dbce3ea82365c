"""Settings that there are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from tests.making import REPO, environment

STARTS = {
    "server": ["-m", "app"],
    "wsgi": ["-c", "import wsgi"],
    "precompute": ["-m", "precompute", "stats"],
}


@pytest.mark.parametrize("start", STARTS)
def test_a_setting_that_is_none_is_told_in_one_line(start: str, tmp_path: Path) -> None:
    """A setting that an earlier version had, or that is misspelt, is named at the start and ignored, with the nearest."""
    environ = environment(
        TSUKURIOKI_DATA=tmp_path,
        # Ends each of them in the same way, without a server to stop.
        TSUKURIOKI_WORKERS="none",
        TSUKURIOKI_THREADS=4,
        TSUKURIOKI_CHAT_SEED=7,
        TSUKURIOKI_PROT=8001,
        GEMINI_NONE="not ours",
    )
    told = subprocess.run(
        [sys.executable, *STARTS[start]], cwd=REPO, env=environ, capture_output=True, text=True, check=False
    )  # fmt: skip
    first, *rest = told.stderr.splitlines()
    names = (
        "TSUKURIOKI_CHAT_SEED, TSUKURIOKI_PROT (did you mean TSUKURIOKI_PORT?), TSUKURIOKI_THREADS"
    )
    assert first.endswith(
        f"no such setting, ignored: {names}; docs/settings.md lists what there is"
    )
    assert len(rest) == 1
    assert "TSUKURIOKI_WORKERS='none'" in rest[0]


def test_a_setting_that_is_none_changes_nothing() -> None:
    """Settings are read from the names of the table only."""
    assert Settings.read({"TSUKURIOKI_THREADS": "no number"}) == Settings.read({})


def test_the_server_takes_no_arguments() -> None:
    """An option that the server does not have is refused with what to do, before anything is loaded."""
    told = subprocess.run(
        [sys.executable, "-m", "app", "--port", "5377"],
        cwd=REPO, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 2
    assert "TSUKURIOKI_PORT" in told.stderr
    assert len(told.stderr.splitlines()) == 1
