"""Counting very many plays."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.ledger.frequencies import Frequencies

PLAYS = st.lists(st.lists(st.sampled_from("abcあ"), max_size=3).map(tuple), max_size=60)


@given(PLAYS, st.integers(0, 60), st.integers(0, 12))
def test_frequencies_count_as_a_counter_does(
    plays: list[tuple[str, ...]], half: int, named: int
) -> None:
    """All are counted, whenever they come, and those that are named are the most frequent ones."""
    counted, counter = Frequencies(named), Counter(plays)
    counted.update(plays[:half])
    counted.update(plays[half:])
    told = counted.most_common()
    assert (counted.total, counted.distinct) == (len(plays), len(counter))
    assert all(counter[play] == times for play, times in told)
    assert len(dict(told)) == len(told)
    assert [times for _, times in told] == [times for _, times in counter.most_common(named)]


def test_plays_that_are_missed_once_take_eight_bytes_each() -> None:
    """A worker's memory hardly grows with the misses of an event: none of their texts is kept."""
    counted = Frequencies(10)
    counted.update((f"card {number}", "phrase") for number in range(20_000))
    held = sum(marks.itemsize * len(marks) for marks in counted._marks)
    assert held == 8 * counted.distinct == 8 * 20_000
    assert len(counted.most_common()) == 10
    assert len(counted._first) == 10
    assert not counted._again
