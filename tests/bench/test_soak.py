"""The service under everything at once for a minute: `make soak` runs it for an hour."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.making import REPO


@pytest.mark.long
@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset is missing: util-linux")
def test_nothing_fails_and_nothing_grows_in_a_minute() -> None:
    """Thirty visitors, builds and killed workers: every request is answered, and memory, files and disk stay."""
    words = ("--minutes", "1", "--connections", "30", "--build-every", "12", "--kill-every", "20")
    ended = subprocess.run(
        [sys.executable, "-m", "bench.soak", *words],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
