"""Which cards lead to a stocked hand: for visitors who pick their cards themselves.

For each card, a whole number has one bit for each stocked hand, set if the hand has the card. The
hands with some cards are the conjunction of their numbers, so that a question costs one operation
for each card of the deck however many hands are stocked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import NamedTuple


class Leads(NamedTuple):
    """How many stocked hands have the chosen cards, and the ids of the cards that lead to one.

    A card leads to a stocked hand if one has it with the chosen cards of other categories: it can
    be added, or replace the chosen one of its category.
    """

    hands: int
    cards: list[str]


class StockTable:
    """The stocked hands of a deck, given by the ids of their cards.

    `categories` has the category of each card of the deck; other cards are left out.
    """

    def __init__(self, hands: Iterable[Sequence[str]], categories: Mapping[str, str]) -> None:
        listed = list(hands)
        bits = {card: bytearray(len(listed) // 8 + 1) for card in categories}
        for position, hand in enumerate(listed):
            for card in hand:
                if card in bits:
                    bits[card][position >> 3] |= 1 << (position & 7)
        self._all = (1 << len(listed)) - 1
        self._bits = {card: int.from_bytes(found, "little") for card, found in bits.items()}
        self._categories = categories

    def leads(self, chosen: Sequence[str]) -> Leads:
        """Where cards of distinct categories lead to."""
        common = self._common(chosen)
        taken = {self._categories[card]: card for card in chosen}
        without = {
            category: self._common([card for card in chosen if card != left_out])
            for category, left_out in taken.items()
        }
        cards = [
            card
            for card, bits in self._bits.items()
            if bits & without.get(self._categories[card], common)
        ]
        return Leads(common.bit_count(), cards)

    def _common(self, cards: Iterable[str]) -> int:
        return reduce(and_, (self._bits[card] for card in cards), self._all)
