"""The pieces that were cooked for a deck, and writing them to its file.

Pieces are kept with their provenance, one on each line, in `<deck>.pieces.jsonl` in the store, so
that a build that was killed can be continued. `take` writes the deck's `pieces.json` from them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from app.errors import DamagedLineError, PlanError
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import PIECES_FILE
from app.store.entry import seal, unseal
from precompute.decks.replaced import keep
from precompute.files import append_lines, write_whole
from precompute.pieces.writer import card_jobs

# The id of a phrase and of an idea.
Kind = tuple[str, str]


def pieces_path(store: Path, deck: str) -> Path:
    return store / f"{deck}.pieces.jsonl"


class PieceStore:
    """The pieces that were cooked for a deck. The caller must hold the log's lock."""

    def __init__(self, store: Path, deck: Deck) -> None:
        self.path = pieces_path(store, deck.id)
        self.deck = deck
        self.damaged = 0
        # card → kind → texts, each once
        self.kept: defaultdict[str, defaultdict[Kind, dict[str, None]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self.texts: set[str] = set()
        self._sources: dict[str, str] = {}
        self._by_key = {job.query.key: job.query.picks[0][1] for job in card_jobs(deck)}
        self._read()

    def _read(self) -> None:
        """Read the file; the pieces of torn or damaged lines are cooked again."""
        if not self.path.exists():
            return
        raw = self.path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        if len(whole) < len(raw):
            os.truncate(self.path, len(whole))
        for line in whole.splitlines():
            try:
                self._remember(unseal(line))
            except (DamagedLineError, KeyError, TypeError):
                self.damaged += 1

    def _remember(self, record: Mapping[str, Any]) -> None:
        kind = record["phrase"], record["idea"]
        self.kept[record["card"]][kind][record["text"]] = None
        self._sources[record["card"]] = record["source"]
        self.texts.add(record["text"])

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append pieces and sync them to the disk. Raises StoreWriteError."""
        append_lines(self.path, [seal(orjson.dumps(record)) for record in records])
        for record in records:
            self._remember(record)

    def wanted(self, card: str) -> dict[Kind, int]:
        """The number of pieces of each kind that a card needs."""
        return {
            (phrase.id, idea.id): idea.wanted.each
            for phrase in self.deck.card_by_id[card].phrases
            for idea in self.deck.pieces.ideas
        }

    def lacks(self, card: str) -> list[Kind]:
        """The kinds of pieces of which a card still has too few."""
        kept = self.kept[card]
        return [kind for kind, each in self.wanted(card).items() if len(kept[kind]) < each]

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of a card's pieces; None if it still lacks some."""
        card = self._by_key[key]
        return None if self.lacks(card) else self._sources[card]

    def catch_up(self) -> None:
        """Do nothing: this is always up to date with its file."""

    def as_file(self) -> dict[str, Any]:
        """The pieces in the format of the deck's file."""
        return {
            "phrases": {
                phrase.id: {
                    idea.id: list(self.kept[card.id][phrase.id, idea.id])
                    for idea in self.deck.pieces.ideas
                }
                for card in self.deck.cards
                for phrase in card.phrases
            }
        }


def take(kept: PieceStore) -> Path:
    """Replace a deck's pieces by the cooked ones; returns the path of the file.

    The old file is kept beside it, numbered. Raises PlanError if some are still lacking.
    """
    deck = kept.deck
    assert deck.folder is not None
    lacking = [card.id for card in deck.cards if kept.lacks(card.id)]
    if lacking:
        raise PlanError(
            f"{len(lacking)} of the deck's cards lack pieces, the first is {lacking[0]!r}; "
            "run build --pieces again, then --take"
        )
    path = deck.folder / PIECES_FILE
    if path.exists():
        keep(path)
    write_whole(path, orjson.dumps(kept.as_file(), option=orjson.OPT_INDENT_2))
    return path
