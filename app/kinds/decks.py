"""The kinds of decks, and the decks of a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.errors import DeckError
from app.kinds.cards import kind as cards
from app.kinds.chat import kind as chat
from app.kinds.kind import AnyDeck, Kind, Server
from app.kinds.prompts import kind as prompts
from app.kinds.prompts.deck import RECORDED, PromptDeck
from app.kinds.reading import DECK_FILE, Reader

# By the name in a deck's file. The first is the default.
KINDS: Mapping[str, Kind[Any]] = {
    "cards": cards,
    "pattern": chat,
    "prompts": prompts,
}
# Decks that exist without a folder. A folder of the same id replaces one.
UNMADE: Mapping[str, AnyDeck] = {RECORDED: PromptDeck(RECORDED, RECORDED)}


def prepare_all(decks: Mapping[str, AnyDeck]) -> dict[str, Server]:
    """What serves each deck, by id; made before workers are forked."""
    return {name: kind_of(deck).prepare(deck) for name, deck in decks.items()}


def kind_of(deck: AnyDeck) -> Kind[Any]:
    return KINDS[deck.kind]


def deck_folders(folder: Path) -> list[Path]:
    """The folders of decks in a folder. Raises DeckError if there is none."""
    try:
        folders = sorted(path for path in folder.iterdir() if _holds_deck(path))
    except FileNotFoundError:
        folders = []
    except OSError as error:
        raise DeckError(str(folder), "", f"cannot be read: {error.strerror}") from None
    if not folders:
        raise DeckError(str(folder), "", f"no deck here: expected a folder with {DECK_FILE}")
    return folders


def _holds_deck(folder: Path) -> bool:
    """Whether a folder has a deck's file, or may have one: loading then says why it is not read."""
    try:
        (folder / DECK_FILE).stat()
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def load_all(folder: Path) -> dict[str, AnyDeck]:
    """All decks in a folder by id, and those that exist without a folder.

    Raises DeckError if there is none, if one is wrong, or if two have the same id.
    """
    decks: dict[str, AnyDeck] = {}
    for path in deck_folders(folder):
        deck = _load(path, _head(path))
        if deck.id in decks:
            raise _same_id(path, deck.id)
        decks[deck.id] = deck
    return {**decks, **{name: deck for name, deck in UNMADE.items() if name not in decks}}


def load_one(folder: Path, wanted: str) -> AnyDeck | None:
    """The deck with this id, None if there is none. Raises DeckError; other decks may be wrong."""
    heads: dict[Path, Mapping[str, Any]] = {}
    for path in deck_folders(folder):
        try:
            heads[path] = _head(path)
        except DeckError:
            if path.name == wanted:
                raise
    found = [path for path, head in heads.items() if head.get("id") == wanted]
    if len(found) > 1:
        raise _same_id(found[1], wanted)
    return _load(found[0], heads[found[0]]) if found else UNMADE.get(wanted)


def load_folder(folder: Path) -> AnyDeck:
    """The deck in this folder. Raises DeckError."""
    return _load(folder, _head(folder))


def _head(folder: Path) -> Mapping[str, Any]:
    """The object in a deck's file; empty if it is not an object, which loading then reports."""
    value = Reader(folder, DECK_FILE).value
    return value if isinstance(value, dict) else {}


def _load(folder: Path, head: Mapping[str, Any]) -> AnyDeck:
    name = head.get("kind", next(iter(KINDS)))
    if not isinstance(name, str) or name not in KINDS:
        fault = f"expected one of {', '.join(KINDS)}, not {name!r}"
        raise DeckError(str(folder / DECK_FILE), "kind", fault)
    deck: AnyDeck = KINDS[name].load(folder)
    return deck


def _same_id(folder: Path, deck: str) -> DeckError:
    return DeckError(str(folder / DECK_FILE), "id", f"another deck has the id {deck!r}")
