"""Decks of characters as a kind of deck: messages to characters, answered by single lines."""

from __future__ import annotations

from app.kinds.chat.deck import CharacterDeck, load_character_deck
from app.kinds.chat.gate import ChatGate
from app.kinds.kind import Server

room = "chat"
load = load_character_deck
gate = ChatGate


def prepare(deck: CharacterDeck) -> Server:
    """The deck is all that workers share."""
    # Only what serves needs it.
    from app.kinds.chat.service import ServedChat

    return lambda serving: ServedChat(deck, serving)
