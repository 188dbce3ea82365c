"""Clients that run in processes of their own."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.making import REPO, environment

# Where .ci/run installs the npm clients.
NODE_MODULES = REPO / ".venv" / "npm" / "node_modules"
needs_npm = pytest.mark.skipif(
    shutil.which("node") is None or not NODE_MODULES.is_dir(),
    reason="Node and its clients are needed: npm install --prefix .venv/npm openai ollama @google/genai",
)


def run(*words: object, **settings: object) -> str:
    """What a command prints; it must succeed."""
    ended = subprocess.run(
        list(map(str, words)),
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
