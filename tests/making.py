"""Makes what tests need: small decks, stores, processes to talk to."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from app.kinds.cards.deck import Deck
from app.kinds.cards.loading import load_deck
from app.store.answer import exact_body
from app.store.entry import Entry
from app.store.key import Query
from precompute.decks.new import NewDeck, new_deck
from tests import forks

REPO = Path(__file__).parent.parent
DECKS = REPO / "data" / "decks"
# How long something that must happen may take before a test gives up: never a figure to meet.
PATIENCE = 60.0
FOREIGN = ("TSUKURIOKI_", "GEMINI_", "GOOGLE_", "OPENAI_", "OLLAMA_", "PROMETHEUS_")
KANA = "あいうえおかきくけこさしすせそなにぬねのはひふへほまみむめもやゆよらりるれろわをん"
KANJI = "朝夕空雲雪霧丘谷泉森庭橋船鐘糸布紙墨筆香"


def environment(**settings: object) -> dict[str, str]:
    """The environment of a command: ours without anybody's settings, and these."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    return {**kept, "COLUMNS": "200", **{name: str(value) for name, value in settings.items()}}


def wait_for(happened: Any, what: str) -> Any:
    """Wait until a function gives something true; gives that back."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = happened()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def row(table: str, name: str) -> str:
    """The value beside a name in a table that a command printed."""
    found = next(line for line in table.splitlines() if line.startswith(f"{name}  "))
    return found[len(name) :].strip()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until somebody listens on a port of this machine."""

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_for(listens, f"a listener on port {port}")


def written(text_length: int, rng: random.Random) -> str:
    """A phrase of nonsense that is Japanese to the eye, of so many characters."""
    return "".join(rng.choice(KANA + KANJI) for _ in range(text_length))


def card(number: int, category: str, phrases: Sequence[str], **more: object) -> dict[str, Any]:
    """A card as the game's cards.json has it."""
    return {
        "id": f"card-{number}",
        "category": category,
        "condition_text": f"第{number}条の難点",
        "strength": more.pop("strength", -3),
        "poems": [
            {"id": f"p-{number}-{letter}", "poem_text": text}
            for letter, text in zip("abcdefghijkl", phrases, strict=False)
        ],
        **more,
    }


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(value))


def write_deck(
    folder: Path,
    *,
    cards: Sequence[Mapping[str, object]],
    titles: Sequence[str] = ("題の一", "題の二", "題の三"),
    size: int = 5,
    **rest: object,
) -> Path:
    """Write a deck in the game's own form: cards, titles and a minimal deck.json with frames."""
    name = folder.name
    frames = orjson.loads((DECKS / "poem" / "deck.json").read_bytes())["template"]
    rest = {"template": frames, **rest}
    write_json(folder / "deck.json", {"id": name, "hand": {"size": size}, **rest})
    write_json(folder / "cards.json", list(cards))
    write_json(folder / "titles.json", list(titles))
    return folder


def small_cards(
    rng: random.Random, *, categories: int = 6, each: int = 2, phrases: int = 3, length: int = 18
) -> list[dict[str, Any]]:
    """Some cards in some categories, with phrases of nonsense."""
    return [
        card(
            c * each + i,
            f"分類{c}",
            [written(length, rng) for _ in range(phrases)],
            strength=-((c * each + i) % 6),
        )
        for c in range(categories)
        for i in range(each)
    ]


def small_deck(folder: Path, **wanted: Any) -> Deck:
    """A small deck, written and loaded."""
    size = wanted.pop("size", 5)
    rest = wanted.pop("rest", {})
    cards = small_cards(random.Random(1), **wanted)
    return load_deck(write_deck(folder, cards=cards, size=size, **rest))


MUSEUM_OBJECTS = (
    "stuffed owl",
    "brass telescope",
    "wedding shoe",
    "tin robot",
    "church bell",
    "tea urn",
)
MUSEUM_FRAMES = {
    "openings": ["Step closer.", "Nobody asked for this.", "The light is kind here."],
    "links": ["So it is.", "Look twice.", "And nobody minds.", "That is the whole story, almost."],
    "closings": ["Please come again.", "The door stays open until five.", "We are proud of it."],
}
MUSEUM_PHRASES = (
    "It has kept its dignity for {n} winters",
    "It waits for you by window {n}!",
    "Owner number {n} would know it again",
)
MUSEUM_ANSWER = {"characters": [200, 400], "paragraphs": [2, 4]}


def new_cards(decks: Path, wanted: NewDeck) -> Deck:
    """A new deck of cards, as `precompute new-deck` makes it."""
    deck = new_deck(decks, wanted)
    assert isinstance(deck, Deck)
    return deck


def museum(folder: Path, **rest: Any) -> Deck:
    """A deck in English: 30 cards in six categories, a hand of three."""
    cards = [
        {
            "id": f"c{n}{twin}",
            "category": f"room {n}",
            "condition_text": f"A {name} with {n + 12} holes",
            "strength": -2,
            "tells": [name, name.split()[1]],
            "poems": [
                {
                    "id": f"p{n}{twin}{i}",
                    "poem_text": text.format(n=100 + 5 * n + "abcde".index(twin)),
                }
                for i, text in enumerate(MUSEUM_PHRASES)
            ],
        }
        for n, name in enumerate(MUSEUM_OBJECTS)
        for twin in "abcde"
    ]
    titles = ["The Quiet Room", "Number Nine"]
    rest = {"language": "en", "answer": MUSEUM_ANSWER, "template": MUSEUM_FRAMES, **rest}
    return load_deck(write_deck(folder, cards=cards, titles=titles, size=3, **rest))


def entry(query: Query, poem: str = "詩", variant: int = 0, source: str = "composer") -> Entry:
    """An entry for a query."""
    return Entry(
        key=query.key,
        variant=variant,
        query=query,
        response={"title": "題の一", "poem": poem},
        source=source,
        model=f"{source}-1",
        fingerprint="test",
        created="2026-01-01T00:00:00Z",
    )


def bodies(entries: Sequence[Entry]) -> dict[tuple[str, int], bytes]:
    """What an index holds of some entries, by key and variant."""
    return {
        (e.key, e.variant): exact_body(orjson.loads(e.to_line()), e.query.deck) for e in entries
    }


def game_body(deck: Deck, query: Query) -> dict[str, Any]:
    """A play as the game's client posts it: whole card objects, whole phrases."""
    pairs = []
    for card_id, phrase_id in query.picks:
        raw = dict(deck.card_by_id[card_id].raw)
        phrase = next(p for p in raw["poems"] if p["id"] == phrase_id)
        pairs.append({"conditionCard": raw, "selectedPoem": phrase})
    return {"selectedPairs": pairs}


def vote(client: httpx.Client, answer: httpx.Response, vote: str, visitor: str) -> int:
    """A visitor's vote on an answer, with the ballot that came with it; the status of the reply."""
    told = answer.json()
    body = {
        "vote": vote,
        "variant": told["variant"],
        "deck": told["deck"],
        "ballot": answer.headers["x-tsukurioki-ballot"],
        "visitor": visitor,
    }
    return client.post(f"/api/answers/{told['key']}/feedback", json=body).status_code


@dataclass(frozen=True)
class Precompute:
    """Runs the command in a process of its own, in a folder where no other test works."""

    settings: Mapping[str, object]

    def __call__(
        self, *arguments: object, status: int = 0, **settings: object
    ) -> subprocess.CompletedProcess[str]:
        done = forks.run(
            self.words(*arguments),
            cwd=self.folder,
            env=environment(**{**self.settings, **settings}),
            timeout=PATIENCE * 4,
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    @property
    def folder(self) -> Path:
        """Where it is run: beside its data, so that a default like `event` is its own."""
        return Path(str(self.settings["TSUKURIOKI_DATA"])).parent

    def words(self, *arguments: object) -> list[str]:
        """The command with its arguments."""
        return [sys.executable, "-m", "precompute", *map(str, arguments)]

    def start(self, *arguments: object, **settings: object) -> subprocess.Popen[str]:
        """Start it and go on."""
        return subprocess.Popen(
            self.words(*arguments),
            cwd=self.folder,
            env=environment(**{**self.settings, **settings}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    data: Path
    process: forks.Process

    def client(self, **options: Any) -> httpx.Client:
        """A client that keeps its connection."""
        return httpx.Client(base_url=self.url, timeout=PATIENCE, **options)


@contextlib.contextmanager
def serving(
    settings: Mapping[str, object],
    log: Path,
    command: Sequence[str] = (sys.executable, "-m", "app"),
) -> Iterator[Server]:
    """Start a server on a free port, wait until it answers, and end it by its id."""
    port = free_port()
    filled = {"TSUKURIOKI_PORT": port, "TSUKURIOKI_WORKERS": 1, **settings}
    with log.open("wb") as output:
        process = forks.start(
            [word.format(port=port) for word in command],
            cwd=REPO,
            env=environment(**filled),
            streams=(None, output, output),
        )
    server = Server(f"http://127.0.0.1:{port}", Path(str(settings["TSUKURIOKI_DATA"])), process)

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{server.url}/healthz", timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, "the server")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Previewed:
    """A running preview; `said` has what it printed so far."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """What it printed so far."""
        return self.log.read_text(encoding="utf-8")


@contextlib.contextmanager
def previewing(data: Path, deck: str, **settings: object) -> Iterator[Previewed]:
    """Start `precompute preview` on a free port, wait for its address, and end it as Ctrl-C does."""
    log = data / "preview.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "precompute", "preview", "--deck", deck, "--port", "0"],
            cwd=data,
            env=environment(TSUKURIOKI_DATA=data, PYTHONUNBUFFERED=1, **settings),
            stdout=output,
            stderr=output,
        )

    def address() -> str:
        said = log.read_text(encoding="utf-8")
        assert process.poll() is None, said
        found = re.search(r"^preview: (http://127\.0\.0\.1:\d+)", said, re.MULTILINE)
        return found[1] if found else ""

    try:
        url = wait_for(address, "the preview")
        yield Previewed(url, data / "decks" / deck, process, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
