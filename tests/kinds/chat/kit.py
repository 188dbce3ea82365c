"""A started server, and a client that reads it as a browser does."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import forks
from tests.kinds.chat.standin import closed_port

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data" / "chat"
DECK = ROOT / "data" / "decks" / "chat"
ENGLISH = ROOT / "data" / "decks" / "harbour"
# Where nobody listens: no test reaches a model that it does not start.
NOWHERE = "http://127.0.0.1:9"


def interval(hits: int, of: int) -> str:
    """Wilson's interval of a share at 95 %."""
    share, z = hits / of, 1.96
    middle, spread = (
        share + z * z / (2 * of),
        z * math.sqrt((share + z * z / (4 * of)) * (1 - share) / of),
    )
    if share in (0, 1):
        spread = z * z / (2 * of)
    low, high = ((middle + sign * spread) / (1 + z * z / of) for sign in (-1, 1))
    return f"{hits} of {of} ({share:.1%}; {max(0.0, low):.1%} to {min(1.0, high):.1%})"


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """An environment with nothing of this machine's own settings in it."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "TSUKURIOKI_DATA": str(ROOT / "data"),
        "TSUKURIOKI_STORE": str(folder / "store"),
        "TSUKURIOKI_LEDGER": str(folder / "ledger"),
        "TSUKURIOKI_CHAT_RATE": "0",
        "TSUKURIOKI_CHAT_PACE": "0",
        "TSUKURIOKI_WORKERS": "1",
        "TSUKURIOKI_OLLAMA_FREE_MB": "0",
        "OLLAMA_HOST": NOWHERE,
        **settings,
    }


@dataclass(frozen=True)
class Response:
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, which is an object."""
        value: dict[str, Any] = json.loads(self.body)
        return value


@dataclass
class Server:
    """A server that was started with `python -m app`."""

    port: int
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    pid: int = 0

    def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Response:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        connection.request(method, path, raw, headers or {})
        answer = connection.getresponse()
        found = Response(
            answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        )
        connection.close()
        return found

    def say(self, text: str, **more: object) -> dict[str, Any]:
        """One message, and its answer; anything but 200 fails the test."""
        body = {"messages": [{"role": "user", "content": text}], **more}
        answer = self.request("POST", "/api/chat", body)
        assert answer.status == 200, answer.body
        return answer.json

    def stats(self, deck: str = "chat") -> dict[str, Any]:
        """What /stats tells of a deck."""
        found: dict[str, Any] = self.request("GET", "/stats").json["decks"][deck]
        return found

    def passed(self, tier: str = "local") -> dict[str, dict[str, int]]:
        """Why a tier passed, as /stats counts it."""
        found: dict[str, dict[str, int]] = self.stats()["passed"].get(tier, {})
        return found


class Stream:
    """Server-sent events, read one by one; closing it is what a browser does that goes away."""

    def __init__(
        self,
        server: Server,
        text: str,
        wait: float = 30.0,
        source: str = "127.0.0.1",
        **more: object,
    ) -> None:
        body = {"messages": [{"role": "user", "content": text}], "stream": True, **more}
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.port, timeout=wait, source_address=(source, 0)
        )
        self._connection.request("POST", "/api/chat", json.dumps(body))
        self.response = self._connection.getresponse()

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        fields: dict[str, str] = {}
        while line := self.response.readline():
            text = line.decode().rstrip("\n")
            if text.startswith(":"):
                continue
            if text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif fields:
                yield fields["event"], json.loads(fields["data"])
                fields = {}

    def await_model(self) -> None:
        """Read up to the first sign that a model is waited for."""
        while not (line := self.response.readline()).startswith(b":"):
            assert line, "it was answered without a model"

    def whole(self) -> list[tuple[str, dict[str, Any]]]:
        """Every event to the end."""
        try:
            return list(self)
        finally:
            self.close()

    def close(self) -> None:
        """Go away."""
        self.response.close()
        self._connection.close()


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[Server]:
    """A server, ready to answer."""
    port = closed_port()
    environ = environment(folder, TSUKURIOKI_PORT=str(port), **settings)
    command = [sys.executable, "-m", "app"]
    log = (folder / "server.log").open("wb")
    process = forks.start(command, cwd=ROOT, env=environ, streams=(None, log, log))
    server = Server(port, folder, environ, process.pid)
    try:
        _await(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        log.close()


def _await(server: Server, process: forks.Process) -> None:
    """Ask until it answers; a server that ends instead tells why."""
    while process.poll() is None:
        try:
            if server.request("GET", "/healthz").status == 200:
                return
        except OSError:
            # Nobody listens yet.
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    raise AssertionError((server.folder / "server.log").read_text())


def command(
    server_or_environ: dict[str, str], *words: str, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """`precompute …`, as a person runs it, who types `typed`."""
    return forks.run(
        [sys.executable, "-m", "precompute", *words],
        cwd=ROOT,
        env=server_or_environ,
        timeout=120,
        typed=typed,
    )
