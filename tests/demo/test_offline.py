"""The event with the network taken away, and whether a try to use it would be noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from precompute.prompts.isolation import isolate
from tests.making import REPO, environment

# An address of TEST-NET-1 (RFC 5737), to which a namespace with a loopback only has no route.
NOWHERE = "192.0.2.1"
TRY = f"""
import socket
from precompute.prompts.isolation import raise_loopback, tries_to_leave
assert raise_loopback()
assert tries_to_leave() == 0
try:
    socket.create_connection(("{NOWHERE}", 9), timeout=1)
except OSError:
    pass
print(tries_to_leave())
"""
GUARDED = f"""
import socket
socket.create_connection(("{NOWHERE}", 9), timeout=1)
"""


def in_namespace(folder: Path) -> tuple[str, ...]:
    """The words that put a command into a namespace of its own."""
    words = isolate(folder, os.environ).words
    if not words:
        pytest.skip("network namespaces are not allowed here")
    return words


@pytest.mark.long
def test_the_whole_event_offline() -> None:
    """Cooked, packed, unpacked, played, stopped and started again, with no network at all."""
    done = subprocess.run(
        [sys.executable, "-m", "demo.offline"],
        cwd=REPO,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "1000 visitors" in done.stdout
    assert "an application of OpenAI, Ollama and Gemini: 6 replies as recorded" in done.stdout
    assert "'composed'" not in done.stdout


def test_a_try_to_leave_a_namespace_is_counted(tmp_path: Path) -> None:
    """A connection that finds no route out of the namespace is what fails the demo."""
    words = [*in_namespace(tmp_path), sys.executable, "-c", TRY]
    done = subprocess.run(
        words, cwd=REPO, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


def test_a_try_under_guarded_sockets_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without namespaces, a socket that would leave the machine refuses, and its process is named."""
    monkeypatch.setattr("precompute.prompts.isolation.NAMESPACES", ())
    isolation = isolate(tmp_path, os.environ)
    done = subprocess.run(
        [sys.executable, "-c", GUARDED],
        env={**os.environ, **isolation.settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Network is unreachable" in done.stderr
    assert NOWHERE in isolation.tries.read_text()
