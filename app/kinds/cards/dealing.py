"""Dealing random hands as the game does."""

from __future__ import annotations

from random import Random

from app.kinds.cards.deck import Card, Deck
from app.store.key import Query


def deal(deck: Deck, rng: Random) -> tuple[Card, ...]:
    """A hand of cards drawn one by one; a card of a repeated category is drawn again."""
    hand: list[Card] = []
    categories: set[str] = set()
    while len(hand) < deck.hand_size:
        card = deck.cards[int(rng.random() * len(deck.cards))]
        if card.category not in categories:
            categories.add(card.category)
            hand.append(card)
    return tuple(hand)


def random_play(deck: Deck, rng: Random) -> Query:
    """A dealt hand with one phrase for each card, all equally likely."""
    hand = deal(deck, rng)
    return deck.query([card.phrases[int(rng.random() * len(card.phrases))] for card in hand])
