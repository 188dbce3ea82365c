"""The records of a hand against a search that tries everything."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.hands import is_hand_stocked, nearest_records
from app.store.key import Query

PHRASES = tuple(tuple(f"card{c}-{p}" for p in "abc") for c in range(4))


def play(word: tuple[int, ...]) -> Query:
    """The play of four cards with these phrases."""
    return Query.play("deck", [(f"card{c}", PHRASES[c][p]) for c, p in enumerate(word)])


def joined(words: list[tuple[int, ...]]) -> bytes:
    """The records of a hand's plays."""
    return bytes([4]) + b"".join(play(word).raw_key + play(word).digests for word in words)


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """In how many phrases two plays differ."""
    return sum(a != b for a, b in zip(one, other, strict=True))


WORDS = list(itertools.product(range(3), repeat=4))
STORED = st.lists(st.sampled_from(WORDS), unique=True, max_size=30)


@given(STORED, st.sampled_from(WORDS), st.integers(0, 4))
def test_the_nearest_are_those_within_the_radius(
    stored: list[tuple[int, ...]], asked: tuple[int, ...], radius: int
) -> None:
    """Entries that differ in 1 to radius phrases are found, all of them and no others."""

    def near() -> Iterator[tuple[int, bytes]]:
        for word in stored:
            if 0 < distance(word, asked) <= radius:
                yield distance(word, asked), play(word).raw_key

    assert nearest_records(joined(stored), play(asked).digests, radius) == sorted(near())


@settings(max_examples=200)
@given(st.lists(st.sampled_from(WORDS), unique=True, min_size=1), st.integers(0, 4))
def test_a_hand_is_stocked_if_every_play_is_near(
    stored: list[tuple[int, ...]], radius: int
) -> None:
    """A hand is stocked exactly if each of its plays is within the radius of an entry."""
    whole = all(any(distance(word, s) <= radius for s in stored) for word in WORDS)
    assert is_hand_stocked(joined(stored), PHRASES, radius) == whole


def test_one_play_that_is_far_from_all_leaves_a_hand_unstocked() -> None:
    """A covering code stocks a hand; without any one of its words it does not."""
    code = [w for w in WORDS if (w[0] + w[1] + w[2]) % 3 == 0 and (w[0] + 2 * w[1] + w[3]) % 3 == 0]
    assert is_hand_stocked(joined(code), PHRASES, 1)
    for number in range(len(code)):
        assert not is_hand_stocked(joined(code[:number] + code[number + 1 :]), PHRASES, 1)
