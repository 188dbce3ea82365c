"""Exports a deck's cards, titles and written answers as tables, and takes such tables back in.

An import is checked as a whole deck before it replaces anything; the files that it replaces are
kept beside the new ones, numbered.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from app.kinds.cards.deck import CARDS_FILE, Deck, load_deck
from app.kinds.cards.written import WRITTEN_FILE, written_answers
from precompute.decks import cards_table as tables
from precompute.decks.sheets import read_tables, write_tables


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


def read_files(source: Path, hand: int) -> dict[str, bytes]:
    """The files of a deck, by name, that tables stand for. Raises DeckError."""
    found = read_tables(source, tables.TABLES)
    file = str(source)
    made: dict[str, bytes] = {}
    for name, table in found.items():
        where = file if len(found) == 1 else f"{file} ({name})"
        if name == tables.CARDS:
            made[CARDS_FILE] = as_json(tables.cards_of_table(table, where))
        elif name == tables.TITLES:
            made[tables.FILES[name]] = as_json(tables.titles_of_table(table, where))
        else:
            answers = tables.answers_of_table(table, where, hand)
            made[WRITTEN_FILE] = b"".join(orjson.dumps(one) + b"\n" for one in answers)
    return made


def as_json(value: Any) -> bytes:
    """JSON as a person reads it."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n"


def import_cards(deck: Deck, source: Path) -> tuple[Deck, list[Path]]:
    """Take tables into a deck; returns the deck and the files that were kept of the old one.

    Raises DeckError, and changes nothing, if the deck would be wrong.
    """
    assert deck.folder is not None
    folder = deck.folder
    files = read_files(source, deck.hand_size)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / folder.name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.before*"))
        _write(copy, files)
        written_answers(load_deck(copy))
    changed = {
        name: data
        for name, data in files.items()
        if not (folder / name).exists()
        or _value(name, (folder / name).read_bytes()) != _value(name, data)
    }
    kept = [_kept(folder / name) for name in changed if (folder / name).exists()]
    _write(folder, changed)
    return load_deck(folder), kept


def _value(name: str, data: bytes) -> object:
    lines = data.removeprefix(b"\xef\xbb\xbf")
    if name == WRITTEN_FILE:
        return [orjson.loads(line) for line in lines.splitlines()]
    return orjson.loads(lines)


def _kept(path: Path) -> Path:
    number = 1
    while (kept := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    shutil.copyfile(path, kept)
    return kept


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        new = folder / f"{name}.new"
        new.write_bytes(data)
        new.replace(folder / name)
