"""A data folder with the decks of the box, and the command that exports from it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from app.kinds.cards.deck import Deck
from app.kinds.cards.written import written_answers
from app.ledger.votes import VoteBox
from app.store.entry import Entry
from app.store.log import LogWriter
from tests import forks
from tests.kit import poem_deck
from tests.making import DECKS, REPO, environment

STAMP = "2026-11-27T10:00:00Z"


@dataclass
class Place:
    """A data folder."""

    data: Path
    settings: dict[str, object]
    # Seconds for a command: less than pytest's own limit, so that the failure names the command.
    patience: float = 230.0

    def run(self, *arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
        """`precompute` with these arguments."""
        return forks.run(
            [sys.executable, "-m", "precompute", *map(str, arguments)],
            cwd=REPO,
            env=environment(
                **{
                    "TSUKURIOKI_DATA": self.data,
                    "TSUKURIOKI_DECKS": DECKS,
                    **self.settings,
                    **settings,
                }
            ),
            timeout=self.patience,
        )

    def export(self, form: str, *more: object, deck: str = "poem", **settings: object) -> Path:
        """Export in a form; the folder."""
        out = self.data / f"{deck}-{form}"
        done = self.run("export", "--deck", deck, "--format", form, "--out", out, *more, **settings)
        assert done.returncode == 0, done.stderr
        return out

    def store(self, *entries: Entry, deck: str = "poem") -> None:
        """Append entries to the log."""
        with LogWriter(self.data / "store", deck) as log:
            log.append(entries)

    def vote(self, entry: Entry, vote: str, times: int = 3) -> None:
        """Votes on an entry's text."""
        box = VoteBox(self.data / "ledger", entry.query.deck)
        for _ in range(times):
            box.vote(entry.key, entry.variant, vote, STAMP, entry.created)


def manifest(out: Path) -> dict[str, Any]:
    """The manifest of an export."""
    found: dict[str, Any] = orjson.loads((out / "manifest.json").read_bytes())
    return found


def lines(path: Path) -> list[Any]:
    """The objects of a file of JSON lines."""
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def poems(count: int, source: str = "ollama", deck: Deck | None = None) -> list[Entry]:
    """Entries with whole poems of the box, for their plays, as if another source had written them."""
    found = list(written_answers(deck or poem_deck()).items())[:count]
    return [
        Entry(query.key, 0, query, response, source, "a-model", "test", STAMP)
        for query, response in found
    ]


def other(entry: Entry, response: dict[str, str], **change: Any) -> Entry:
    """The same entry with another text."""
    return replace(entry, response=response, **change)
