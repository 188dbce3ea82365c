"""Slow and greedy clients, and clients whose answer is under way when the server is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import psutil
import pytest

from app.kinds.cards.deck import Card, Deck
from tests.conftest import Serve
from tests.making import Precompute, Server, wait_for

HEAD = b"POST /api/generate-poem HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
CHUNKED = HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")


@contextlib.contextmanager
def connections(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """So many connections to a server, closed at the end."""
    parts = urlsplit(server.url)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((parts.hostname, parts.port), 30))
            for _ in range(count)
        ]


def others_are_answered(server: Server) -> None:
    """Others ask on connections of their own, and are answered."""
    for _ in range(4):
        with server.client() as client:
            assert client.get("/healthz").status_code == 200


def test_idle_connections_stop_nobody(serve: Serve) -> None:
    """With 2,000 connections that say nothing, others are answered."""
    server = serve(TSUKURIOKI_WORKERS=1)
    with connections(server, 2000):
        others_are_answered(server)


def test_bodies_that_trickle_stop_nobody(serve: Serve, poem: Deck) -> None:
    """With many more bodies under way than there are threads, others are answered, and so are they."""
    server = serve(TSUKURIOKI_WORKERS=1)
    picks = [(card.id, card.phrases[0].id) for card in _hand(poem)]
    body = orjson.dumps(
        {"selectedPairs": [{"conditionCard": c, "selectedPoem": p} for c, p in picks]}
    )
    with connections(server, 50) as slow:
        # By the byte: what comes in three parts and more is not held for the fast path.
        for part in (HEAD % len(body) + body[:10], body[10:11]):
            for one in slow:
                one.sendall(part)
            others_are_answered(server)
        for one in slow:
            one.sendall(body[11:])
        assert all(one.recv(15).startswith(b"HTTP/1.1 200") for one in slow)


def test_answers_that_nobody_takes_stop_nobody(serve: Serve) -> None:
    """Clients that ask for much and read nothing: others are answered, and the worker grows little."""
    server = serve(TSUKURIOKI_WORKERS=1)
    ask = b"GET /api/decks/poem HTTP/1.1\r\nHost: localhost\r\n\r\n"
    others_are_answered(server)
    worker = psutil.Process(server.process.pid).children()[0]
    before = worker.memory_info().rss
    with connections(server, 20) as greedy:
        for one in greedy:
            one.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                for _ in range(1000):
                    one.sendall(ask * 100)
        others_are_answered(server)
        assert worker.memory_info().rss - before < 64 << 20


def _hand(deck: Deck) -> list[Card]:
    return [cards[0] for cards in list(deck.cards_by_category.values())[: deck.hand_size]]


@pytest.mark.long
@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n", HEAD % 1000])
def test_a_head_that_does_not_end_closes_the_connection(serve: Serve, begun: bytes) -> None:
    """A client that sends no whole head within TSUKURIOKI_REQUEST_SECONDS loses its connection."""
    server = serve(TSUKURIOKI_WORKERS=1, TSUKURIOKI_REQUEST_SECONDS=1)
    with connections(server, 20) as slow:
        for one in slow:
            one.sendall(begun[:-1])
        others_are_answered(server)
        assert {_until_closed(one) for one in slow} == {b""}


@pytest.mark.long
@pytest.mark.parametrize("begun", [HEAD % 1000, HEAD % 1000 + b"{", CHUNKED + b"5\r\n{"])
def test_a_body_that_does_not_end_is_refused(serve: Serve, begun: bytes) -> None:
    """A client that sends no whole body within TSUKURIOKI_REQUEST_SECONDS gets a 408."""
    server = serve(TSUKURIOKI_WORKERS=1, TSUKURIOKI_REQUEST_SECONDS=1)
    with connections(server, 20) as slow:
        for one in slow:
            one.sendall(begun)
        others_are_answered(server)
        for one in slow:
            told = _until_closed(one)
            assert told.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert orjson.loads(told.partition(b"\r\n\r\n")[2])["status"] == 408
    with server.client() as client:
        assert client.get("/stats").json()["refused_requests"]["408"] == 20


def test_a_silent_connection_is_closed(serve: Serve) -> None:
    """A connection that is silent for TSUKURIOKI_REQUEST_SECONDS after an answer is closed."""
    server = serve(TSUKURIOKI_WORKERS=1, TSUKURIOKI_REQUEST_SECONDS=1)
    with connections(server, 1) as (asking,):
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert _until_closed(asking).startswith(b"HTTP/1.1 200")


def _until_closed(one: socket.socket) -> bytes:
    told = b""
    with contextlib.suppress(ConnectionResetError):
        while part := one.recv(65536):
            told += part
    return told


def test_headers_that_are_too_large_are_refused(serve: Serve) -> None:
    """A megabyte of headers is refused, and others are answered."""
    server = serve(TSUKURIOKI_WORKERS=1)
    with connections(server, 1) as (greedy,):
        with contextlib.suppress(OSError):
            greedy.sendall(b"GET / HTTP/1.1\r\n" + b"X-More: 1234567890\r\n" * 60_000 + b"\r\n")
            told = greedy.recv(1000)
            assert not told or b" 431 " in told.split(b"\r\n")[0] or b" 400 " in told
        others_are_answered(server)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_finished(
    precompute: Precompute, serve: Serve, poem: Deck, end: signal.Signals
) -> None:
    """Told to stop, the server answers what has begun to arrive, then it ends with status 0."""
    server = serve(TSUKURIOKI_WORKERS=1)
    picks = [(card.id, card.phrases[0].id) for card in _hand(poem)]
    body = orjson.dumps({"hand": [{"card": c, "phrase": p} for c, p in picks]})
    head = HEAD.replace(b"generate-poem", b"decks/poem/answer")
    with connections(server, 1) as (late,):
        late.sendall(head % len(body) + body[:10])
        time.sleep(0.3)
        server.process.send_signal(end)
        time.sleep(0.3)
        late.sendall(body[10:])
        assert late.recv(15).startswith(b"HTTP/1.1 200")
    assert server.process.wait(60) == 0
    wait_for(lambda: server.process.poll() is not None, "the end")
