"""Cards, titles and written answers of a deck as tables, both ways without loss.

    cards     id, category, card, strength, tells, more, phrase 1 id, phrase 1, phrase 2 id, …
    titles    title
    answers   card 1, phrase 1, card 2, phrase 2, …, title, text

Of a card, `category`, `card` (its condition) and one phrase are needed; the rest is filled in. The
words that tell a card are parted by `|`; `-` stands for an empty list, and words with `|` in them are
written as a JSON list. `more` holds other members
of the card's object, as JSON.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from app.errors import DeckError
from app.kinds.cards.deck import CARDS_FILE, TITLES_FILE
from app.kinds.cards.written import WRITTEN_FILE
from app.kinds.reading import json_lines, nearest
from precompute.decks.sheets import Table

CARDS, TITLES, ANSWERS = "cards", "titles", "answers"
TABLES = (CARDS, TITLES, ANSWERS)
FILES = {CARDS: CARDS_FILE, TITLES: TITLES_FILE, ANSWERS: WRITTEN_FILE}
_COLUMNS = {
    "id": "id",
    "category": "category",
    "card": "condition_text",
    "strength": "strength",
    "tells": "tells",
    "more": "",
}
_PHRASE = re.compile(r"phrase ([1-9][0-9]*)( id)?")
_STRENGTH = -3
_EMPTY = "-"


def table_of_cards(cards: Sequence[Mapping[str, Any]]) -> Table:
    """The table of the objects of `cards.json`."""
    most = max(len(card["poems"]) for card in cards)
    numbered = [(f"phrase {n} id", f"phrase {n}") for n in range(1, most + 1)]
    header = [*_COLUMNS, *(name for pair in numbered for name in pair)]
    return [header, *(_row(card, most) for card in cards)]


def _row(card: Mapping[str, Any], most: int) -> list[str]:
    poems = card["poems"]
    known = {"id", "category", "condition_text", "strength", "tells", "poems"}
    more: dict[str, Any] = {name: value for name, value in card.items() if name not in known}
    # What phrases have besides id and text, in their order.
    extra = [{k: v for k, v in one.items() if k not in ("id", "poem_text")} for one in poems]
    if any(extra):
        more["poems"] = extra
    tells = card.get("tells")
    row = [
        card["id"],
        card["category"],
        card["condition_text"],
        str(card["strength"]),
        "" if tells is None else _joined(tells),
        orjson.dumps(more).decode() if more else "",
    ]
    cells = [text for one in poems for text in (one["id"], one["poem_text"])]
    return [*row, *cells, *[""] * (2 * (most - len(poems)))]


def _joined(words: Sequence[str]) -> str:
    odd = any("|" in word or word != word.strip() or word[0] in "[-" for word in words)
    return orjson.dumps(words).decode() if odd else " | ".join(words) or _EMPTY


def _parted(text: str) -> list[str]:
    if text.startswith("["):
        return [str(word) for word in orjson.loads(text)]
    return [] if text == _EMPTY else [word.strip() for word in text.split("|") if word.strip()]


def cards_of_table(table: Table, file: str) -> list[dict[str, Any]]:
    """The objects of `cards.json`. Raises DeckError with the row of a fault."""
    header, rows = _parts(table, file)
    for name in header:
        if name and name not in _COLUMNS and not _PHRASE.fullmatch(name):
            hint = nearest(name, [*_COLUMNS, "phrase 1"])
            raise DeckError(file, "row 1", f"no such column: {name!r}{hint}")
    for name in ("category", "card", "phrase 1"):
        if name not in header:
            raise DeckError(file, "row 1", f"there is no column {name!r}")
    return [_card(number, row, file) for number, row in rows]


def _parts(table: Table, file: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each row that is not empty with its number, by column."""
    if not table:
        raise DeckError(file, "", "is empty")
    header = [name.strip().casefold() for name in table[0]]
    twice = next((name for name in header if name and header.count(name) > 1), "")
    if twice:
        raise DeckError(file, "row 1", f"the column {twice!r} stands twice")
    rows = []
    for number, cells in enumerate(table[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        beyond = [cell for cell in cells[len(header) :] if cell.strip()]
        if beyond:
            raise DeckError(file, f"row {number}", f"has more cells than the header: {beyond[0]!r}")
        rows.append((number, dict(zip(header, [*cells, *[""] * len(header)], strict=False))))
    return header, rows


def _card(number: int, row: Mapping[str, str], file: str) -> dict[str, Any]:
    place = f"row {number}"
    card_id = row.get("id", "") if row.get("id", "").strip() else f"card-{number - 1:03}"
    strength = row.get("strength", "").strip() or str(_STRENGTH)
    if not re.fullmatch(r"[-+]?[0-9]+", strength):
        raise DeckError(file, place, f"strength is a whole number, not {strength!r}")
    for name in ("category", "card", "phrase 1"):
        if not row[name].strip():
            raise DeckError(file, place, f"{name!r} is empty")
    card: dict[str, Any] = {
        "id": card_id,
        "category": row["category"],
        "condition_text": row["card"],
        "strength": int(strength),
    }
    if tells := row.get("tells", "").strip():
        try:
            card["tells"] = _parted(tells)
        except ValueError:
            raise DeckError(file, place, f"'tells' is no JSON list: {tells}") from None
    card["poems"] = list(_phrases(card_id, row))
    if more := row.get("more", "").strip():
        _add(card, more, file, place)
    return card


def _phrases(card_id: str, row: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    numbers = sorted(int(found[1]) for name in row if (found := _PHRASE.fullmatch(name)))
    for number in dict.fromkeys(numbers):
        text = row.get(f"phrase {number}", "")
        if not text.strip():
            continue
        letter = string.ascii_lowercase[(number - 1) % 26] * ((number - 1) // 26 + 1)
        given = row.get(f"phrase {number} id", "")
        phrase_id = given if given.strip() else f"{card_id}-{letter}"
        yield {"id": phrase_id, "poem_text": text}


def _add(card: dict[str, Any], more: str, file: str, place: str) -> None:
    try:
        members = orjson.loads(more)
        extra = members.pop("poems", [])
        for phrase, own in zip(card["poems"], extra, strict=False):
            phrase.update(own)
        card.update(members)
    except (orjson.JSONDecodeError, AttributeError, TypeError, ValueError):
        raise DeckError(file, place, "'more' is no JSON object") from None


def table_of_titles(titles: Sequence[str]) -> Table:
    return [["title"], *([title] for title in titles)]


def titles_of_table(table: Table, file: str) -> list[str]:
    """The titles. Raises DeckError if there is no such column."""
    header, rows = _parts(table, file)
    if "title" not in header:
        raise DeckError(file, "row 1", "there is no column 'title'")
    return [row["title"] for _, row in rows]


def table_of_answers(answers: Sequence[Mapping[str, Any]], hand: int) -> Table:
    """The table of the objects of `written.jsonl`."""
    header = [name for n in range(1, hand + 1) for name in (f"card {n}", f"phrase {n}")]
    rows = [[*(i for pick in a["picks"] for i in pick), a["title"], a["text"]] for a in answers]
    return [[*header, "title", "text"], *rows]


def answers_of_table(table: Table, file: str, hand: int) -> list[tuple[int, dict[str, Any]]]:
    """The objects of `written.jsonl`, each with its row. Raises DeckError if a column is missing."""
    header, rows = _parts(table, file)
    picks = [(f"card {n}", f"phrase {n}") for n in range(1, hand + 1)]
    for name in (*(name for pair in picks for name in pair), "title", "text"):
        if name not in header:
            raise DeckError(file, "row 1", f"there is no column {name!r}")
    return [
        (
            number,
            {
                "picks": [[row[card], row[phrase]] for card, phrase in picks],
                "title": row["title"],
                "text": row["text"],
            },
        )
        for number, row in rows
    ]


def read_answers(path: Path) -> list[Any]:
    """The objects of `written.jsonl`; none if there is no file."""
    if not path.exists():
        return []
    return [value for _, value in json_lines(path)]
