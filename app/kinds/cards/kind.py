"""Decks of cards as a kind of deck: plays of hands of cards, answered by whole texts."""

from __future__ import annotations

from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.kinds.kind import Server

room = "cards"
load = load_deck
gate = Gate.of


def prepare(deck: Deck) -> Server:
    """Make once for all workers what makes answers, and prove that composed ones pass the gate."""
    # Only what serves needs these.
    from app.kinds.cards.service import ServedCards
    from app.kinds.cards.tiers import Makers

    makers = Makers.of(deck)
    _ = makers.composer and makers.composer.proven
    return lambda serving: ServedCards(deck, serving, makers)
