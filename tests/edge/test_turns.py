"""Many requests of one client, and a few of another's: the other's are not behind all of them."""

from __future__ import annotations

import asyncio
import random
import select
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from app.edge.wsgi import READ_AT_ONCE, InThreads, Places
from app.web.dialects import WAITS
from app.web.service import MAX_BODY
from tests.conftest import Serve
from tests.loops import run
from tests.making import PATIENCE


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
        places.give()

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
        for _ in range(3):
            await asyncio.wait_for(places.take("after"), 5)

    run(all_free())


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

    def asked(size: int) -> tuple[Any, SimpleNamespace, bytes]:
        scope = SimpleNamespace(
            method="POST", path="/v1/chat/completions", query_string="", authority=None, scheme="http",
            http_version="1.1", server="127.0.0.1:80", client="127.0.0.1:1", headers={},
        )  # fmt: skip
        answered = SimpleNamespace(response_bytes=lambda status, headers, body: None)
        return scope, answered, bytes(size)

    async def crowd() -> None:
        threads: Any = InThreads(app, 40, 0)
        long = [asyncio.create_task(threads(*asked(MAX_BODY + 1))) for _ in range(30)]
        await asyncio.wait_for(threads(*asked(9)), PATIENCE)
        await asyncio.wait_for(asyncio.gather(*long), PATIENCE)
        # All places are free again.
        for _ in range(READ_AT_ONCE):
            await asyncio.wait_for(threads._long.take("after"), PATIENCE)

    run(crowd())
    assert most <= READ_AT_ONCE
