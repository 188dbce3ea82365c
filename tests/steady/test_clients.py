"""Slow and greedy clients, and clients whose answer is under way when the server is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import orjson
import pytest

from app.core.deck import Card, Deck
from tests.conftest import Serve
from tests.making import Precompute, Server, wait_for

HEAD = b"POST /api/generate-poem HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


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
    """With 1,000 connections that say nothing, others are answered."""
    server = serve(TSUKURIOKI_WORKERS=1)
    with connections(server, 1000):
        others_are_answered(server)


def test_bodies_that_trickle_stop_nobody(serve: Serve, poem: Deck) -> None:
    """With as many bodies under way as there are threads but one, others are answered, and so are they."""
    server = serve(TSUKURIOKI_WORKERS=1, TSUKURIOKI_THREADS=8)
    picks = [(card.id, card.phrases[0].id) for card in _hand(poem)]
    body = orjson.dumps(
        {"selectedPairs": [{"conditionCard": c, "selectedPoem": p} for c, p in picks]}
    )
    with connections(server, 7) as slow:
        for one in slow:
            one.sendall(HEAD % len(body) + body[:10])
        others_are_answered(server)
        for one in slow:
            one.sendall(body[10:])
        assert all(one.recv(15).startswith(b"HTTP/1.1 200") for one in slow)


def _hand(deck: Deck) -> list[Card]:
    return [cards[0] for cards in list(deck.cards_by_category.values())[: deck.hand_size]]


def test_headers_without_end_are_cut_off(serve: Serve) -> None:
    """A client that never ends its headers is let go after TSUKURIOKI_HEADER_SECONDS."""
    server = serve(TSUKURIOKI_WORKERS=1, TSUKURIOKI_HEADER_SECONDS=1)
    with connections(server, 20) as slow:
        for one in slow:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        others_are_answered(server)
        assert all(_is_let_go(one) for one in slow)


def _is_let_go(one: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        for _ in range(100):
            one.sendall(b"X-More: 1\r\n")
            time.sleep(0.05)
            one.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                if one.recv(1000) == b"":
                    return True
        return False
    return True


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
