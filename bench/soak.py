"""`make soak`: hours of an event in little: many connections, builds, votes, chats, killed workers.

    python -m bench.soak --minutes 60 --connections 200

Visitors keep connections open and ask for deals, answers to dealt and to other hands, pages, votes
and chats, whole and streamed. Meanwhile a build adds answers every minute, and every five minutes a
worker is killed. A request has failed if its answer is an error, or if no answer came twice in a
row: who is served by the worker that is killed asks once more, half a second later. At the end a table
says what was asked, what failed, and how memory, open files and the disk have grown since the second
quarter; the exit status is 1 if anything failed or grew more than `LIMITS` allow. Votes have a limit for
each address, and all come from one here: those beyond it are turned away, which is no failure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from bench import material, servers

SAYINGS = ("おはよう", "今日は残業で疲れた", "お昼はカレー食べた", "好きな色は？", "じゃあまたね")
# Seconds between two requests of a visitor: 200 visitors ask about a hundred times a second.
PAUSE = 2.0
SAMPLE_EVERY = 5.0
# Seconds before a visitor asks a second time: what was sent to a worker that is being killed is lost, and
# so is what reaches its socket in the next moment.
AGAIN_AFTER = 0.5
# What may have grown between the second quarter and the last: memory of the service in MB, open files,
# and MB on the disk, of which an hour's answers and misses are some 20.
LIMITS = {"memory_mb": 15.0, "files": 32.0, "disk_mb": 40.0}


@dataclass
class Seen:
    """What visitors saw, and samples (seconds, MB, open files, bytes on the disk)."""

    asked: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    again: int = 0
    turned_away: int = 0
    seconds: list[float] = field(default_factory=list)
    built: int = 0
    killed: int = 0
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)


class Visitor:
    """One connection that asks on and on."""

    def __init__(self, client: httpx.AsyncClient, seen: Seen, number: int) -> None:
        self._client = client
        self._seen = seen
        self._random = random.Random(number)
        self._name = f"soak-{number}"

    async def stay(self, until: float) -> None:
        """Ask until a time of the monotonic clock."""
        ways = (self._dealt, self._dealt, self._other, self._page, self._chat, self._stream)
        await asyncio.sleep(self._random.uniform(0, PAUSE))
        while time.monotonic() < until:
            await self._random.choice(ways)()
            await asyncio.sleep(self._random.uniform(0, 2 * PAUSE))

    async def _ask(self, what: str, method: str, path: str, **body: Any) -> httpx.Response | None:
        self._seen.asked[what] += 1
        start = time.monotonic()
        answer = None
        for attempt in range(2):
            try:
                answer = await self._client.request(method, path, **body)
                break
            except httpx.TransportError:
                self._seen.again += not attempt
                await asyncio.sleep(AGAIN_AFTER)
        self._seen.seconds.append(time.monotonic() - start)
        if answer is not None and answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            self._seen.turned_away += 1
            return None
        if answer is None or answer.status_code >= 400:
            self._seen.failed[f"{what} {answer.status_code if answer else 'no answer'}"] += 1
            return None
        return answer

    async def _dealt(self) -> None:
        dealt = await self._ask("deal", "GET", "/api/decks/poem/deal")
        if dealt is None:
            return
        cards = dealt.json()["cards"]
        hand = [
            {"card": card["id"], "phrase": self._random.choice(card["poems"])["id"]}
            for card in cards
        ]
        answer = await self._ask("answer", "POST", "/api/decks/poem/answer", json={"hand": hand})
        if answer is not None and self._random.random() < 0.2:
            await self._vote(answer)

    async def _vote(self, answer: httpx.Response) -> None:
        told = answer.json()
        ballot = answer.headers.get("x-tsukurioki-ballot")
        if ballot:
            body = {
                "vote": self._random.choice(("up", "down")),
                "variant": told["variant"],
                "deck": told["deck"],
                "ballot": ballot,
                "visitor": f"{self._name}-{self._random.randrange(1 << 30)}",
            }
            await self._ask("vote", "POST", f"/api/answers/{told['key']}/feedback", json=body)

    async def _other(self) -> None:
        dealt = await self._ask("deal", "GET", "/api/decks/poem/deal?mode=random")
        if dealt is not None:
            hand = [
                {"card": card["id"], "phrase": self._random.choice(card["poems"])["id"]}
                for card in dealt.json()["cards"]
            ]
            await self._ask("other hand", "POST", "/api/decks/poem/answer", json={"hand": hand})

    async def _page(self) -> None:
        path = self._random.choice(("/", "/stats", "/api/decks/poem", "/chat", "/healthz"))
        await self._ask("page", "GET", path)

    def _said(self, *, stream: bool) -> dict[str, Any]:
        message = {"role": "user", "content": self._random.choice(SAYINGS)}
        return {
            "messages": [message],
            "conversation": self._name,
            "character": self._random.choice(("botan", "kasho", "yuri")),
            "stream": stream,
        }

    async def _chat(self) -> None:
        await self._ask("chat", "POST", "/api/chat", json=self._said(stream=False))

    async def _stream(self) -> None:
        answer = await self._ask("stream", "POST", "/api/chat", json=self._said(stream=True))
        if answer is not None and "event: done" not in answer.text:
            self._seen.failed["stream without its end"] += 1


class Operator:
    """Builds, kills workers and takes samples beside the visitors."""

    def __init__(self, server: servers.Server, folder: Path, seen: Seen) -> None:
        self._server = server
        self._folder = folder
        self._seen = seen
        self._start = time.monotonic()
        self._wanted = 999

    async def build(self, every: float, until: float) -> None:
        """Add fifty answers at a time."""
        while time.monotonic() + every < until:
            await asyncio.sleep(every)
            self._wanted += 50
            command = [sys.executable, "-m", "precompute", "build", "--provider", "composer"]
            environ = servers.environment(self._folder / "store", self._folder)
            built = await asyncio.create_subprocess_exec(
                *command, "--n", str(self._wanted), env=environ, cwd=servers.ROOT,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            if await built.wait():
                self._seen.failed["build"] += 1
            self._seen.built += 50

    async def kill(self, every: float, until: float) -> None:
        """Kill a worker; the service starts another."""
        while time.monotonic() + every < until:
            await asyncio.sleep(every)
            workers = self._server.process.children(recursive=True)
            biggest = max(workers, key=lambda process: process.memory_info().rss)
            biggest.send_signal(signal.SIGKILL)
            self._seen.killed += 1

    async def sample(self, until: float) -> None:
        """Note memory, open files and the disk."""
        while time.monotonic() < until:
            with contextlib.suppress(psutil.Error):
                self._seen.samples.append(self._sample())
            await asyncio.sleep(SAMPLE_EVERY)

    def _sample(self) -> tuple[float, float, int, int]:
        everyone = [self._server.process, *self._server.process.children(recursive=True)]
        memory = sum(process.memory_full_info().pss for process in everyone) / 1e6
        files = sum(len(process.open_files()) for process in everyone)
        disk = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        return time.monotonic() - self._start, memory, files, disk


async def _event(
    server: servers.Server, folder: Path, wanted: argparse.Namespace, seen: Seen
) -> None:
    until = time.monotonic() + wanted.minutes * 60
    operator = Operator(server, folder, seen)
    url = f"http://127.0.0.1:{server.port}"
    async with contextlib.AsyncExitStack() as stack:
        # A client each: in a shared pool the second try could meet another connection of a dead worker.
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, timeout=30, trust_env=False)
            )
            for _ in range(wanted.connections)
        ]
        await asyncio.gather(
            operator.build(wanted.build_every, until),
            operator.kill(wanted.kill_every, until),
            operator.sample(until),
            *(Visitor(client, seen, n).stay(until) for n, client in enumerate(clients)),
        )


def grown(seen: Seen) -> dict[str, float]:
    """How much memory, files and the disk have grown, as `LIMITS` has them: medians of two quarters."""
    quarter = max(1, len(seen.samples) // 4)
    first, last = seen.samples[quarter : 2 * quarter], seen.samples[-quarter:]

    def rise(column: int) -> float:
        middle = [sorted(row[column] for row in rows)[len(rows) // 2] for rows in (first, last)]
        return float(middle[1] - middle[0])

    return {"memory_mb": rise(1), "files": rise(2), "disk_mb": rise(3) / 1e6}


def _rows(seen: Seen) -> Iterator[tuple[str, str]]:
    ordered = sorted(seen.seconds)
    yield "requests", f"{len(ordered):,}"
    yield "of which", ", ".join(f"{what} {count:,}" for what, count in seen.asked.most_common())
    yield "asked a second time, turned away", f"{seen.again:,}, {seen.turned_away:,}"
    yield "failed", ", ".join(f"{what} {n}" for what, n in seen.failed.items()) or "none"
    yield "workers killed, answers built", f"{seen.killed}, {seen.built}"
    for share, name in ((0.5, "half"), (0.99, "99 of 100"), (0.999, "999 of 1,000")):
        yield f"{name} within", f"{1e3 * ordered[int(share * (len(ordered) - 1))]:.1f} ms"
    for name, value in grown(seen).items():
        yield f"grown: {name}", f"{value:.1f} (limit {LIMITS[name]:g})"


def main() -> int:
    """Run for the wanted time and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--build-every", type=float, default=60.0, metavar="SECONDS")
    parser.add_argument("--kill-every", type=float, default=300.0, metavar="SECONDS")
    wanted = parser.parse_args()
    seen = Seen()
    deck = material.poem_deck()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material.stock(folder / "store", deck, 999)
        # Visitors all come from one address here, which would be too many for one.
        settings = {"TSUKURIOKI_WORKERS": 2, "TSUKURIOKI_CHAT_RATE": 0}
        with servers.ours(folder / "store", folder, **settings) as server:
            asyncio.run(_event(server, folder, wanted, seen))
    table = Table(
        "what", "figure", title=f"{wanted.minutes:g} minutes, {wanted.connections} connections"
    )
    for row in _rows(seen):
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    too_much = [name for name, value in grown(seen).items() if value > LIMITS[name]]
    return 1 if seen.failed or too_much else 0


if __name__ == "__main__":
    sys.exit(main())
