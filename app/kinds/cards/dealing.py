"""Dealing hands: at random as the game does, or from stock.

From stock, every stocked hand is dealt once before any is repeated, over workers and restarts: the
shared state counts the hands dealt, and a permutation of the stock turns that number into a hand.
"""

from __future__ import annotations

import math
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


def permuted(number: int, count: int) -> int:
    """The position to deal as the `number`-th (from 0), in rounds of `count`.

    Each round is an affine map with a step coprime to `count`: a permutation without a list in
    memory.
    """
    turn, place = divmod(number, count)
    rng = Random(turn)
    step = 1 + int(rng.random() * count)
    while math.gcd(step, count) != 1:
        step += 1
    return (place * step + int(rng.random() * count)) % count
