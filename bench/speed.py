"""Requests a second side by side: every contestant up at once, asked in turn, several rounds.

Two figures stand for speed. The rate is what wrk got. The processor time per request is what the
server's processes took of their core for it; on a core of its own the rate is its inverse, and where
something else runs on the machine too, it is the figure that can be trusted.
"""

from __future__ import annotations

import contextlib
import functools
import re
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import orjson

import precompute.publish
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from bench import material, servers
from bench.load import CONNECTIONS, Measure, Request, ask, cores, cpu_seconds
from bench.servers import CannotStartError, Server

# Whole hands: so many answers are asked again and again, and so many are in the store, more than the
# server keeps by the bytes of their requests.
ENTRIES, STORED = 999, 19_980
OTHERS = 20_000
# Recorded replies: fewer than LiteLLM's cache holds.
REPLIES = 150
BASE = "nginx, static file"
BROWSER = Path(precompute.publish.__file__).parent / "browser"
FLASK_GET, FLASK_POST = "Flask + dict, gunicorn: GET", "Flask + dict, gunicorn: POST"
GPTCACHE = "GPTCache, exact hit"
AIMOCK, FAKELLM, LITELLM = "aimock, a fixture", "fakellm, a rule", "LiteLLM, its cache"
GOAL = 10.0
# What hangs on a server while its hits are timed once more.
STREAMS, READERS = 20, 200


@dataclass(frozen=True)
class Course:
    """One row of the table: whom to ask what, and which rows it should be `GOAL` times as fast as."""

    name: str
    run: Callable[[float, float | None], Measure]
    rivals: tuple[str, ...] = ()


def measure(rounds: int, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """The table of speeds, and what was left out."""
    deck = material.poem_deck()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        store = folder / "store"
        material.stock(store, deck, STORED)
        menu = material.menu(store, deck, ENTRIES, OTHERS)
        wide = material.menu(store, deck, STORED, 0)
        courses, left_out = _courses(stack, menu, wide, store, folder)
        for reason in left_out:
            say(f"left out: {reason}")
        full: dict[str, list[Measure]] = {course.name: [] for course in courses}
        half: dict[str, list[Measure]] = {course.name: [] for course in courses}
        for number in range(rounds):
            for course in courses:
                say(f"round {number + 1} of {rounds}: {course.name}")
                found = course.run(seconds, None)
                full[course.name].append(found)
                half[course.name].append(course.run(seconds, found.rate / 2))
        rows = [_row(course, full, half) for course in courses]
        key = _key_in_node(folder, deck)
    return {"rows": rows, "left_out": left_out, "rounds": rounds, "seconds": seconds, "key_us": key}


_KEYS = """
const { query } = await import(process.argv[1]);
const picks = JSON.parse(process.argv[2]);
const keys = (count) => { for (let i = 0; i < count; i += 1) query("poem", picks); };
keys(2000);
const start = performance.now();
keys(10_000);
console.log((performance.now() - start) / 10);
"""


def _key_in_node(folder: Path, deck: Deck) -> float | None:
    """Microseconds for both keys of a play, as a browser computes them; None without Node."""
    module = folder / "key.mjs"
    module.write_text((BROWSER / "key.js").read_text("utf-8"))
    picks = orjson.dumps(random_play(deck, Random(1)).picks).decode()
    try:
        command = ["node", "--input-type=module", "-e", _KEYS, str(module), picks]
        told = subprocess.run(command, capture_output=True, check=True).stdout
    except FileNotFoundError:
        return None
    return round(float(told), 1)


@contextlib.contextmanager
def _alone(server: Server) -> Iterator[None]:
    yield


@contextlib.contextmanager
def _streams_and_readers(server: Server) -> Iterator[None]:
    """Open chat streams, and clients that asked for a large file and read nothing."""
    asked = orjson.dumps({"messages": [{"role": "user", "content": "おはよう"}], "stream": True})
    host = b"HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    stream = b"POST /api/chat " + host + b"Content-Type: application/json\r\n"
    stream += b"Content-Length: %d\r\n\r\n" % len(asked) + asked
    read = b"GET /static/booth/fonts/mincho.woff2 " + host + b"\r\n"
    with contextlib.ExitStack() as stack:
        for request in [stream] * STREAMS + [read] * READERS:
            wire = socket.create_connection(("127.0.0.1", server.port))
            stack.enter_context(wire).sendall(request)
        # What the buffers of the kernel take is sent first; then it is they who are slow.
        time.sleep(0.5)
        yield


class _Courses:
    """The rows in the making; whoever cannot start is left out and named."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.found: list[Course] = []
        self.left_out: list[str] = []

    def enter(
        self, starting: Callable[[], contextlib.AbstractContextManager[Server]]
    ) -> Server | None:
        """Start somebody for the rest of the bench."""
        try:
            return self._stack.enter_context(starting())
        except CannotStartError as error:
            self.left_out.append(str(error))
            return None

    def add(
        self,
        name: str,
        server: Server | None,
        requests: list[Request],
        *,
        rivals: tuple[str, ...] = (),
        beside: Callable[[Server], contextlib.AbstractContextManager[None]] = _alone,
    ) -> None:
        """A row: these requests, to this server, while something else is asked of it."""
        asked = 0

        def run(seconds: float, rate: float | None) -> Measure:
            nonlocal asked
            assert server
            asked += 1
            # Each round begins elsewhere in the list: what was composed before is not asked again.
            first = asked * 7919 % len(requests)
            with beside(server):
                return ask(server.process, server.port, requests, seconds, rate=rate, first=first)

        if server:
            self.found.append(Course(name, run, rivals))


def _courses(
    stack: contextlib.ExitStack, menu: material.Menu, wide: material.Menu, store: Path, folder: Path
) -> tuple[list[Course], list[str]]:
    courses = _Courses(stack)
    courses.add(BASE, courses.enter(lambda: servers.nginx(menu, folder)), menu.by_key)
    deck, root = material.poem_deck(), folder / "edition" / "root"
    material.edition(store, deck, root)
    server = courses.enter(lambda: servers.edition(root, folder))
    courses.add("nginx, static edition: exact", server, material.of_edition(root, deck, menu.exact))
    near = material.of_edition(root, deck, menu.same_hand)
    courses.add("nginx, static edition: same_hand", server, near)
    server = courses.enter(lambda: servers.constant(menu, folder))
    courses.add("a constant, granian: GET", server, menu.by_key)
    courses.add("a constant, granian: POST", server, menu.exact)
    server = courses.enter(lambda: servers.ours(store, _sub(folder, "ladder")))
    courses.add("GET a stored answer", server, menu.by_key, rivals=(FLASK_GET, GPTCACHE))
    courses.add("POST a play: exact", server, menu.exact, rivals=(FLASK_POST, GPTCACHE))
    name = f"the same beside {STREAMS} streams, {READERS} slow readers"
    courses.add(name, server, menu.exact, beside=_streams_and_readers)
    courses.add("POST a play: same_hand", server, menu.same_hand)
    courses.add("POST a play: composed", server, menu.other)
    _replays(courses, store, folder)
    server = courses.enter(lambda: servers.ours(store, _sub(folder, "wide")))
    courses.add("GET, not asked lately", server, wide.by_key)
    courses.add("POST exact, not asked lately", server, wide.exact)
    courses.add("POST same_hand, not asked lately", server, wide.same_hand)
    tiers = {"TSUKURIOKI_TIERS": "template"}
    server = courses.enter(lambda: servers.ours(store, _sub(folder, "template"), **tiers))
    courses.add("POST a play: template", server, menu.other)
    server = courses.enter(lambda: servers.flask_dict(menu, folder))
    courses.add(FLASK_GET, server, menu.by_key)
    courses.add(FLASK_POST, server, [_as_json(post) for post in menu.exact])
    prompts = [Path(request.path).name for request in menu.by_key]
    posts = [Request("POST", "/get", orjson.dumps({"prompt": prompt})) for prompt in prompts]
    server = courses.enter(lambda: servers.gptcache(menu, folder))
    courses.add(GPTCACHE, server, [_as_json(post) for post in posts])
    if redis := courses.enter(lambda: servers.redis(folder)):
        run = functools.partial(_redis, redis)
        courses.found.append(Course("redis GET (no HTTP)", run))
    return courses.found, courses.left_out


def _as_json(request: Request) -> Request:
    """For those who read JSON only under its name."""
    return Request(request.method, request.path, request.body, "application/json")


def _replays(courses: _Courses, store: Path, folder: Path) -> None:
    """Chat completions whose replies are known, here and at others."""
    asked = material.replies(store, REPLIES)
    server = courses.enter(lambda: servers.ours(store, _sub(folder, "replies")))
    rivals = (AIMOCK, FAKELLM, LITELLM)
    courses.add("POST a chat completion: replayed", server, asked, rivals=rivals)
    courses.add("the same, streamed", server, [_streamed(post) for post in asked])
    texts = {material.question(n): material.reply_text(n) for n in range(REPLIES)}
    courses.add(AIMOCK, courses.enter(lambda: servers.aimock(texts, folder)), asked)
    courses.add(FAKELLM, courses.enter(lambda: servers.fakellm(texts, folder)), asked)
    if server:
        # It asks us once for each reply, and has them from then on.
        asking = server.port
        courses.add(LITELLM, courses.enter(lambda: servers.litellm(asking, folder)), asked)


def _streamed(request: Request) -> Request:
    """The same request for a stream."""
    body = orjson.dumps({**orjson.loads(request.body), "stream": True})
    return Request(request.method, request.path, body, request.kind)


def _sub(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    return path


def _redis(server: Server, seconds: float, rate: float | None) -> Measure:
    """redis-benchmark, which asks as fast as it can: at half the rate it is not measured."""
    count = int(60_000 * seconds)
    program = ["taskset", "-c", str(cores()[1]), "redis-benchmark", "-p", str(server.port)]
    asking = [*program, "-c", str(CONNECTIONS), "-n", str(count), "-d", "950", "-t", "get", "--csv"]
    subprocess.run([*program, "-n", "1000", "-d", "950", "-t", "set", "-q"], capture_output=True, check=True)  # fmt: skip
    before = cpu_seconds(server.process)
    told = subprocess.run(asking, capture_output=True, text=True, check=True).stdout
    cpu = cpu_seconds(server.process) - before
    row = next(line for line in told.splitlines() if line.startswith('"GET"'))
    fields = [float(field) for field in re.findall(r'"([\d.]+)"', row)]
    return Measure(fields[0], fields[3] * 1e3, fields[5] * 1e3, 1e6 * cpu / count, 0)


def _row(
    course: Course, full: dict[str, list[Measure]], half: dict[str, list[Measure]]
) -> dict[str, Any]:
    own, calm = full[course.name], half[course.name]
    row: dict[str, Any] = {
        "name": course.name,
        "rate": round(statistics.median(m.rate for m in own)),
        "cpu_us": round(statistics.median(m.cpu for m in own), 1),
        "rate_half": round(statistics.median(m.rate for m in calm)),
        "p50_us": round(statistics.median(m.p50 for m in calm)),
        "p99_us": round(statistics.median(m.p99 for m in calm)),
        "failed": sum(m.failed for m in (*own, *calm)),
        "rates": [round(m.rate) for m in own],
        "times_rivals": _times_rivals(course, full),
    }
    # An error costs less than an answer: where some were refused there is nothing to compare.
    if BASE in full and not any(m.failed for m in (*own, *full[BASE])):
        # Of each round its own ratio: what disturbs a round disturbs both.
        pairs = list(zip(own, full[BASE], strict=True))
        row["ratio"] = round(statistics.median(a.rate / b.rate for a, b in pairs), 3)
        row["cpu_ratio"] = round(statistics.median(b.cpu / a.cpu for a, b in pairs if a.cpu), 3)
    return row


def _times_rivals(course: Course, full: dict[str, list[Measure]]) -> float | None:
    """How many times as fast as the fastest of its rivals; None if it has none, or none runs here."""
    ratios = [
        # On a busy machine a rival may answer nothing in a round.
        [a.rate / b.rate for a, b in zip(full[course.name], full[name], strict=True) if b.rate]
        for name in course.rivals
        if name in full
    ]
    return min((round(statistics.median(found), 1) for found in ratios if found), default=None)
