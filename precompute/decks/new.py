"""A new deck of cards: a folder that works at once, made from the templates of a language.

The templates are data in `templates/<language>`: `starter.json` (cards, titles, frames, words of
the pages), the prompts, and `README.md`. In texts, `<<name>>`, `<<id>>` and `<<hand>>` are replaced.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import PlanError
from app.kinds.cards.deck import CARDS_FILE, TITLES_FILE, Deck, default_rules, load_deck
from app.kinds.cards.prompts import FOLDER
from app.kinds.cards.words import WORDS_FILE, known_words
from app.kinds.language import LANGUAGES
from app.kinds.reading import DECK_FILE, ID_PATTERN
from precompute.decks.exchange import as_json, read_files

TEMPLATES = Path(__file__).parent / "templates"
STARTER, README = "starter.json", "README.md"
MOST_CARDS = 12
# The rules of an answer that a person wants to see in deck.json, though they have defaults.
_SHOWN = ("paragraphs", "sentence", "wording", "forbidden", "address", "showcase", "echo", "polite")


class Wanted(NamedTuple):
    """What somebody asks for; without a `name`, it is made from the id.

    `source` is a spreadsheet or a folder of them.
    """

    id: str
    language: str
    hand: int
    name: str = ""
    source: Path | None = None


def languages() -> list[str]:
    """The languages with templates."""
    return sorted(path.name for path in TEMPLATES.iterdir() if (path / STARTER).is_file())


def new_deck(decks: Path, wanted: Wanted) -> Deck:
    """Make the folder of a deck. Raises PlanError and DeckError, and then makes nothing."""
    target = decks / wanted.id
    if not ID_PATTERN.fullmatch(wanted.id):
        raise PlanError(f"{wanted.id!r}: a name has 1 to 40 small letters, digits and hyphens")
    if target.exists():
        raise PlanError(f"{target} is there already; take another name, or remove it")
    decks.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=decks, prefix=".new-") as scratch:
        made = Path(scratch) / wanted.id
        made.mkdir()
        for name, data in _files(wanted).items():
            path = made / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        load_deck(made)
        made.rename(target)
    return load_deck(target)


def _files(wanted: Wanted) -> dict[str, bytes]:
    templates = TEMPLATES / wanted.language
    starter = orjson.loads((templates / STARTER).read_bytes())
    name = wanted.name or wanted.id.replace("-", " ").capitalize()

    def filled(data: bytes) -> bytes:
        text = data.decode()
        for place, value in (("name", name), ("id", wanted.id), ("hand", wanted.hand)):
            text = text.replace(f"<<{place}>>", str(value))
        return text.encode()

    files = {
        CARDS_FILE: as_json(starter["cards"]),
        TITLES_FILE: as_json(starter["titles"]),
        DECK_FILE: as_json(_deck(wanted, name, starter)),
        # All words, so that whoever changes some finds them.
        WORDS_FILE: filled(
            as_json({wanted.language: {**(known_words(wanted.language) or {}), **starter["words"]}})
        ),
        README: filled((templates / README).read_bytes()),
    }
    for path in sorted((templates / FOLDER).iterdir()):
        files[f"{FOLDER}/{path.name}"] = filled(path.read_bytes())
    if wanted.source:
        files.update(read_files(wanted.source, wanted.hand).files)
    elif wanted.hand > len({card["category"] for card in starter["cards"]}):
        raise PlanError(
            f"--hand {wanted.hand}: the cards in the box are of 6 categories; bring your own with "
            "--from cards.csv"
        )
    return files


def answer_length(language: str, hand: int) -> list[int]:
    """The least and greatest length of an answer, in characters, that fits so many cards."""
    starter = orjson.loads((TEMPLATES / language / STARTER).read_bytes())
    return [round(each * hand, -1) for each in starter["characters_a_card"]]


def _deck(wanted: Wanted, name: str, starter: Mapping[str, Any]) -> dict[str, Any]:
    language = LANGUAGES[wanted.language]
    rules = default_rules(language)._replace(**starter.get("answer", {}))
    answer = {
        "characters": answer_length(wanted.language, wanted.hand),
        **{rule: getattr(rules, rule) for rule in _SHOWN},
        "script": rules.script[0],
    }
    return {
        "id": wanted.id,
        "name": name,
        "language": wanted.language,
        "hand": {"size": wanted.hand, "distinct": "category"},
        "answer": answer,
        "template": starter["template"],
        "theme": starter["theme"],
    }
