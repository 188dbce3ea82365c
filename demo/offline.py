"""`make offline-demo`: the whole event with no network, and proof that nobody tried to use one.

Outside: cook, record an application that asks OpenAI, Ollama and Gemini (stand-ins on this machine) by
their own libraries, pack, verify. Then in a network namespace that has a loopback and nothing else:
unpack, serve, play 1,000 visitors, chat, run the application, stop, start again. A single try to leave
the machine fails the demo.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import orjson

from demo.standins import stand_ins
from precompute.prompts.isolation import isolate, raise_loopback, tries_to_leave
from precompute.prompts.sessions import client_environment

VISITORS = 1000
PATIENCE = 60.0


def main(arguments: Sequence[str]) -> int:
    """Run the demo. Returns the exit status: 0 where everything worked and nobody tried to leave."""
    if arguments[:1] == ["--inside"]:
        return _inside(Path(arguments[1]), Path(arguments[2]))
    folder = Path(tempfile.mkdtemp(prefix="tsukurioki-offline-"))
    try:
        _say("cooking, recording and packing")
        bundle = _packed(folder)
        isolation = isolate(folder, os.environ)
        _say(f"network taken away: {isolation.strength}")
        words = [*isolation.words, sys.executable, "-m", "demo.offline", "--inside"]
        environment = {**_environment(), **isolation.settings}
        done = subprocess.run([*words, str(bundle), str(folder)], check=False, env=environment)
        if isolation.tries.exists():
            _say(f"somebody tried to leave the machine:\n{isolation.tries.read_text()}")
            return 1
        return done.returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _say(text: str) -> None:
    sys.stdout.write(f"offline-demo: {text}\n")
    sys.stdout.flush()


def _environment(**settings: object) -> dict[str, str]:
    """Our environment without anybody's keys and settings, and these."""
    foreign = ("TSUKURIOKI_", "GEMINI_", "GOOGLE_", "OPENAI_", "OLLAMA_", "PROMETHEUS_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return {**kept, **{name: str(value) for name, value in settings.items()}}


def _precompute(*words: object, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "precompute", *map(str, words)]
    # Only what is recorded is compared; the rest may be seen.
    out = subprocess.PIPE if words[0] == "record" else None
    return subprocess.run(command, check=True, env=_environment(**settings), stdout=out, text=True)


def _packed(folder: Path) -> Path:
    decks = Path(__file__).parent.parent / "data" / "decks"
    settings = {"TSUKURIOKI_DATA": folder / "kitchen", "TSUKURIOKI_DECKS": decks}
    bundle = folder / "event.tar"
    _precompute("build", "--n", 1000, **settings)
    with stand_ins() as models:
        # `--` ends the words of `record`; what follows is the application.
        program = ("--", sys.executable, "-m", "demo.clients")
        done = _precompute("record", *program, **settings, **models.environment())
    (folder / "recorded.txt").write_text(done.stdout)
    _precompute("bundle", bundle, **settings)
    _precompute("verify", bundle)
    return bundle


def _inside(bundle: Path, folder: Path) -> int:
    namespace = raise_loopback()
    place = folder / "event"
    _precompute("unpack", bundle, "--into", place)
    data = place / "current" / "data"
    with _served(data) as url:
        tiers = _play(url, VISITORS)
        chats = _chat(url)
        first = _ask(url, "/api/decks/poem/deal?mode=random")["cards"]
        before = _answer(url, first)
        said = _application(url)
    _say(f"{VISITORS} visitors: {dict(tiers)}; {chats} chat messages answered")
    if said != (folder / "recorded.txt").read_text():
        _say(f"the application got other replies than were recorded:\n{said}")
        return 1
    _say(
        f"an application of OpenAI, Ollama and Gemini: {len(said.splitlines())} replies as recorded"
    )
    with _served(data) as url:
        again = _answer(url, first)
        _play(url, 50)
    if again != before:
        _say("after starting again, the same play had another answer")
        return 1
    tried = tries_to_leave() if namespace else 0
    _say(f"stopped and started again: the same answers; tries to leave the machine: {tried}")
    return 1 if tried else 0


@contextmanager
def _served(data: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = _environment(TSUKURIOKI_DATA=data, TSUKURIOKI_PORT=port)
    with (data.parent.parent.parent / "server.log").open("ab") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "app"], env=environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(server, url)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < end:
        try:
            _ask(url, "/healthz")
        except urllib.error.URLError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("offline-demo: the server did not start")


def _ask(url: str, path: str, body: object = None) -> dict[str, Any]:
    request = urllib.request.Request(url + path, method="GET" if body is None else "POST")
    if body is not None:
        request.data = orjson.dumps(body)
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        told: dict[str, Any] = orjson.loads(answer.read())
        return told


def _answer(url: str, cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    pairs = [{"conditionCard": card, "selectedPoem": card["poems"][0]} for card in cards]
    return _ask(url, "/api/generate-poem", {"selectedPairs": pairs})


def _play(url: str, visitors: int) -> Counter[str]:
    rng = Random(1)
    tiers: Counter[str] = Counter()
    for _ in range(visitors):
        cards = _ask(url, "/api/decks/poem/deal")["cards"]
        pairs = [{"conditionCard": c, "selectedPoem": rng.choice(c["poems"])} for c in cards]
        tiers[_ask(url, "/api/generate-poem", {"selectedPairs": pairs})["tier"]] += 1
    return tiers


def _application(url: str) -> str:
    """What the application prints with this server in place of all its services."""
    words = [sys.executable, "-m", "demo.clients"]
    environment = client_environment(url, _environment())
    done = subprocess.run(
        words, check=True, env={**_environment(), **environment}, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def _chat(url: str) -> int:
    """Chat with each character, where there is a chat deck."""
    decks = _ask(url, "/healthz")["decks"]
    if "chat" not in decks:
        return 0
    said = [("botan", "おはよう"), ("kasho", "ありがとう"), ("yuri", "おやすみ")]
    for character, text in said:
        messages = [{"role": "user", "content": text}]
        _ask(url, "/api/chat", {"deck": "chat", "character": character, "messages": messages})
    return len(said)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
