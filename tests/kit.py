"""What tests of cooking share: a clock that moves by itself, and a build context in a folder."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import orjson
from rich.console import Console

from app.errors import OperatorError
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.kinds.chat.deck import CharacterDeck, load_character_deck
from app.settings import Settings
from app.store.entry import Entry
from app.store.log import Record, log_path, read_log
from precompute.cook.cards import BUILDS
from precompute.cook.clock import Clock
from precompute.cook.options import BuildContext, BuildOptions
from tests.standin import KEY, StandIn

DATA = Path(__file__).parent.parent / "data"
POEM = DATA / "decks" / "poem"
MODELS = ("gemini", "gemini-legacy", "ollama", "openai")


@lru_cache(maxsize=1)
def poem_deck() -> Deck:
    """The deck in the box."""
    return load_deck(POEM)


@lru_cache(maxsize=1)
def chat_deck() -> CharacterDeck:
    """The deck of characters in the box, in Japanese."""
    return load_character_deck(DATA / "decks" / "chat")


class FakeClock:
    """Time passes by sleeping only."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self._woken = False
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds slept so far."""
        with self._lock:
            return self.time

    def stamp(self) -> str:
        """A day in the life of the price table, and the seconds slept."""
        return f"2026-11-20T{int(self.now()) // 3600 % 24:02}:00:{int(self.now()) % 60:02}Z"

    def sleep(self, seconds: float) -> None:
        """Pass time at once."""
        with self._lock:
            if not self._woken:
                self.slept.append(seconds)
                self.time += seconds

    def wake(self) -> None:
        """No more sleep."""
        with self._lock:
            self._woken = True


@dataclass
class Outcome:
    """What a build said and how it ended."""

    status: int
    out: str
    err: str
    error: str = ""
    clock: Clock | None = None


@dataclass
class Booth:
    """A store in a folder, and who is asked."""

    folder: Path
    stand_in: StandIn | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def settings(self) -> Settings:
        """As the environment of someone who uses the stand-in."""
        return Settings.read(self.full_environ())

    def full_environ(self) -> dict[str, str]:
        """The variables."""
        url = self.stand_in.url if self.stand_in else "http://127.0.0.1:9"
        return {
            "TSUKURIOKI_DATA": str(DATA),
            "TSUKURIOKI_STORE": str(self.folder / "store"),
            "TSUKURIOKI_LEDGER": str(self.folder / "ledger"),
            "GEMINI_API_KEY": KEY,
            "TSUKURIOKI_GEMINI_BASE_URL": url,
            "OLLAMA_HOST": url,
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": f"{url}/v1",
            "TSUKURIOKI_TIMEOUT": "5",
            "TSUKURIOKI_OLLAMA_FREE_MB": "0",
            **self.environ,
        }

    def context(self, clock: Clock | None = None) -> BuildContext:
        """A build context whose consoles are kept, and whose time is not ours."""
        return BuildContext(
            self.settings(),
            poem_deck(),
            Console(file=io.StringIO(), width=200),
            Console(file=io.StringIO(), width=200),
            clock or FakeClock(),
            Random(0),
        )

    def build(self, clock: Clock | None = None, **asked: Any) -> Outcome:
        """`precompute build` with these options; an error for people is part of the outcome."""
        context = self.context(clock)
        error = ""
        try:
            options = BuildOptions(**asked)
            status = BUILDS[options.strategy].run(options, context)
        except OperatorError as fault:
            status, error = 2, str(fault)
        texts = [console.file.getvalue() for console in (context.out, context.err)]  # type: ignore[attr-defined]
        return Outcome(status, texts[0], texts[1], error, context.clock)

    def entries(self) -> list[Entry]:
        """The log."""
        log = log_path(self.folder / "store", "poem")
        return [item.entry for item in read_log(log) if isinstance(item, Record)]

    def refused(self) -> list[dict[str, Any]]:
        """The side file of refused answers."""
        path = self.folder / "store" / "poem.refused.jsonl"
        return (
            [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
        )

    def files(self) -> Iterator[bytes]:
        """Everything that was written."""
        for path in (self.folder / "store").rglob("*"):
            if path.is_file():
                yield path.read_bytes()


def assert_good(entries: list[Entry], count: int) -> None:
    """So many entries, each key once, each past the gate."""
    gate = Gate.of(poem_deck())
    assert len(entries) == count
    assert len({(entry.key, entry.variant) for entry in entries}) == count
    for entry in entries:
        assert gate.examine(entry.query, entry.response) is None
