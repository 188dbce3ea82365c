"""Decks of cards as a kind of deck."""

from __future__ import annotations

from pathlib import Path

from app.kinds.cards.deck import Deck, load_deck
from app.kinds.cards.gate import Gate
from app.kinds.kind import Served, Server, Serving


class Cards:
    """Plays of hands of cards, answered by whole texts."""

    room = "cards"

    def load(self, folder: Path) -> Deck:
        return load_deck(folder)

    def gate(self, deck: Deck) -> Gate:
        return Gate.of(deck)

    def prepare(self, deck: Deck) -> Server:
        """Make the composer, and prove once for all workers that its answers pass the gate."""
        # Only what serves needs these.
        from app.kinds.cards.composing import Composer
        from app.kinds.cards.service import ServedCards

        composer = Composer(deck) if deck.composable else None
        _ = composer and composer.proven

        def serve(serving: Serving) -> Served:
            return ServedCards(deck, serving, composer)

        return serve
