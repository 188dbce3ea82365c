"""Coverage: Hamming balls, and codes that are proved by looking at every word."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.coverage import ball, ball_size, covered, is_stocked, sphere_bound
from precompute.plan.covering import covering

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=5)


def distance(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


@given(SHAPES, st.integers(0, 5), st.randoms())
def test_a_ball_holds_what_is_near(options: list[int], radius: int, rng: random.Random) -> None:
    """A ball holds exactly the words within its radius, each once, as many as the formula says."""
    words = list(itertools.product(*map(range, options)))
    middle = rng.choice(words)
    near = list(ball(middle, options, min(radius, len(options))))
    assert len(near) == len(set(near)) == ball_size(options, min(radius, len(options)))
    assert set(near) == {word for word in words if distance(word, middle) <= radius}


@given(SHAPES, st.integers(0, 2), st.randoms())
def test_stocked_means_that_every_word_is_near(
    options: list[int], radius: int, rng: random.Random
) -> None:
    """A hand is stocked exactly where no word is farther than the radius from a stored one."""
    words = list(itertools.product(*map(range, options)))
    stored = rng.sample(words, rng.randint(0, len(words)))
    by_hand = all(any(distance(w, s) <= radius for s in stored) for w in words)
    assert is_stocked(stored, tuple(options), min(radius, len(options))) == by_hand


@pytest.mark.parametrize(("radius", "count"), [(0, 243), (1, 27), (2, 8), (3, 3), (4, 3), (5, 1)])
def test_the_codes_of_the_game_are_proved_by_exhaustion(radius: int, count: int) -> None:
    """27 words cover all 243 within one phrase, 8 within two; none of them could be left out."""
    options = (3,) * 5
    code = covering(options, radius)
    assert len(code) == len(set(code)) == count
    assert len(covered(code, options, radius)) == 243
    for left_out in code:
        assert len(covered([w for w in code if w != left_out], options, radius)) < 243


@pytest.mark.parametrize(
    "options",
    [(1,), (2, 2), (3, 3, 3), (2, 3, 4), (1, 1, 3, 3), (4, 4, 4), (2,) * 6, (3,) * 4, (5, 3, 3)],
)
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_codes_of_other_hands_cover_them(options: tuple[int, ...], radius: int) -> None:
    """For any numbers of phrases the code covers every word, and is no smaller than can be."""
    code = covering(options, radius)
    near = min(radius, len(options))
    assert len(covered(code, options, near)) == math.prod(options)
    assert sphere_bound(options, near) <= len(code) <= math.prod(options)
    assert covering(options, radius) == code


def test_the_search_finds_the_known_best() -> None:
    """Where the best number is known, the search finds it or comes within one word of it."""
    for options, radius, best in (
        ((3,) * 4, 1, 9),
        ((2,) * 5, 1, 7),
        ((2,) * 3, 1, 2),
        ((3,) * 3, 1, 5),
    ):
        assert best <= len(covering(options, radius)) <= best + 1


def test_the_words_stand_best_first() -> None:
    """Each prefix of a code covers as much as it can: the first nine words of 27 share no word."""
    options = (3,) * 5
    code = covering(options, 1)
    gains = [
        len(covered(code[: n + 1], options, 1)) - len(covered(code[:n], options, 1))
        for n in range(len(code))
    ]
    assert gains == sorted(gains, reverse=True)
    assert gains[:9] == [11] * 9
