"""A new deck: a folder that works at once, made from the templates of its kind and language.

The templates are data in `templates/<kind>/<language>`, each file of which becomes one of the deck's.
In texts, `<<name>>`, `<<id>>` and `<<hand>>` are replaced, and `<<called>>` by an expression that finds
the name in a message. A deck of cards is made of a `starter.json` besides: cards, titles, frames and
words of the pages.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import DeckError, PlanError
from app.kinds.cards.deck import CARDS_FILE, TITLES_FILE, default_rules
from app.kinds.cards.words import WORDS_FILE, known_words
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.gate import ChatGate
from app.kinds.chat.message import normalise
from app.kinds.decks import KINDS, load_folder
from app.kinds.expressions import literal
from app.kinds.kind import AnyDeck
from app.kinds.language import LANGUAGES
from app.kinds.reading import DECK_FILE, ID_PATTERN
from precompute.decks.exchange import as_json, read_files

TEMPLATES = Path(__file__).parent / "templates"
STARTER = "starter.json"
CARDS, CHAT, PROMPTS = ROOMS = tuple(kind.room for kind in KINDS.values())
MOST_CARDS = 12
_JSON = (".json", ".jsonl")
# The rules of an answer that a person wants to see in deck.json, though they have defaults.
_SHOWN = ("paragraphs", "sentence", "wording", "forbidden", "address", "showcase", "echo", "polite")


class NewDeck(NamedTuple):
    """What somebody asks for; without a `name`, it is made from the id.

    `kind` is the room of a kind of deck. `hand` and `source`, a spreadsheet or a folder of them, are
    for decks of cards.
    """

    id: str
    language: str
    hand: int = 0
    name: str = ""
    source: Path | None = None
    kind: str = CARDS

    @property
    def title(self) -> str:
        """The name that people see."""
        return self.name.strip() or self.id.replace("-", " ").capitalize()

    @property
    def templates(self) -> Path:
        """The folder of the templates."""
        return TEMPLATES / self.kind / self.language


def languages() -> list[str]:
    """The languages with templates."""
    return sorted(path.name for path in (TEMPLATES / CARDS).iterdir() if path.is_dir())


def new_deck(decks: Path, wanted: NewDeck) -> AnyDeck:
    """Make the folder of a deck. Raises PlanError and DeckError, and then makes nothing."""
    target = decks / wanted.id
    if not ID_PATTERN.fullmatch(wanted.id):
        raise PlanError(f"{wanted.id!r}: a name has 1 to 40 small letters, digits and hyphens")
    if target.exists():
        raise PlanError(f"{target} is there already; take another name, or remove it")
    decks.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=decks, prefix=".new-") as scratch:
        made = Path(scratch) / wanted.id
        for name, data in _files(wanted).items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        deck = _loaded(made, wanted)
        if isinstance(deck, CharacterDeck):
            _check_called(deck)
        made.rename(target)
    return load_folder(target)


def _loaded(made: Path, wanted: NewDeck) -> AnyDeck:
    """The deck. Raises PlanError, which names what it was made of: the folder will be gone."""
    try:
        return load_folder(made)
    except DeckError as error:
        fault = str(error).replace(f"{made}/", "")
        raise PlanError(f"{wanted.source or wanted.id}: {fault}; nothing was made") from None


def _check_called(deck: CharacterDeck) -> None:
    """Raise PlanError if the lines of a new character in which her name stands break her rules."""
    gate = ChatGate(deck)
    for character, _, line in deck.all_lines():
        # The templates' own lines pass. The name may stand there in another form than it was typed.
        for refusal in gate.vetted(character, line.text):
            raise PlanError(
                f"--title {character.name!r}: what she is called stands in her lines, and then "
                f"breaks a rule of theirs ({refusal}); take a shorter or plainer name, and put "
                f"what the pages show into deck.json, name, afterwards"
            )


def _files(wanted: NewDeck) -> dict[str, bytes]:
    files = _cards_files(wanted) if wanted.kind == CARDS else {}
    for path in sorted(wanted.templates.rglob("*.*")):
        if path.name != STARTER:
            name = path.relative_to(wanted.templates).as_posix()
            files[name] = _filled(wanted, path.read_text(encoding="utf-8"), path.suffix in _JSON)
    return files


def _filled(wanted: NewDeck, text: str, inside_json: bool) -> bytes:
    values = {
        "name": wanted.title,
        "id": wanted.id,
        "hand": str(wanted.hand),
        "called": literal(normalise(wanted.title)),
    }
    for place, value in values.items():
        written = orjson.dumps(value).decode()[1:-1] if inside_json else value
        text = text.replace(f"<<{place}>>", written)
    return text.encode()


def _starter(language: str) -> Mapping[str, Any]:
    starter: Mapping[str, Any] = orjson.loads((TEMPLATES / CARDS / language / STARTER).read_bytes())
    return starter


def _cards_files(wanted: NewDeck) -> dict[str, bytes]:
    starter = _starter(wanted.language)
    # All words, so that whoever changes some finds them.
    words = {**(known_words(wanted.language) or {}), **starter["words"]}
    files = {
        CARDS_FILE: as_json(starter["cards"]),
        TITLES_FILE: as_json(starter["titles"]),
        DECK_FILE: as_json(_deck(wanted, starter)),
        WORDS_FILE: _filled(wanted, as_json({wanted.language: words}).decode(), inside_json=True),
    }
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
    return [round(each * hand, -1) for each in _starter(language)["characters_a_card"]]


def _deck(wanted: NewDeck, starter: Mapping[str, Any]) -> dict[str, Any]:
    language = LANGUAGES[wanted.language]
    rules = default_rules(language)._replace(**starter.get("answer", {}))
    answer = {
        "characters": answer_length(wanted.language, wanted.hand),
        **{rule: getattr(rules, rule) for rule in _SHOWN},
        "script": rules.script[0],
    }
    return {
        "id": wanted.id,
        "name": wanted.title,
        "language": wanted.language,
        "hand": {"size": wanted.hand, "distinct": "category"},
        "answer": answer,
        "template": starter["template"],
        "theme": starter["theme"],
    }
