"""What an attacker writes on the wire: hidden requests, floods, and answers that nobody reads.

The HTTP server is not ours; these tests hold it, at the version that is installed, to what we promise.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import psutil
import pytest

from app.kinds.cards.deck import Deck
from tests.conftest import Serve
from tests.edge.test_repeats import stored_entry
from tests.making import DECKS, Precompute, Server, game_body

PATIENCE = 10.0
HIDDEN = b"DELETE /api/wall HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /api/generate-poem HTTP/1.1\r\nHost: localhost\r\n"
SIZED = b"Content-Length: %d\r\n" % len(HIDDEN)

# Spellings of Transfer-Encoding that one parser takes for chunked and another does not.
ENCODINGS = [
    b"Transfer-Encoding: %b" % value
    for value in (
        b"chunked", b"Chunked", b" chunked", b"\tchunked", b"chunked ", b"xchunked", b"chunked, identity",
        b"identity, chunked", b"identity", b"chunked\x0b", b"\x0bchunked", b"chunked\x00", b"\"chunked\"",
        b"chunked;q=1", b"gzip", b"cow", b"",
    )
] + [
    b"Transfer-Encoding : chunked", b"Transfer_Encoding: chunked", b"Transfer-Encoding\x00: chunked",
    b" Transfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", b"transfer-encoding: chunked",
]  # fmt: skip
LENGTHS = [
    b"Content-Length: %b" % value
    for value in (
        b"+%d", b"-%d", b"0x1", b"%d, %d", b"%d,0", b"0, %d", b"%d.0", b"%d e", b"1 %d", b"\x0b%d", b"%d\x00",
        b"\xef\xbc\x91", b"99999999999999999999999", b"", b"_%d", b"0%d\r\nContent-Length: 0", b"0\r\nContent-Length: %d",
    )
] + [b"Content-Length : %d", b" Content-Length: %d", b"Content_Length: %d", b"X: y\nContent-Length: %d"]  # fmt: skip
CHUNKS = [
    b"0x0", b"-0", b"+0", b"0 0", b"g", b"\xef\xbc\x90", b"0;\n", b"00000000000000000001", b"ffffffffffffffff1",
    b"1\n", b"1\r", b"1;a\rb", b"5;ext=\"\n",
]  # fmt: skip


def vectors() -> Iterator[bytes]:
    """Requests with another inside, whose end parsers have disagreed about."""
    terminator = b"0\r\n\r\n"
    for encoding, order in itertools.product(ENCODINGS, (0, 1)):
        sized = b"Content-Length: %d" % (len(terminator) + len(HIDDEN))
        lines = [encoding, sized] if order else [sized, encoding]
        yield POST + b"\r\n".join(lines) + b"\r\n\r\n" + terminator + HIDDEN
    for encoding in ENCODINGS:
        if encoding.lower().replace(b" ", b"").replace(b"\t", b"") != b"transfer-encoding:chunked":
            yield POST + encoding + b"\r\n" + SIZED + b"\r\n" + HIDDEN
    for length in LENGTHS:
        count = length.count(b"%d")
        yield POST + length % ((len(HIDDEN),) * count) + b"\r\n" + SIZED + b"\r\n" + HIDDEN
    for chunk in CHUNKS:
        yield POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"\r\n" + HIDDEN
    for upgrade in (b"websocket", b"h2c", b"TLS/1.0", b"foo"):
        for method in (b"GET /healthz", b"POST /api/generate-poem", b"OPTIONS /stats"):
            head = method + b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            yield head + b"Upgrade: " + upgrade + b"\r\n" + SIZED + b"\r\n" + HIDDEN
    for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"TRACE", b"PUT"):
        yield method + b" /healthz HTTP/1.1\r\nHost: localhost\r\n" + SIZED + b"\r\n" + HIDDEN
    yield (
        b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        + SIZED
        + b"\r\n"
        + HIDDEN
    )


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    """A connection to a server."""
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as wire:
        yield wire


def told(wire: socket.socket, data: bytes) -> bytes:
    """Everything that a server says to some bytes until it has nothing to add."""
    found = b""
    with contextlib.suppress(OSError):
        wire.sendall(data)
        # What comes after an answer comes with it or at once.
        while part := wire.recv(65536):
            found += part
            wire.settimeout(0.15)
    return found


@pytest.fixture
def server(precompute: Precompute, serve: Serve, poem: Deck, tmp_path: Path) -> Server:
    """A server with one flyer on its wall."""
    precompute("build", "--n", 27)
    served = serve()
    stored = stored_entry(tmp_path / "data" / "store")
    with served.client() as client:
        hand = [{"card": card, "phrase": phrase} for card, phrase in stored.query.picks]
        assert client.post("/api/wall", json={"hand": hand}).status_code == 204
    return served


def flyers(server: Server) -> int:
    """How many flyers hang on the wall."""
    with server.client() as client:
        return len(client.get("/api/wall").json()["flyers"])


@pytest.mark.long
def test_a_hidden_request_is_never_carried_out(server: Server) -> None:
    """No way to write a request has another in its body carried out, or answered."""
    written = list(vectors())
    assert len(written) >= 103
    for number, vector in enumerate(written):
        with connected(server) as wire:
            found = told(wire, vector)
        answers = found.count(b"HTTP/1.1 ") - found.count(b"HTTP/1.1 100")
        assert answers <= 1, (number, vector, found)
        assert flyers(server) == 1, (number, vector, found)


FLOODS = {
    "trailers": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"X: y\r\n" * 10_000),
    "empty lines": (b"", b"\r\n" * 30_000),
    "headers": (POST, b"X: y\r\n" * 10_000),
    "one header": (POST + b"X: ", b"y" * 60_000),
    "a path": (b"GET /", b"y" * 60_000),
    "a chunk's extension": (POST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"y" * 60_000),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n" * 10_000),
    "a body": (POST + b"Content-Length: 99999999\r\n\r\n", b"y" * 60_000),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_off(server: Server, flood: str) -> None:
    """Whatever has no end is cut off within 16 MiB, others are answered, the worker grows little."""
    begin, unit = FLOODS[flood]
    worker = psutil.Process(server.process.pid).children()[0]
    before, sent = worker.memory_info().rss, 0
    with connected(server) as wire, server.client() as others:
        with contextlib.suppress(OSError):
            wire.sendall(begin)
            while sent < 64 << 20:
                wire.sendall(unit)
                sent += len(unit)
                assert others.get("/healthz").status_code == 200
        assert sent < 16 << 20
    assert worker.memory_info().rss - before < 32 << 20


def test_files_that_nobody_reads_stop_nobody(server: Server) -> None:
    """With 200 clients that ask for a large file and read nothing, plays and pages are answered."""
    ask = b"GET /static/booth/fonts/mincho.woff2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    worker = psutil.Process(server.process.pid).children()[0]
    before = worker.memory_info().rss
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connected(server)).sendall(ask)
        with server.client() as client:
            for _ in range(20):
                assert client.get("/api/decks/poem/deal").status_code == 200
                assert client.get("/").status_code == 200
        assert worker.memory_info().rss - before < 96 << 20


def test_open_chat_streams_stop_no_hit(server: Server, poem: Deck, tmp_path: Path) -> None:
    """With 20 chat streams open, of which nobody reads, plays are answered."""
    asked = orjson.dumps({"messages": [{"role": "user", "content": "おはよう"}], "stream": True})
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    play = game_body(poem, stored_entry(tmp_path / "data" / "store").query)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            wire = stack.enter_context(connected(server))
            wire.sendall(head + b"Content-Length: %d\r\n\r\n" % len(asked) + asked)
        with server.client() as client:
            for _ in range(50):
                assert client.post("/api/generate-poem", json=play).json()["tier"] == "exact"


def test_chat_streams_stop_no_page(precompute: Precompute, serve: Serve) -> None:
    """With many more chat streams open than there are threads, pages and deals are answered."""
    precompute("build", "--n", 27)
    server = serve(
        TSUKURIOKI_DECKS=DECKS,
        TSUKURIOKI_WORKERS=1,
        TSUKURIOKI_CHAT_RATE=0,
        TSUKURIOKI_CHAT_PACE=1,
    )
    asked = orjson.dumps({"messages": [{"role": "user", "content": "おはよう"}], "stream": True})
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(asked)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(connected(server)) for _ in range(30)]
        for wire in wires:
            wire.sendall(head + asked)
        # Each has begun: a line of twenty signs takes twenty seconds at this pace.
        assert all(wire.recv(12) == b"HTTP/1.1 200" for wire in wires)
        with server.client() as client:
            for _ in range(10):
                assert client.get("/").status_code == 200
                assert client.get("/api/decks/poem/deal").json()["mode"] == "stocked"


def test_nothing_that_a_client_does_is_a_traceback(
    precompute: Precompute, serve: Serve, tmp_path: Path
) -> None:
    """A server's log stays empty of tracebacks through bad requests and connections that break."""
    server = serve(TSUKURIOKI_DECKS=DECKS)
    begun = (
        POST,
        POST + b"Content-Length: 9\r\n\r\n{",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    )
    stream = orjson.dumps({"messages": [{"role": "user", "content": "おはよう"}], "stream": True})
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\n"
    whole = head + b"Content-Length: %d\r\n\r\n" % len(stream) + stream
    for data in (
        *begun,
        whole,
        b"\x00\xff",
        HIDDEN,
        b"GET /static/booth/fonts/mincho.woff2 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ):
        for linger in (True, False):
            with connected(server) as wire:
                wire.sendall(data)
                if linger:
                    wire.settimeout(0.2)
                    with contextlib.suppress(TimeoutError):
                        wire.recv(10)
                # Closed at once, with what was not read: the server sees a reset.
    requests = [threading.Thread(target=_hang_up, args=(server,)) for _ in range(8)]
    for one in requests:
        one.start()
    for one in requests:
        one.join()
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    logs = list(tmp_path.glob("**/*.log"))
    assert logs
    for log in logs:
        assert "Traceback" not in log.read_text()


def _hang_up(server: Server) -> None:
    with contextlib.suppress(httpx.TimeoutException):
        httpx.get(f"{server.url}/api/decks/poem", timeout=0.001)
