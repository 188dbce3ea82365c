"""Exports a deck's cards, titles and written answers as tables, and takes such tables back in.

An import is checked as a whole deck before it replaces anything; the files that it replaces are
kept beside the new ones, numbered.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import DeckError, PlanError
from app.kinds.cards.deck import CARDS_FILE, Deck
from app.kinds.cards.loading import load_deck
from app.kinds.cards.written import WRITTEN_FILE
from app.kinds.reading import text_of
from precompute.decks import cards_table as tables
from precompute.decks.replaced import keep, not_of_the_deck
from precompute.decks.sheets import read_tables, write_tables
from precompute.files import write_whole
from precompute.review.cards import check


def export_cards(deck: Deck, target: Path) -> list[Path]:
    """Write the tables of a deck; returns the files. Raises PlanError if one is there already."""
    assert deck.folder is not None
    cards = [card.raw for card in deck.cards]
    written = {
        tables.CARDS: tables.table_of_cards(cards),
        tables.TITLES: tables.table_of_titles(deck.titles),
    }
    if answers := tables.read_answers(deck.folder / WRITTEN_FILE):
        written[tables.ANSWERS] = tables.table_of_answers(answers, deck.hand_size)
    return write_tables(target, written)


class DeckFiles(NamedTuple):
    """The files of a deck that tables stand for, by name, and the rows of the written answers."""

    files: dict[str, bytes]
    rows: tuple[int, ...]

    def in_sheets(self, message: str) -> str:
        """A message that names a line of the written answers, with the row of the sheet instead."""
        return _LINE.sub(
            lambda line: f"{tables.ANSWERS} row {self.rows[int(line[1]) - 1]}", message
        )


_LINE = re.compile(rf"\S*{re.escape(WRITTEN_FILE)}: line ([0-9]+)")


def read_files(source: Path, hand: int) -> DeckFiles:
    """The files of a deck that tables stand for. Raises DeckError."""
    found = read_tables(source, tables.TABLES)
    file = str(source)
    made: dict[str, bytes] = {}
    rows: tuple[int, ...] = ()
    for name, table in found.items():
        where = file if len(found) == 1 else f"{file} ({name})"
        if name == tables.CARDS:
            made[CARDS_FILE] = as_json(tables.cards_of_table(table, where))
        elif name == tables.TITLES:
            made[tables.FILES[name]] = as_json(tables.titles_of_table(table, where))
        else:
            answers = tables.answers_of_table(table, where, hand)
            rows = tuple(row for row, _ in answers)
            made[WRITTEN_FILE] = b"".join(orjson.dumps(one) + b"\n" for _, one in answers)
    return DeckFiles(made, rows)


def as_json(value: Any) -> bytes:
    """JSON as a person reads it."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def import_cards(deck: Deck, source: Path) -> tuple[Deck, list[Path]]:
    """Take tables into a deck; returns the deck and the files that were kept of the old one.

    Raises DeckError, and changes nothing, if the deck would be wrong, also by what `check` finds.
    """
    assert deck.folder is not None
    folder = deck.folder
    taken = read_files(source, deck.hand_size)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy, ignore=not_of_the_deck)
        _write(copy, taken.files)
        try:
            _refuse_errors(load_deck(copy), deck)
        except DeckError as error:
            fault = taken.in_sheets(str(error)).replace(str(copy), str(folder))
            raise PlanError(f"{source}: {fault}; nothing was imported") from None
    changed = {
        name: data
        for name, data in taken.files.items()
        if not (folder / name).exists()
        or _parsed(name, text_of(folder / name)) != _parsed(name, data)
    }
    kept = [keep(folder / name) for name in changed if (folder / name).exists()]
    _write(folder, changed)
    return load_deck(folder), kept


def _refuse_errors(deck: Deck, before: Deck) -> None:
    """Raise DeckError for an error that `check` finds in a deck and not in the deck `before`."""
    known = {finding.what for finding in check(before) if finding.error}
    errors = [f for f in check(deck) if f.error and f.what not in known]
    if errors:
        more = f" (and {len(errors) - 1:,} more errors)" if len(errors) > 1 else ""
        raise DeckError(errors[0].where, "", f"{errors[0].what}{more}")


def _parsed(name: str, data: str | bytes) -> object:
    """The content of a file, however it is spelled."""
    if name != WRITTEN_FILE:
        return orjson.loads(data)
    return [orjson.loads(line) for line in data.splitlines() if line.strip()]


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        write_whole(folder / name, data)
