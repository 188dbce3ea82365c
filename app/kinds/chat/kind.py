"""Decks of patterns as a kind of deck."""

from __future__ import annotations

from pathlib import Path

from app.kinds.chat.deck import PatternDeck, load_pattern_deck
from app.kinds.chat.gate import ChatGate
from app.kinds.kind import Served, Server, Serving


class Chat:
    """Messages to characters, answered by single lines."""

    room = "chat"

    def load(self, folder: Path) -> PatternDeck:
        return load_pattern_deck(folder)

    def gate(self, deck: PatternDeck) -> ChatGate:
        return ChatGate(deck)

    def prepare(self, deck: PatternDeck) -> Server:
        """The deck is all that workers share."""
        # Only what serves needs it.
        from app.kinds.chat.service import ServedChat

        def serve(serving: Serving) -> Served:
            return ServedChat(deck, serving)

        return serve
