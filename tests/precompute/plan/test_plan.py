"""Plans: their shares, that they go on where they stopped, and that they end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from app.errors import PlanError
from app.kinds.cards.deck import Card, Deck, deal_probabilities
from app.kinds.cards.loading import load_deck
from app.kinds.cards.plays import recorded_query
from app.store.coverage import covered
from app.store.key import Query
from precompute.plan.strategies import (
    BALANCED,
    CONCENTRATED,
    EXTREME,
    Job,
    group_of,
    plan_misses,
    plan_sampled,
    plan_stock,
    shape_of,
    strength_class,
)
from tests.making import card, small_deck, write_deck

N = 1000


@pytest.fixture(scope="module")
def sampled(poem: Deck) -> list[Job]:
    return list(islice(plan_sampled(poem, 0), N))


@pytest.fixture(scope="module")
def stock(poem: Deck) -> list[Job]:
    return list(islice(plan_stock(poem, 0, 1), 27 * 60))


def cards_of(deck: Deck, job: Job) -> list[Card]:
    return [deck.card_by_id[card] for card, _ in job.query.picks]


def shares(counts: Counter[str]) -> dict[str, float]:
    return {name: count / counts.total() for name, count in counts.items()}


def test_sampled_is_300_500_200(sampled: list[Job]) -> None:
    """Of 1,000 plays 300 are frequent, 500 random, 200 edge cases; and so of every ten."""
    assert Counter(job.origin for job in sampled) == {"frequent": 300, "random": 500, "edge": 200}
    for start in range(0, N, 10):
        ten = Counter(job.origin for job in sampled[start : start + 10])
        assert ten == {"frequent": 3, "random": 5, "edge": 2}


def test_sampled_shapes_are_60_10_30(poem: Deck, sampled: list[Job]) -> None:
    """60 % of the hands are balanced, 10 % concentrated, 30 % extreme."""
    groups = group_of(poem)
    shapes = shares(Counter(shape_of(poem, cards_of(poem, job), groups) for job in sampled))
    assert shapes[BALANCED] == pytest.approx(0.6, abs=0.01)
    assert shapes[CONCENTRATED] == pytest.approx(0.1, abs=0.01)
    assert shapes[EXTREME] == pytest.approx(0.3, abs=0.01)


def test_sampled_groups_are_20_percent_each(poem: Deck, sampled: list[Job]) -> None:
    """Each of the five groups of categories has a fifth of the cards, within one point."""
    groups = group_of(poem)
    counted = Counter(groups[c.category] for job in sampled for c in cards_of(poem, job))
    assert len(counted) == 5
    assert all(share == pytest.approx(0.2, abs=0.01) for share in shares(counted).values())


def test_sampled_strengths_are_30_40_30(poem: Deck, sampled: list[Job]) -> None:
    """Mild, middle and hard cards stand 30 to 40 to 30, within two points; -6 is hard, +5 mild."""
    counted = shares(Counter(strength_class(c) for job in sampled for c in cards_of(poem, job)))
    for name, share in {"mild": 0.3, "middle": 0.4, "hard": 0.3}.items():
        assert counted[name] == pytest.approx(share, abs=0.02)
    by_strength = {c.strength: strength_class(c) for c in poem.cards}
    assert (by_strength[-6], by_strength[-4], by_strength[-3]) == ("hard", "hard", "middle")
    assert (by_strength[-2], by_strength[5]) == ("mild", "mild")


def test_frequent_plays_are_of_cards_that_are_dealt_most(poem: Deck, sampled: list[Job]) -> None:
    """The cards of a frequent play are dealt at least as often as the middle one."""
    dealt = deal_probabilities(poem)
    middle = sorted(dealt.values())[len(dealt) // 2]
    for job in sampled:
        if job.origin == "frequent":
            assert all(dealt[c.id] >= middle * (1 - 1e-9) for c in cards_of(poem, job))


@pytest.mark.parametrize("plan", ["sampled", "stock"])
def test_every_job_of_a_plan_is_a_legal_play_of_its_own(
    poem: Deck, plan: str, request: pytest.FixtureRequest
) -> None:
    """A plan has no play twice and none that the deck would not deal; all cards come up."""
    jobs: list[Job] = request.getfixturevalue(plan)
    assert len({job.query.key for job in jobs}) == len(jobs)
    for job in jobs:
        assert poem.legal_query(job.query.picks) == job.query
        assert job.variant == 0
    assert len({c for job in jobs for c, _ in job.query.picks}) >= 0.95 * len(poem.cards)


def _plan(deck: Deck, strategy: str, seed: int) -> Iterator[Job]:
    return plan_sampled(deck, seed) if strategy == "sampled" else plan_stock(deck, seed, 1)


@pytest.mark.parametrize("strategy", ["sampled", "stock"])
def test_a_plan_for_more_begins_with_the_plan_for_fewer(poem: Deck, strategy: str) -> None:
    """A plan does not depend on how many are wanted, and the same seed gives the same plan."""
    more = list(islice(_plan(poem, strategy, 3), 200))
    assert list(islice(_plan(poem, strategy, 3), 70)) == more[:70]
    other = list(islice(_plan(poem, strategy, 4), 200))
    assert len({j.query for j in more} & {j.query for j in other}) < 20


@pytest.mark.parametrize(("radius", "words"), [(0, 243), (1, 27), (2, 8), (5, 1)])
def test_each_prefix_of_whole_codes_stocks_its_hands(poem: Deck, radius: int, words: int) -> None:
    """Every `words` jobs are one hand, of which each of the 243 plays is within the radius."""
    jobs = list(islice(plan_stock(poem, 1, radius), 3 * words))
    hands = set()
    for start in range(0, len(jobs), words):
        code = jobs[start : start + words]
        cards = cards_of(poem, code[0])
        assert {job.query.hand_key for job in code} == {code[0].query.hand_key}
        hands.add(code[0].query.hand_key)
        place = [{p.id: i for i, p in enumerate(c.phrases)} for c in cards]
        stored = [
            tuple(at[phrase] for at, (_, phrase) in zip(place, job.query.picks, strict=True))
            for job in code
        ]
        assert len(covered(stored, [3] * 5, radius)) == 243
    assert len(hands) == 3


def test_stocked_hands_use_every_phrase_alike(poem: Deck, stock: list[Job]) -> None:
    """Shuffling a code's symbols for each card leaves no phrase of a card out."""
    used = {pick for job in stock for pick in job.query.picks}
    cards = {card for card, _ in used}
    assert used == {pick for pick in poem.phrase_by_id if pick[0] in cards}


def test_stocked_hands_are_various(poem: Deck, stock: list[Job]) -> None:
    """The hands are balanced as the plays are: shapes 60, 10, 30, groups a fifth each."""
    hands = [cards_of(poem, stock[i]) for i in range(0, len(stock), 27)]
    groups = group_of(poem)
    shapes = shares(Counter(shape_of(poem, hand, groups) for hand in hands))
    assert shapes == pytest.approx({BALANCED: 0.6, CONCENTRATED: 0.1, EXTREME: 0.3}, abs=0.02)
    counted = shares(Counter(groups[c.category] for hand in hands for c in hand))
    assert all(share == pytest.approx(0.2, abs=0.03) for share in counted.values())
    met = Counter(
        frozenset((a.id, b.id)) for hand in hands for a in hand for b in hand if a.id < b.id
    )
    assert max(met.values()) <= 3


@pytest.mark.parametrize(
    ("categories", "each", "phrases"), [(5, 1, 2), (5, 1, 1), (5, 2, 1), (6, 1, 1)]
)
@pytest.mark.parametrize("strategy", ["sampled", "stock"])
def test_a_plan_of_a_small_deck_ends(
    tmp_path: Path, strategy: str, categories: int, each: int, phrases: int
) -> None:
    """Asked for more than there is, a plan gives everything once and ends."""
    deck = small_deck(tmp_path / "mine", categories=categories, each=each, phrases=phrases)
    jobs = list(_plan(deck, strategy, 0))
    assert len({job.query for job in jobs}) == len(jobs)
    if strategy == "sampled":
        assert len(jobs) == deck.count_plays()
    else:
        assert len({job.query.hand_key for job in jobs}) == deck.count_hands()


def test_hands_with_too_many_phrases_are_not_stocked(tmp_path: Path) -> None:
    """A hand that can be rephrased in more ways than stocking is for is refused in a sentence."""
    cards = [card(i, f"分類{i}", ["言葉"] * 12) for i in range(5)]
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards))
    with pytest.raises(PlanError, match=f"in {12**5} ways.*--strategy sampled"):
        next(plan_stock(deck, 0, 1))


def test_misses_are_planned_the_most_wanted_first(poem: Deck) -> None:
    """Plays stand by how often they were asked for; lines that are no plays are passed over."""
    plays = list(islice((job.query for job in plan_sampled(poem, 9)), 4))
    asked: list[Query] = [plays[0], plays[1], plays[2], plays[1], plays[2], plays[2]]
    lines: list[dict[str, Any]] = [query.to_json() for query in asked]
    lines += [
        {},
        {"hand": None},
        {"hand": [1, 2]},
        {"hand": [{"card": "x", "phrase": "y"}]},
        {"hand": plays[3].to_json()["hand"][:4]},
        {"hand": [plays[3].to_json()["hand"][0]] * 5},
    ]
    planned = list(plan_misses(poem, lines))
    assert [job.query for job in planned] == [plays[2], plays[1], plays[0]]
    assert [job.origin for job in planned] == ["wanted 3 ×", "wanted 2 ×", "wanted 1 ×"]


def test_a_recorded_play_is_read_in_any_order(poem: Deck) -> None:
    """A recorded hand is the same query however its cards lay."""
    query = next(plan_sampled(poem, 1)).query
    assert recorded_query(poem, {"hand": query.to_json()["hand"][::-1]}) == query
    assert math.prod(len(c.phrases) for c in cards_of(poem, Job(query, 0, ""))) == 243
