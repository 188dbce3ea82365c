"""The pieces that were cooked for a deck, and putting them in place.

What passes the gate is kept with its provenance, one line a piece, in `<deck>.pieces.jsonl` beside the
store; a killed build goes on from there. `take` makes the deck's own file of them.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from app.errors import DamagedLineError, PlanError, StoreWriteError
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import PIECES_FILE
from app.store.entry import seal, unseal
from precompute.pieces.writer import TITLES, card_jobs

# Of which phrase (empty: of the card itself), and of which form or ending; or the titles.
Kind = tuple[str, str]
TITLE: Kind = ("", "titles")


def pieces_path(store: Path, deck: str) -> Path:
    """Where the pieces cooked for a deck are."""
    return store / f"{deck}.pieces.jsonl"


class PieceStore:
    """The pieces that were cooked for a deck. Whoever makes one holds the log's lock."""

    def __init__(self, store: Path, deck: Deck) -> None:
        self.path = pieces_path(store, deck.id)
        self.deck = deck
        self.damaged = 0
        # card → kind → text → place (0: none)
        self.kept: defaultdict[str, defaultdict[Kind, dict[str, int]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self.texts: set[str] = set()
        self._sources: dict[str, str] = {}
        self._by_key = {job.query.key: job.query.picks[0][1] for job in card_jobs(deck)}
        self._read()

    def _read(self) -> None:
        """What is there; a torn or damaged line is passed over, its piece is cooked again."""
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
        kind = record["phrase"], record["kind"]
        self.kept[record["card"]][kind][record["text"]] = record["place"]
        self._sources[record["card"]] = record["source"]
        if kind != TITLE:
            self.texts.add(record["text"])

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Make pieces durable. Raises StoreWriteError."""
        try:
            with self.path.open("ab") as file:
                file.write(b"".join(seal(orjson.dumps(record)) for record in records))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreWriteError(f"{self.path}: cannot be written: {error.strerror}") from None
        for record in records:
            self._remember(record)

    def wanted(self, card: str) -> dict[Kind, int]:
        """How many pieces of each kind a card needs."""
        pieces = self.deck.pieces
        of_card = {("", name): wanted.each for name, wanted in pieces.endings.items()}
        of_phrases = {
            (phrase.id, form.id): form.wanted.each
            for phrase in self.deck.card_by_id[card].phrases
            for form in pieces.forms
        }
        return {TITLE: TITLES, **of_card, **of_phrases}

    def lacks(self, card: str) -> list[Kind]:
        """What is still wanted of a card."""
        kept = self.kept[card]
        return [kind for kind, each in self.wanted(card).items() if len(kept[kind]) < each]

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """Who wrote a card's pieces, once it has all that it needs."""
        card = self._by_key[key]
        return None if self.lacks(card) else self._sources[card]

    def catch_up(self) -> None:
        """It is never behind its file."""

    def as_file(self) -> dict[str, Any]:
        """The pieces as the deck's own file has them."""
        cards = {
            card.id: {name: list(self.kept[card.id]["", name]) for name in self._names()}
            for card in self.deck.cards
        }
        phrases = {
            phrase.id: {
                form.id: [
                    {"text": text, "place": place} if form.places else {"text": text}
                    for text, place in self.kept[card.id][phrase.id, form.id].items()
                ]
                for form in self.deck.pieces.forms
            }
            for card in self.deck.cards
            for phrase in card.phrases
        }
        return {"cards": cards, "phrases": phrases}

    def _names(self) -> list[str]:
        return [TITLE[1], *self.deck.pieces.endings]


def take(kept: PieceStore) -> Path:
    """Put cooked pieces in place of a deck's own; returns the file written.

    What was there is kept beside as `….before`. Raises PlanError where something is lacking still.
    """
    deck = kept.deck
    assert deck.folder is not None
    lacking = [card.id for card in deck.cards if kept.lacks(card.id)]
    if lacking:
        raise PlanError(
            f"{len(lacking)} of the deck's cards lack pieces, the first is {lacking[0]!r}; "
            "run build --pieces again, then --take"
        )
    return _replace(deck.folder / PIECES_FILE, kept.as_file())


def _replace(path: Path, value: object) -> Path:
    scratch = path.with_suffix(".new")
    before = path.with_suffix(".json.before")
    try:
        scratch.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2))
        if path.exists() and not before.exists():
            before.write_bytes(path.read_bytes())
        scratch.rename(path)
    except OSError as error:
        raise StoreWriteError(f"{path}: cannot be written: {error.strerror}") from None
    return path
