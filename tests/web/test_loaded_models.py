"""The models that Ollama has in memory, in `/stats`: as it says, and without anybody waiting for it."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.kinds.loaded_models import LoadedModels
from app.providers.ollama import Loaded
from tests.conftest import Serve
from tests.making import wait_for

MIB = 2**20
NONE = ("", "not asked yet")
MODELS = [
    {"name": "qwen2.5:0.5b", "model": "qwen2.5:0.5b", "size": 500 * MIB, "size_vram": 100 * MIB,
     "expires_at": "2026-11-28T10:00:00+09:00", "digest": "d", "details": {}},
    {"name": "big:7b", "model": "big:7b", "size": 4000 * MIB, "size_vram": 0},
]  # fmt: skip


@dataclass
class FakeOllama:
    """Answers `GET /api/ps`: with `reply`, or not at all while it is held."""

    url: str = ""
    reply: bytes = b""
    asked: list[str] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    fake = FakeOllama(reply=json.dumps({"models": MODELS}).encode())
    fake.go.set()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

        def do_GET(self) -> None:
            fake.asked.append(self.path)
            fake.go.wait(60)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(fake.reply)))
            self.end_headers()
            self.wfile.write(fake.reply)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield fake
    fake.go.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def settings(poem_alone: Path, ollama: FakeOllama) -> dict[str, Any]:
    """A deck of cards whose ladder has the local model."""
    return {
        "TSUKURIOKI_DECKS": poem_alone,
        "TSUKURIOKI_TIERS": "exact,composed,local",
        "OLLAMA_HOST": ollama.url,
    }


def test_loaded_models_and_their_memory_are_told(
    serve: Serve, settings: dict[str, Any], ollama: FakeOllama
) -> None:
    """Names, sizes and their sum are what Ollama says; a fault of it is told, and no error."""
    with serve(**settings).client() as client:
        told = wait_for(
            lambda: (found := client.get("/stats").json()["local_models"])["models"] and found,
            "the models",
        )
        assert told["fault"] == ""
        assert told["bytes"] == 4500 * MIB
        first, second = told["models"]
        assert (first["name"], first["bytes"]) == ("qwen2.5:0.5b", 500 * MIB)
        assert first["accelerator_bytes"] == 100 * MIB
        assert first["until"].startswith("2026-11-28")
        assert (second["name"], second["until"]) == ("big:7b", "")


def test_what_is_no_list_is_a_fault(ollama: FakeOllama) -> None:
    """Whatever Ollama sends, the figures have a fault or models, and come right again."""
    times = itertools.count(0.0, 10.0)
    loaded = LoadedModels(ollama.url, lambda: next(times))
    good = ollama.reply
    for broken in (b"", b"{", b"[]", b'{"models": 3}', b'{"models": [{"size": "x"}]}'):
        ollama.reply = broken
        found = wait_for(lambda: (f := loaded.figures())["fault"] not in NONE and f, "a fault")
        assert found["models"] == []
        ollama.reply = good
        assert (
            wait_for(lambda: loaded.figures()["models"], "the models")[0]["name"] == "qwen2.5:0.5b"
        )


def test_ollama_is_asked_once_at_a_time() -> None:
    """However many ask for the figures, there is one question at a time, and one in two seconds."""
    go, asked, now = threading.Event(), [], [0.0]

    class Slow:
        def loaded(self) -> list[Loaded]:
            asked.append(now[0])
            go.wait(60)
            return []

    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as listening:
        host = f"http://127.0.0.1:{listening.server_address[1]}"
        loaded = LoadedModels(host, lambda: now[0], Slow)
        for moment in range(10):
            now[0] = float(moment)
            loaded.figures()
        wait_for(lambda: asked, "a question")
        assert len(asked) == 1
        go.set()
        wait_for(lambda: loaded.figures()["fault"] == "", "the answer")
        assert len(asked) == 1
        now[0] = 20.0
        wait_for(lambda: loaded.figures() and len(asked) == 2, "another question")


def test_nobody_waits_for_ollama(
    serve: Serve, settings: dict[str, Any], ollama: FakeOllama
) -> None:
    """While Ollama does not answer, figures and plays are answered."""
    ollama.go.clear()
    with serve(**settings).client() as client:
        client.get("/stats")
        wait_for(lambda: ollama.asked, "a question to Ollama")
        for _ in range(20):
            assert client.get("/stats").json()["local_models"]["models"] == []
            assert client.get("/api/decks/poem/deal?mode=random").status_code == 200
        # All of them were answered before Ollama was.
        assert set(ollama.asked) == {"/api/ps"}


def test_without_a_local_tier_ollama_is_not_asked(
    serve: Serve, settings: dict[str, Any], ollama: FakeOllama
) -> None:
    """Only a server with a local tier looks."""
    with serve(**{**settings, "TSUKURIOKI_TIERS": "exact,composed"}).client() as client:
        for _ in range(5):
            assert "local_models" not in client.get("/stats").json()
    assert ollama.asked == []
