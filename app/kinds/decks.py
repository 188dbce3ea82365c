"""Every deck of a folder, of both kinds."""

from __future__ import annotations

from pathlib import Path

from app.errors import DeckError
from app.kinds.cards.deck import CARDS, Deck, deck_folders, load_deck
from app.kinds.chat.deck import PatternDeck, load_pattern_deck
from app.kinds.reading import DECK_FILE

AnyDeck = Deck | PatternDeck


def load_all(folder: Path) -> dict[str, AnyDeck]:
    """All decks in a folder by id. Raises DeckError if one is wrong or two have the same id."""
    decks: dict[str, AnyDeck] = {}
    for path, kind in deck_folders(folder):
        deck: AnyDeck = load_deck(path) if kind == CARDS else load_pattern_deck(path)
        if deck.id in decks:
            raise DeckError(str(path / DECK_FILE), "id", f"another deck has the id {deck.id!r}")
        decks[deck.id] = deck
    return decks
