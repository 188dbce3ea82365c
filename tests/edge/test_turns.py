"""Many requests of one client, and a few of another's: the other's are not behind all of them."""

from __future__ import annotations

import asyncio
import random
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from app.edge.bodies import NoRoomError
from app.edge.serving import SLOW_THREADS
from app.edge.wsgi import MOST_WAITING, READ_AT_ONCE, InThreads, Places
from app.web.dialects import WAITS
from app.web.service import MAX_BODY
from tests.conftest import Serve
from tests.kinds.prompts.kit import upstream
from tests.loops import run
from tests.making import DECKS, PATIENCE, wait_for


def request_of(size: int) -> tuple[Any, SimpleNamespace, bytes]:
    """A request with a body of a size, as granian gives it: scope, protocol and body."""
    scope = SimpleNamespace(
        method="POST", path="/v1/chat/completions", query_string="", authority=None, scheme="http",
        http_version="1.1", server="127.0.0.1:80", client="127.0.0.1:1", headers={},
    )  # fmt: skip
    protocol = SimpleNamespace(
        response_bytes=lambda status, headers, body: None, client_disconnect=asyncio.Event().wait
    )
    return scope, protocol, bytes(size)


@pytest.mark.parametrize("seed", range(8))
def test_clients_are_let_in_by_turns(seed: int) -> None:
    """Of clients that wait, each is let in before another is let in twice more; all are let in, and
    never more than there are places, whichever of them go away while they wait."""
    rng = random.Random(seed)
    places, let_in, inside = Places(3), list[str](), [0]

    async def ask(client: str) -> None:
        await places.take(client)
        let_in.append(client)
        inside[0] += 1
        assert inside[0] <= 3
        await asyncio.sleep(0)
        inside[0] -= 1
        places.give(client)

    async def crowd() -> None:
        tasks = [asyncio.create_task(ask("many")) for _ in range(500)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(ask(name)) for name in ("one", "two", "three")]
        gone = rng.sample(tasks[3:500], 50)
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.done() for task in tasks)

    run(crowd())
    assert 450 <= let_in.count("many") <= 500
    assert all(name in let_in[:16] for name in ("one", "two", "three"))

    async def all_free() -> None:
        for number in range(3):
            await asyncio.wait_for(places.take(f"after {number}"), 5)

    run(all_free())


@pytest.mark.parametrize("places", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("seed", range(4))
def test_few_clients_have_not_all_places(places: int, seed: int) -> None:
    """A request is let in if its client holds fewer places than are free, whoever comes and goes: nobody
    who may enter waits, nobody else is let in, and in the end none is left behind."""
    rng = random.Random(seed)

    async def crowd() -> None:
        here, waiting = Places(places), dict[str, list[asyncio.Task[None]]]()
        held = dict[str, int]()

        def check() -> None:
            for client, tasks in waiting.items():
                done = [task for task in tasks if task.done()]
                waiting[client] = [task for task in tasks if not task.done()]
                held[client] = held.get(client, 0) + len(done)
            free = places - sum(held.values())
            assert free >= 0
            for client, tasks in waiting.items():
                assert not tasks or held[client] >= free

        for _ in range(300):
            client = rng.choice("aaabbc")
            if held.get(client) and rng.random() < 0.5:
                held[client] -= 1
                here.give(client)
            else:
                waiting.setdefault(client, []).append(asyncio.create_task(here.take(client)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            check()
        while any(held.values()):
            client = next(client for client, count in held.items() if count)
            held[client] -= 1
            here.give(client)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            check()
        assert not any(waiting.values())

    run(crowd())


@pytest.mark.parametrize("places", [1, 2, 8, 64])
def test_no_client_has_all_places(places: int) -> None:
    """One client gets half of the places, the next half of the rest; a newcomer is let in."""

    async def crowd() -> None:
        here, free = Places(places), places
        for client in range(10):
            tasks = [asyncio.create_task(here.take(str(client))) for _ in range(places + 1)]
            await asyncio.sleep(0)
            inside = sum(task.done() for task in tasks)
            assert inside == (free + 1) // 2
            free -= inside
        assert free == 0

    run(crowd())


def test_one_client_does_not_stand_before_another(serve: Serve, poem_alone: Path) -> None:
    """A page that one client asks for comes before most of the 300 that another had asked for."""
    url = httpx.URL(serve(TSUKURIOKI_DECKS=poem_alone).url)
    address, asked = (url.host, url.port), 300
    with ExitStack() as stack:
        many = []
        for _ in range(asked):
            wire = stack.enter_context(socket.create_connection(address))
            wire.sendall(b"GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n")
            many.append(wire)
        # All of 127.0.0.0/8 is this machine: another client.
        other = socket.create_connection(address, source_address=("127.0.0.2", 0))
        with stack.enter_context(other) as wire:
            wire.sendall(b"GET /dashboard HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert wire.recv(12) == b"HTTP/1.1 200"
        answered, _, _ = select.select(many, [], [], 0)
        assert len(answered) < asked - 50
        for wire in many:
            assert wire.recv(12) == b"HTTP/1.1 200"


def test_waiting_requests_of_two_clients_leave_others_their_places(serve: Serve) -> None:
    """While an upstream hangs in all that two clients may ask at a time, others are answered."""
    replies, most = threading.Event(), SLOW_THREADS * 3 // 4
    with upstream() as model, ExitStack() as stack:
        model.before = lambda: replies.wait(PATIENCE)
        stack.callback(replies.set)
        server = serve(
            TSUKURIOKI_DECKS=DECKS,
            TSUKURIOKI_MODE="record",
            TSUKURIOKI_WORKERS=1,
            OPENAI_BASE_URL=model.url,
        )
        url = httpx.URL(server.url)
        for number in range(140):
            # All of 127.0.0.0/8 is this machine.
            client = (f"127.0.0.{number % 2 + 3}", 0)
            wire = socket.create_connection((url.host, url.port), source_address=client)
            stack.enter_context(wire)
            body = b'{"model":"m","messages":[{"role":"user","content":"%d"}]}' % number
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
            wire.sendall(head.encode() + b"\r\n\r\n" + body)
        # How many of the two are let in depends on who comes first: 32 and 16, or 22 each.
        wait_for(lambda: len(model.requests) >= SLOW_THREADS * 2 // 3, "the upstream to be asked")
        other = httpx.HTTPTransport(local_address="127.0.0.2")
        with httpx.Client(transport=other, base_url=server.url, timeout=PATIENCE) as third:
            said = {"messages": [{"role": "user", "content": "hello"}]}
            assert third.post("/api/chat", json=said).status_code == 200
        assert len(model.requests) <= most


def test_clients_that_leave_do_not_wait_and_a_crowd_is_refused() -> None:
    """A request whose client leaves while it waits is never begun; of one client only so many may wait,
    those who left not counted, and another client's requests are still taken."""
    go_on, begun = threading.Event(), list[str]()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        begun.append(environ["REMOTE_ADDR"])
        start("200 OK", [("content-length", "0")])
        assert go_on.wait(PATIENCE)
        return [b""]

    async def crowd() -> None:
        threads: Any = InThreads(app, 2, 0, PATIENCE)

        def ask(client: str) -> tuple[asyncio.Task[None], asyncio.Event]:
            scope, protocol, body = request_of(9)
            scope.client, left = f"{client}:1", asyncio.Event()
            protocol.client_disconnect = left.wait
            return asyncio.create_task(threads(scope, protocol, body)), left

        held, _ = ask("127.0.0.1")
        for _ in range(2):
            waiting = [ask("127.0.0.1") for _ in range(MOST_WAITING)]
            await asyncio.sleep(0)
            with pytest.raises(NoRoomError):
                await asyncio.wait_for(ask("127.0.0.1")[0], PATIENCE)
            for _, left in waiting:
                left.set()
            await asyncio.wait_for(asyncio.wait([task for task, _ in waiting]), PATIENCE)
            assert all(isinstance(task.exception(), ProtocolClosed) for task, _ in waiting)
        other, _ = ask("127.0.0.2")
        last, _ = ask("127.0.0.1")
        go_on.set()
        await asyncio.wait_for(asyncio.gather(held, other, last), PATIENCE)

    run(crowd())
    assert sorted(begun) == ["127.0.0.1", "127.0.0.1", "127.0.0.2"]


def test_a_stream_that_nobody_reads_ends() -> None:
    """A client that takes nothing of a stream loses it, and its thread is free for the next request."""
    closed: list[bool] = []

    def endless() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [])
        return endless()

    async def stuck(part: bytes) -> None:
        await asyncio.Event().wait()

    async def crowd() -> None:
        threads: Any = InThreads(app, 1, 0, 0.05)
        scope, answered, body = request_of(9)
        answered.response_stream = lambda status, headers: SimpleNamespace(send_bytes=stuck)
        for _ in range(2):
            await asyncio.wait_for(threads(scope, answered, body), PATIENCE)

    run(crowd())
    assert closed == [True, True]


def test_few_long_bodies_are_read_at_a_time() -> None:
    """Of 30 requests with long bodies no more are read at a time than may be; what waits for somebody
    else after that lets the next one in, and short bodies wait for none of them."""
    reading, waiting, most = 0, 0, 0
    lock, all_wait = threading.Lock(), threading.Event()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        nonlocal reading, waiting, most
        start("200 OK", [("content-length", "0")])
        if WAITS not in environ:
            return [b""]
        with lock:
            reading += 1
            most = max(most, reading)
        with lock:
            reading -= 1
            waiting += 1
            if waiting == 30:
                all_wait.set()
        environ[WAITS]()
        assert all_wait.wait(PATIENCE)
        return [b""]

    async def crowd() -> None:
        threads: Any = InThreads(app, 64, 0, PATIENCE)
        long = [asyncio.create_task(threads(*request_of(MAX_BODY + 1))) for _ in range(30)]
        await asyncio.wait_for(threads(*request_of(9)), PATIENCE)
        await asyncio.wait_for(asyncio.gather(*long), PATIENCE)
        # All places are free again.
        for number in range(READ_AT_ONCE):
            await asyncio.wait_for(threads._long.take(f"after {number}"), PATIENCE)

    run(crowd())
    assert most <= READ_AT_ONCE
