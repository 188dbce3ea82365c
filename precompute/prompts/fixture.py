"""A pytest plugin: the fixture `tsukurioki_replay` answers a test's model calls from recordings.

A test that takes the fixture runs with the variables set by which client libraries find a server, and
with sockets that refuse to leave the machine. The server is started once for the whole run, in the
mode of TSUKURIOKI_MODE (replay if it is not set), on the data folder of TSUKURIOKI_DATA or of the
option `tsukurioki_data` in pytest's configuration.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, slots=True)
class Replay:
    """The server that answers. `url` is its address, without a path."""

    url: str

    @property
    def openai(self) -> str:
        """The base URL for a client of OpenAI."""
        return f"{self.url}/v1"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The data folder can be set in pytest's configuration."""
    parser.addini("tsukurioki_data", "the data folder of recordings", default="tsukurioki")


@pytest.fixture(scope="session")
def tsukurioki_server(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the server, for the whole run."""
    # Imported here: every run of pytest loads this plugin.
    from precompute.prompts.sessions import ensure_decks, server

    data = os.environ.get("TSUKURIOKI_DATA") or str(
        pytestconfig.rootpath / pytestconfig.getini("tsukurioki_data")
    )
    ensure_decks(Path(data) / "decks")
    mode = os.environ.get("TSUKURIOKI_MODE") or "replay"
    environ = {**os.environ, "TSUKURIOKI_DATA": data}
    with server(mode, environ, tmp_path_factory.mktemp("tsukurioki") / "server.log") as url:
        yield url


@pytest.fixture
def tsukurioki_replay(tsukurioki_server: str, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """The test's model calls are answered from recordings, and by nothing else."""
    from precompute.prompts.sessions import client_environment

    for name, value in client_environment(tsukurioki_server, os.environ).items():
        monkeypatch.setenv(name, value)
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else "localhost"
        if host not in ("localhost", "::1") and not str(host).startswith("127."):
            raise OSError(101, f"tsukurioki_replay: the network is forbidden: {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    return Replay(tsukurioki_server)
