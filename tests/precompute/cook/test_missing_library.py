"""What `make demo` installs is less than what every provider needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.making import REPO, environment

# A module that stands in sys.modules as None cannot be imported, as if it were not installed.
WITHOUT = (
    "import sys; sys.modules[{!r}] = None; from precompute.cli import main; sys.exit(main({!r}))"
)


@pytest.mark.parametrize(
    ("provider", "library", "extra"),
    [
        ("gemini", "google.genai", "build"),
        ("gemini-legacy", "google.generativeai", "legacy"),
        ("ollama", "ollama", "build"),
        ("openai", "openai", "openai"),
    ],
)
def test_a_provider_without_its_library_is_one_sentence(
    provider: str, library: str, extra: str, tmp_path: Path
) -> None:
    """A build that lacks its provider's library ends with status 2 and says what to install."""
    words = ["build", "--n", "1", "--provider", provider, "--model", "m"]
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(library, words)],
        cwd=REPO,
        env=environment(TSUKURIOKI_STORE=tmp_path, GEMINI_API_KEY="key", OPENAI_API_KEY="key"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert f"tsukurioki[{extra}]" in ended.stderr
