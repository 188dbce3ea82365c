"""Decks of characters as a kind of deck."""

from __future__ import annotations

from pathlib import Path

from app.kinds.chat.deck import CharacterDeck, load_character_deck
from app.kinds.chat.gate import ChatGate
from app.kinds.kind import Served, Server, Serving


class Chat:
    """Messages to characters, answered by single lines."""

    room = "chat"

    def load(self, folder: Path) -> CharacterDeck:
        return load_character_deck(folder)

    def gate(self, deck: CharacterDeck) -> ChatGate:
        return ChatGate(deck)

    def prepare(self, deck: CharacterDeck) -> Server:
        """The deck is all that workers share."""
        # Only what serves needs it.
        from app.kinds.chat.service import ServedChat

        def serve(serving: Serving) -> Served:
            return ServedChat(deck, serving)

        return serve
