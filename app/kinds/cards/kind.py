"""Decks of cards as a kind of deck."""

from __future__ import annotations

from pathlib import Path

from app.kinds.cards.deck import Deck, load_deck
from app.kinds.cards.gate import Gate


class Cards:
    """Hands of cards, answered by whole texts."""

    room = "cards"

    def load(self, folder: Path) -> Deck:
        """Read and check a deck."""
        return load_deck(folder)

    def gate(self, deck: Deck) -> Gate:
        """The checks that the deck's rules ask for."""
        return Gate.of(deck)
