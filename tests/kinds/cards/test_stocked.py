"""Which cards lead to a stocked hand."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from app.kinds.cards.stocked import StockTable

# Four categories of three cards, hands of three.
CATEGORIES = {f"{kind}{number}": kind for kind in "abcd" for number in range(3)}
HANDS = [
    hand
    for hand in itertools.combinations(CATEGORIES, 3)
    if len({CATEGORIES[card] for card in hand}) == 3
]


@given(st.sets(st.sampled_from(HANDS)), st.sampled_from(HANDS), st.integers(0, 3))
def test_the_table_says_what_a_search_finds(
    stock: set[tuple[str, ...]], hand: tuple[str, ...], size: int
) -> None:
    """A card leads on if a stocked hand has it with the chosen cards of the other categories."""
    chosen = hand[:size]
    table = StockTable([*stock, ("a0", "gone", "b0")], CATEGORIES)
    # The hand with a card that the deck has no more is counted as well: it has the others.
    stocked = [*map(set, stock), {"a0", "b0"}]

    def leads(card: str) -> bool:
        others = {one for one in chosen if CATEGORIES[one] != CATEGORIES[card]}
        return any({card, *others} <= cards for cards in stocked)

    found = table.leads(chosen)
    assert found.hands == sum(set(chosen) <= cards for cards in stocked)
    assert found.cards == [card for card in CATEGORIES if leads(card)]
