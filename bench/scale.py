"""Growth: start, memory, building, looking up, appending and reloading at different sizes.

Entries are random plays with poems from a pool; a size of its own folder, removed before the next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import orjson
import psutil

from app.kinds.cards.deck import Deck
from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter
from app.store.rows import index_path
from bench import material, messages, servers
from bench.load import Request, ask
from bench.servers import PATIENCE, Server

NEW = 1_000
LOOKUPS = 20_000
STARTS = 5
# Messages to a character, before the memory of the whole service is read.
SAID = 300
# Workers of the whole service.
WORKERS = 2
# Bytes on disk for an entry, log, index and its copy while it is extended, and what is kept free.
_EACH = 3_600
_SPARE = 5 << 30


def measure(sizes: list[int], say: Callable[[str], None]) -> dict[str, Any]:
    """A row for each size that the disk has room for."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    deck = material.poem_deck()
    for size in sizes:
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if size * _EACH + _SPARE > free:
            left_out.append(f"{size:,} entries: {free >> 30} GiB are free, too few")
            continue
        with tempfile.TemporaryDirectory() as name:
            rows.append(_size(Path(name), deck, size, say))
    return {"rows": rows, "left_out": left_out, "service": service(say)}


def _size(folder: Path, deck: Deck, size: int, say: Callable[[str], None]) -> dict[str, Any]:
    store = folder / "store"
    say(f"{size:,} entries: writing the log")
    material.write_log(store, deck, size)
    say(f"{size:,} entries: building the index")
    built = _build(store)
    row: dict[str, Any] = {
        "entries": built["entries"],
        "build_per_s": round(size / built["seconds"]),
        "build_cpu_us": round(1e6 * built["cpu"] / size, 1),
        "build_private_mb": round(built["private_mb"], 1),
        "index_bytes": index_path(store, deck.id).stat().st_size,
    }
    say(f"{size:,} entries: looking up")
    row |= _lookups(store, deck, Random(1))
    say(f"{size:,} entries: starting")
    seconds, read = zip(*(_start(store, folder) for _ in range(STARTS)), strict=True)
    row["start_s"] = round(statistics.median(seconds), 3)
    row["start_read_mb"] = round(statistics.median(read) / 1e6, 1)
    row |= _memory_and_reload(store, folder, deck)
    return row


def _build(store: Path) -> dict[str, Any]:
    """The index of a log, made in a process of its own, whose memory is then the build's."""
    program = "import bench.scale, sys; bench.scale.build_index(sys.argv[1])"
    words = [sys.executable, "-c", program, str(store)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, cwd=servers.ROOT)
    told: dict[str, Any] = orjson.loads(done.stdout)
    return told


def build_index(store: str) -> None:
    """Build an index and print what it took, as JSON."""
    deck = material.poem_deck()
    most, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], _anonymous())

    watching = threading.Thread(target=watch)
    watching.start()
    start, cpu = time.perf_counter(), time.process_time()
    with IndexWriter(Path(store), deck) as writer:
        entries = writer.catch_up().entries
    took = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    over.set()
    watching.join()
    sys.stdout.buffer.write(orjson.dumps({"entries": entries, "private_mb": most[0], **took}))


def _anonymous() -> float:
    """Memory of this process that no file stands behind, in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in status if line.startswith("RssAnon"))


def _lookups(store: Path, deck: Deck, rng: Random) -> dict[str, Any]:
    index = Index(store, deck.id)
    keys = [bytes.fromhex(key) for key, _ in _some(index, LOOKUPS)]
    rng.shuffle(keys)
    took = []
    for _ in range(5):
        start = time.process_time()
        for key in keys:
            index.get(key)
        took.append((time.process_time() - start) / len(keys))
    index.close()
    return {"lookup_us": round(1e6 * min(took), 2)}


def _some(index: Index, most: int) -> list[tuple[str, int]]:
    """Keys from all over the index: every so-manieth."""
    step = max(1, index.meta().entries // most)
    return [key for number, key in enumerate(index.keys()) if number % step == 0][:most]


def _start(store: Path, folder: Path) -> tuple[float, int]:
    """Seconds from the command to the first answer, and bytes of files that were read for it."""
    start = time.perf_counter()
    with servers.ours(store, folder) as server:
        took = time.perf_counter() - start
        everyone = [server.process, *server.process.children(recursive=True)]
        return took, sum(process.io_counters().read_chars for process in everyone)


def _memory_and_reload(store: Path, folder: Path, deck: Deck) -> dict[str, Any]:
    index = Index(store, deck.id)
    requests = [Request("GET", f"/api/answers/{key}") for key, _ in _some(index, LOOKUPS)]
    index.close()
    # Pages of the index that are not on the disk yet would count as the worker's own.
    os.sync()
    with servers.ours(store, folder) as server:
        ask(server.process, server.port, requests, 2)
        worker = _workers(server)[0]
        return {"worker_private_mb": round(_private(worker), 1), **_append(store, deck, server)}


def _append(store: Path, deck: Deck, server: Server) -> dict[str, Any]:
    """What it takes to add new entries, and until a running server gives one of them."""
    new = list(material.many(deck, NEW, seed=99))
    start = time.perf_counter()
    with LogWriter(store, deck.id) as log, IndexWriter(store, deck) as writer:
        log.append(new)
        writer.catch_up()
    appended = time.perf_counter() - start
    url = f"http://127.0.0.1:{server.port}/api/answers/{new[-1].key}"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=5).read()
            break
        except OSError:
            time.sleep(0.001)
    seen = time.perf_counter() - start - appended
    return {"append_ms": round(1e3 * appended, 1), "seen_ms": round(1e3 * seen, 1)}


def _workers(server: Server) -> list[psutil.Process]:
    """The processes that answer: those below the one that was started, the largest first."""
    below = server.process.children(recursive=True)
    return sorted(below, key=_private, reverse=True)


def _private(process: psutil.Process) -> float:
    """Memory that this process has written and shares with nobody, in MB, without pages of files.

    Not psutil's uss, nor all that is dirty: they count pages of the index, too, where only one process
    has looked at them, or where its copy is not on the disk yet.
    """
    total = 0
    dirty = 0
    for line in Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Private_Dirty":
            dirty = int(value.split()[0])
        elif name == "Anonymous":
            total += min(dirty, int(value.split()[0]))
    return total / 1e3


def _chat(port: int) -> None:
    """Send messages to a character, of which each worker gets about half."""
    for text in messages.everyday(SAID, seed=11):
        body = orjson.dumps({"messages": [{"role": "user", "content": text}]})
        headers = {"content-type": "application/json"}
        url = f"http://127.0.0.1:{port}/api/chat"
        urllib.request.urlopen(urllib.request.Request(url, body, headers)).read()


def service(say: Callable[[str], None]) -> dict[str, Any]:
    """The start and the memory of the whole service with two workers, in seconds and MB.

    Memory is read after some of everything. `smallest_` are those of a Flask application with one route on
    the same HTTP server: what Python and the libraries take, whatever the service does. Starts take turns.
    """
    say("start and memory of the whole service")
    deck = material.poem_deck()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material.stock(folder / "store", deck, 999)
        menu = material.menu(folder / "store", deck, 999, 2_000)
        more = {"TSUKURIOKI_WORKERS": WORKERS, "TSUKURIOKI_CHAT_RATE": 0}
        whole, least = list[float](), list[float]()
        for _ in range(STARTS):
            whole.append(_seconds(servers.ours(folder / "store", folder, **more)))
            least.append(_seconds(servers.smallest(folder, WORKERS)))
        with servers.smallest(folder, WORKERS) as server:
            smallest_mb = _shares(server)
        with servers.ours(folder / "store", folder, **more) as server:
            at_start = _shares(server)
            for requests in (menu.by_key, menu.exact, menu.same_hand, menu.other):
                ask(server.process, server.port, requests, 1)
            for path in ("/", "/stats", "/metrics", "/api/decks/poem"):
                for _ in range(8):
                    urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}").read()
            _chat(server.port)
            return {
                "start_s": round(statistics.median(whole), 2),
                "smallest_start_s": round(statistics.median(least), 2),
                "at_start_mb": at_start,
                "smallest_mb": smallest_mb,
                "service_mb": _shares(server),
                "worker_private_mb": round(max(map(_private, _workers(server))), 1),
                "cores": os.cpu_count(),
            }


def _seconds(starting: contextlib.AbstractContextManager[Server]) -> float:
    """Seconds from the command to the first answer."""
    start = time.perf_counter()
    with starting:
        return time.perf_counter() - start


def _shares(server: Server) -> float:
    """The sum of the proportional shares of a server's processes: what they share counts once."""
    everyone = [server.process, *server.process.children(recursive=True)]
    return round(sum(process.memory_full_info().pss for process in everyone) / 1e6, 1)
