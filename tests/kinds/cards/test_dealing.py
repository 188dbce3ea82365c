"""Dealing from stock."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.kinds.cards.dealing import permuted
from app.ledger.state import State


@given(st.integers(1, 300), st.integers(0, 50))
def test_every_hand_is_dealt_once_before_any_is_repeated(stock: int, turn: int) -> None:
    """Each round deals every stocked hand exactly once, however many there are."""
    dealt = [permuted(turn * stock + place, stock) for place in range(stock)]
    assert sorted(dealt) == list(range(stock))


def test_rounds_differ() -> None:
    """A second round is not dealt in the order of the first."""
    first, second = ([permuted(turn * 60 + n, 60) for n in range(60)] for turn in (0, 1))
    assert first != second


def test_the_numbers_follow_each_other_until_the_stock_changes(tmp_path: Path) -> None:
    """Two workers take 0, 1, 2, …; with other stock they begin anew."""
    workers = [State(tmp_path, time.time) for _ in range(2)]
    assert [workers[n % 2].take_number("dealt poem", 7) for n in range(9)] == list(range(9))
    assert workers[0].taken("dealt poem", 7) == 9
    assert workers[1].take_number("dealt poem", 8) == 0
