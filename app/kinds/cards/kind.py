"""Decks of cards as a kind of deck."""

from __future__ import annotations

from pathlib import Path

from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.kinds.kind import Served, Server, Serving


class Cards:
    """Plays of hands of cards, answered by whole texts."""

    room = "cards"

    def load(self, folder: Path) -> Deck:
        return load_deck(folder)

    def gate(self, deck: Deck) -> Gate:
        return Gate.of(deck)

    def prepare(self, deck: Deck) -> Server:
        """Make once for all workers what makes answers, and prove that composed ones pass the gate."""
        # Only what serves needs these.
        from app.kinds.cards.service import ServedCards
        from app.kinds.cards.tiers import Makers

        makers = Makers.of(deck)
        _ = makers.composer and makers.composer.proven

        def serve(serving: Serving) -> Served:
            return ServedCards(deck, serving, makers)

        return serve
