"""Connections: however requests are cut, joined or spoilt on the wire, each has its answer."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from typing import BinaryIO

import httpx
import orjson
import pytest

from app.edge import bodies
from app.edge.bodies import Bodies, Held
from app.edge.serving import RsgiApplication
from app.settings import Settings
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from app.web.service import MAX_BODY, Service
from bench.material import cooked, poem_deck
from precompute.plan.strategies import plan_stock
from tests.edge.here import served_here
from tests.loops import run
from tests.making import DECKS, PATIENCE, game_body, wait_for

POEM = poem_deck()
QUERIES: list[Query] = [job.query for job in itertools.islice(plan_stock(POEM, 0, 1), 3)]


def by_key(query: Query, *headers: str) -> bytes:
    lines = [f"GET /api/answers/{query.key} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode()


def play(query: Query, *headers: str) -> bytes:
    body = orjson.dumps(game_body(POEM, query))
    lines = ["POST /api/generate-poem HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def service_in(folder: Path) -> tuple[Settings, Service]:
    """A service with three stored answers."""
    with LogWriter(folder / "store", POEM.id) as log, IndexWriter(folder / "store", POEM) as index:
        log.append(cooked(POEM, QUERIES))
        index.catch_up()
    known = Settings.read(
        {
            "TSUKURIOKI_DECKS": str(DECKS),
            "TSUKURIOKI_STORE": str(folder / "store"),
            "TSUKURIOKI_LEDGER": str(folder / "ledger"),
            "TSUKURIOKI_PROXIES": "1",
            "TSUKURIOKI_CHAT_RATE": "1",
        }
    )
    return known, Service(known)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server with three stored answers."""
    with served_here(RsgiApplication(*service_in(tmp_path_factory.mktemp("connection")))) as port:
        yield port


@pytest.fixture
def wire(port: int) -> Iterator[socket.socket]:
    """A connection that sends what it is given at once."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def read(wire: socket.socket, method: str = "GET") -> tuple[int, bytes]:
    response = HTTPResponse(wire, method=method)
    response.begin()
    return response.status, response.read()


def test_hits_do_not_wait_for_the_state_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While what was counted waits to be written, stored answers are given all the same."""
    known, service = service_in(tmp_path)
    # Making it asks Flask for a page, which is counted too.
    application = RsgiApplication(known, service)
    waiting, released = threading.Event(), threading.Event()

    def flush() -> None:
        waiting.set()
        released.wait(PATIENCE)

    monkeypatch.setattr(service.counters, "flush", flush)
    with served_here(application) as port:
        try:
            assert waiting.wait(PATIENCE)
            with socket.create_connection(("127.0.0.1", port), PATIENCE / 2) as wire:
                wire.sendall(by_key(QUERIES[0]))
                assert read(wire)[0] == 200
        finally:
            released.set()


@pytest.mark.parametrize("request_of", [by_key, play])
def test_a_request_in_two_parts_is_answered(wire: socket.socket, request_of: object) -> None:
    """Wherever a request is cut, its answer is that of the whole."""
    assert callable(request_of)
    whole = request_of(QUERIES[0])
    wire.sendall(whole)
    expected = read(wire)
    assert expected[0] == 200
    head = whole.index(b"\r\n\r\n") + 5
    for cut in (*range(1, head), *range(head, len(whole), 97)):
        wire.sendall(whole[:cut])
        wire.sendall(whole[cut:])
        assert read(wire) == expected, cut


def _next_body(stream: BinaryIO) -> bytes:
    assert stream.readline() == b"HTTP/1.1 200 OK\r\n"
    length = 0
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        length = int(value) if name == b"content-length" else length
    body = stream.read(length)
    assert len(body) == length
    return body


def test_requests_in_one_part_are_answered_in_turn(wire: socket.socket) -> None:
    """Requests that come together are answered each, in their order, by whichever way."""
    asked = [by_key(QUERIES[0]), HEALTH, play(QUERIES[1]), by_key(QUERIES[2]), play(QUERIES[0])]
    wire.sendall(b"".join(asked))
    stream = wire.makefile("rb")
    keys = [orjson.loads(_next_body(stream)).get("key") for _ in asked]
    assert keys == [QUERIES[0].key, None, QUERIES[1].key, QUERIES[2].key, QUERIES[0].key]


def test_a_client_that_reads_late_gets_all_of_it(wire: socket.socket) -> None:
    """Many requests sent without reading, the last in two parts, are all answered, in order."""
    asked = [*(by_key(QUERIES[number % 3]) for number in range(6_000)), play(QUERIES[0])]

    def send() -> None:
        for request in asked[:-1]:
            wire.sendall(request)
        wire.sendall(asked[-1][:500])
        wire.sendall(asked[-1][500:])

    sending = threading.Thread(target=send)
    sending.start()
    # Until neither side can go on: the server's answers are not taken.
    sending.join(1)
    stream = wire.makefile("rb")
    keys = [orjson.loads(_next_body(stream))["key"] for _ in asked]
    sending.join()
    assert keys == [*(QUERIES[number % 3].key for number in range(6_000)), QUERIES[0].key]


@pytest.mark.parametrize(
    "asked",
    [by_key(QUERIES[0]), play(QUERIES[1]), HEALTH, HEALTH * 3],
    ids=["key", "play", "flask", "three"],
)
def test_a_client_that_stops_sending_early_gets_whole_answers_or_none(
    port: int, asked: bytes
) -> None:
    """Shut down before the answer, a connection ends with whole answers or none, and others go on.

    HTTP lets a client do so and wait. Hyper takes it for a lost connection unless its option
    `half_close` is set, which granian (2.8) does not offer.
    """
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as half:
            half.sendall(asked)
            half.shutdown(socket.SHUT_WR)
            stream = half.makefile("rb")
            while stream.peek(1):
                assert _next_body(stream)
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_a_client_that_stops_sending_after_its_answer_loses_nothing(port: int) -> None:
    """Who shuts down once the answer has begun gets all of it."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as half:
        half.sendall(HEALTH)
        stream = half.makefile("rb")
        assert stream.peek(1)
        half.shutdown(socket.SHUT_WR)
        assert _next_body(stream)
        assert stream.read() == b""


def test_ways_may_alternate_on_a_connection(wire: socket.socket) -> None:
    """Plain requests and others after each other on one connection are all answered."""
    for request in (by_key(QUERIES[0]), HEALTH, by_key(QUERIES[0], "Range: bytes=0-"), play(QUERIES[1]), HEALTH, play(QUERIES[1], "Expect: nothing"), by_key(QUERIES[2])):  # fmt: skip
        wire.sendall(request)
        assert read(wire)[0] == 200


def test_a_client_that_waits_to_be_told_to_go_on_is_told(wire: socket.socket) -> None:
    """Expect: 100-continue is answered before the body is sent."""
    head, end, body = play(QUERIES[0], "Expect: 100-continue").partition(b"\r\n\r\n")
    wire.sendall(head + end)
    assert wire.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n")
    wire.sendall(body)
    assert read(wire)[0] == 200


@pytest.mark.parametrize(
    "nonsense",
    [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\nX Y: 1\r\n\r\n", b"hello\r\n\r\n", b"POST /api/generate-poem HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"],
)  # fmt: skip
def test_what_is_not_http_is_a_400(wire: socket.socket, nonsense: bytes) -> None:
    """Bytes that are no request are refused by the HTTP server, and the connection ends."""
    wire.sendall(nonsense)
    assert read(wire)[0] == 400
    assert wire.recv(1) == b""


@pytest.mark.parametrize("request_line", [b"BREW / HTTP/1.1", b"CONNECT localhost:80 HTTP/1.1"])
def test_a_method_that_nobody_knows_is_refused(wire: socket.socket, request_line: bytes) -> None:
    """A method that no route has is a problem document."""
    wire.sendall(request_line + b"\r\nHost: localhost\r\n\r\n")
    status, body = read(wire)
    assert 400 <= status < 500
    assert orjson.loads(body)["status"] == status


def test_clients_whose_headers_all_differ_are_answered(port: int) -> None:
    """Clients whose headers are all different are all answered."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as wire:
        for number in range(3000):
            wire.sendall(by_key(QUERIES[0], f"X-Client: {number}"))
            assert read(wire)[0] == 200


def test_a_header_with_an_underscore_is_not_a_proxys(port: int) -> None:
    """`X_Forwarded_For` is not taken for what a proxy says of a client."""
    body = orjson.dumps({"messages": [{"role": "user", "content": "こんにちは"}]})
    statuses = []
    for number in range(2):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as wire:
            lines = [
                "POST /api/chat HTTP/1.1",
                "Host: localhost",
                f"X_Forwarded_For: 192.0.2.{number}",
            ]
            lines += [f"Content-Length: {len(body)}", "", ""]
            wire.sendall("\r\n".join(lines).encode() + body)
            statuses.append(read(wire)[0])
    assert statuses == [200, 429]


def test_long_bodies_have_room_for_so_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long body for which there is no room is to be sent again in a second; the others go on."""
    monkeypatch.setattr(bodies, "MOST_HELD", 5 * MAX_BODY)
    application = RsgiApplication(*service_in(tmp_path))
    text = "x" * (4 * MAX_BODY)
    body = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": text}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with served_here(application) as port, ExitStack() as stack:
        first, second = (
            stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            for _ in range(2)
        )
        first.sendall(head.encode() + body[:-1])
        wait_for(lambda: application._bodies.held > 2 * MAX_BODY, "the first body")
        second.sendall(head.encode() + body)
        refused = HTTPResponse(second, method="POST")
        refused.begin()
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert "too many long bodies" in orjson.loads(refused.read())["error"]["message"]
        first.sendall(body[-1:])
        assert read(first, "POST")[0] == 404
        wait_for(lambda: application._bodies.held == 0, "the room to be given back")


class Chunks:
    """A body whose parts are all here, as granian gives them: none is waited for."""

    def __init__(self, parts: int) -> None:
        self._left = parts

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return b"x"


def test_a_body_in_many_parts_lets_others_in() -> None:
    """While bodies in thousands of tiny parts are taken in, others have their turn again and again."""

    async def turns_meanwhile() -> int:
        bodies, headers = Bodies(30), httpx.Headers({"transfer-encoding": "chunked"})
        wholes = [bodies.whole(headers, Chunks(2000), MAX_BODY, Held(bodies)) for _ in range(9)]  # type: ignore[arg-type]
        taken = [asyncio.create_task(whole) for whole in wholes]
        turns = 0
        while not all(task.done() for task in taken):
            turns += 1
            await asyncio.sleep(0)
        assert [len(task.result()) for task in taken] == [2000] * 9
        return turns

    assert run(turns_meanwhile()) >= 200


def test_a_body_in_too_many_parts_is_too_long(port: int) -> None:
    """A body of which each byte is a part of its own is taken up to a bound, then refused."""
    head = (
        b"POST /api/generate-poem HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for parts, status in ((2000, 400), (20_000, 413)):
        with socket.create_connection(("127.0.0.1", port)) as wire:
            wire.sendall(head + b"1\r\nx\r\n" * parts + b"0\r\n\r\n")
            answer = HTTPResponse(wire)
            answer.begin()
            assert answer.status == status
