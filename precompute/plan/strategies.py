"""Plans: which queries to cook, in which order.

A plan is a sequence of jobs that does not depend on how many are wanted: the plan for 2,000 begins
with the plan for 1,000, so that a larger build continues a smaller one.

Strategies:

- `stock`: whole hands, each with a covering code of its plays, so that every play is within the
  radius of an entry.
- `sampled`: single plays, in the shares of the requirements: of ten, 3 frequent (cards that are
  dealt most), 5 random, 2 edge cases.
- `misses`: plays that no stored entry answered, from the ledger, the most frequent first.

The requirements want 10 % of hands "one category concentrated", 60 % balanced, 30 % extreme.
Because a hand has five distinct categories, the first is impossible; instead, a hand counts as
concentrated if its categories are of at most three groups. A hand is extreme if four of its five
cards are hard, or four are mild. All others are balanced.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from app.errors import PlanError
from app.kinds.cards.dealing import deal
from app.kinds.cards.deck import Card, Deck, deal_probabilities
from app.kinds.cards.plays import recorded_query
from app.kinds.tasks import Refusals, Task
from app.store.key import Query
from precompute.plan.covering import MAX_WORDS, covering

STRATEGIES = ("stock", "sampled", "misses")
BALANCED, CONCENTRATED, EXTREME = "balanced", "concentrated", "extreme"
FREQUENT, RANDOM, EDGE = "frequent", "random", "edge"
# Wanted shares of the classes of strength among the cards of a plan.
CLASS_SHARES = {"mild": 0.3, "middle": 0.4, "hard": 0.3}
# Origin and shape of ten plays: 3 + 5 + 2, and 6 + 1 + 3.
SAMPLED_CYCLE = (
    (FREQUENT, BALANCED),
    (RANDOM, BALANCED),
    (EDGE, EXTREME),
    (RANDOM, CONCENTRATED),
    (FREQUENT, BALANCED),
    (RANDOM, BALANCED),
    (RANDOM, EXTREME),
    (FREQUENT, BALANCED),
    (RANDOM, BALANCED),
    (EDGE, EXTREME),
)
STOCK_CYCLE = tuple(shape for _, shape in SAMPLED_CYCLE)
# The best of this number of hands of the right shape is taken, and the greatest number dealt.
_CANDIDATES = 24
_DEALS = 2_000
# After this many repeats in a row, nearly all of a small deck is planned; the rest follows in
# order.
_REPEATS = 20


@dataclass(frozen=True, slots=True)
class Job:
    """One query to cook, and its origin in the plan.

    With `again`, it is cooked even if the store has an answer that is as good. `refusals` are those
    of the texts that it had before.
    """

    query: Query
    variant: int
    origin: str
    again: bool = False
    refusals: tuple[Refusals, ...] = ()

    @property
    def task(self) -> Task:
        return Task(self.query, self.variant, self.refusals)


def strength_class(card: Card) -> str:
    """mild (-2 and more), middle (-3), hard (-4 and less)."""
    if card.strength >= -2:
        return "mild"
    return "middle" if card.strength == -3 else "hard"


def group_of(deck: Deck) -> dict[str, str]:
    return {category: group for group, members in deck.groups.items() for category in members}


def shape_of(deck: Deck, cards: Sequence[Card], groups: Mapping[str, str]) -> str:
    """The shape of a hand; if it is both extreme and concentrated, extreme."""
    classes = Counter(map(strength_class, cards))
    if max(classes["hard"], classes["mild"]) >= max(2, deck.hand_size - 1):
        return EXTREME
    if len({groups[card.category] for card in cards}) <= (deck.hand_size + 1) // 2:
        return CONCENTRATED
    return BALANCED


class HandChooser:
    """Chooses hands one after another, so that together they are as varied as possible.

    It counts groups, classes of strength, cards and pairs of cards, and chooses, of some random
    hands of the wanted shape, the one that brings the counts nearest to their wanted shares.
    """

    def __init__(self, deck: Deck, rng: Random) -> None:
        self._deck = deck
        self._rng = rng
        self._groups = group_of(deck)
        self._group_count: Counter[str] = Counter()
        self._class_count: Counter[str] = Counter()
        self._card_count: Counter[str] = Counter()
        self._pair_count: Counter[tuple[str, str]] = Counter()
        self._cards = 0
        self._likely = _likely_cards(deck)

    def choose(self, shape: str, *, frequent: bool = False) -> tuple[Card, ...]:
        """The next hand of a shape; of any shape if the deck has hardly any of that one."""
        found = []
        hand: tuple[Card, ...] = ()
        for _ in range(_DEALS):
            hand = deal(self._deck, self._rng)
            if frequent and not all(card.id in self._likely for card in hand):
                continue
            if shape_of(self._deck, hand, self._groups) == shape:
                found.append(hand)
                if len(found) == _CANDIDATES:
                    break
        best = min(found or [hand], key=self._cost)
        self._take(best)
        return best

    def _cost(self, hand: Sequence[Card]) -> float:
        """Low for a hand with groups, classes, cards and pairs that are rare so far."""
        total = self._cards + len(hand)
        mean = self._cards / len(self._deck.cards)
        group_share = total / len(self._deck.groups)
        cost = 0.0
        for card in hand:
            strength = strength_class(card)
            cost += self._group_count[self._groups[card.category]] - group_share
            cost += 2 * (self._class_count[strength] - CLASS_SHARES[strength] * total)
            cost += 4 * max(0.0, self._card_count[card.id] + 1 - mean)
        # Several cards of one class in the hand count in addition.
        classes = Counter(map(strength_class, hand))
        cost += sum(max(0.0, n - 1 - CLASS_SHARES[name] * len(hand)) for name, n in classes.items())
        return cost + 3 * sum(self._pair_count[pair] for pair in _pairs(hand))

    def _take(self, hand: Sequence[Card]) -> None:
        self._cards += len(hand)
        self._group_count.update(self._groups[card.category] for card in hand)
        self._class_count.update(map(strength_class, hand))
        self._card_count.update(card.id for card in hand)
        self._pair_count.update(_pairs(hand))


def _pairs(hand: Iterable[Card]) -> Iterator[tuple[str, str]]:
    return itertools.combinations(sorted(card.id for card in hand), 2)


def _likely_cards(deck: Deck) -> frozenset[str]:
    """The ids of the cards that are dealt at least as often as the median."""
    probabilities = deal_probabilities(deck)
    middle = sorted(probabilities.values())[len(probabilities) // 2]
    # Equal probabilities may differ in the last digits, because they are sums in other orders.
    return frozenset(card for card, p in probabilities.items() if p >= middle * (1 - 1e-9))


def plan_sampled(deck: Deck, seed: int) -> Iterator[Job]:
    """All plays, in the order of the strategy, each once."""
    rng = Random(f"sampled {seed}")
    chooser = HandChooser(deck, rng)
    seen: set[str] = set()
    repeats = 0
    for origin, shape in itertools.cycle(SAMPLED_CYCLE):
        hand = chooser.choose(shape, frequent=origin == FREQUENT)
        query = deck.query([card.phrases[int(rng.random() * len(card.phrases))] for card in hand])
        repeats = repeats + 1 if query.key in seen else 0
        if repeats > _REPEATS:
            break
        if not repeats:
            seen.add(query.key)
            yield Job(query, 0, origin)
    for hand in _every_hand(deck):
        yield from (Job(q, 0, RANDOM) for q in deck.plays_of_hand(hand) if q.key not in seen)


def plan_stock(deck: Deck, seed: int, radius: int) -> Iterator[Job]:
    """All hands, in the order of the strategy, each by a covering code of its plays.

    The symbols of the code are shuffled for each card, so that all phrases are used equally often;
    it remains a covering code. Raises PlanError if the hands of the deck have too many plays.
    """
    rng = Random(f"stock {seed}")
    chooser = HandChooser(deck, rng)
    seen: set[str] = set()
    repeats = 0
    for shape in itertools.cycle(STOCK_CYCLE):
        hand = chooser.choose(shape)
        key = _hand_key(deck, hand)
        repeats = repeats + 1 if key in seen else 0
        if repeats > _REPEATS:
            break
        if not repeats:
            seen.add(key)
            yield from _coded(deck, hand, rng, radius, shape)
    for hand in _every_hand(deck):
        if _hand_key(deck, hand) not in seen:
            yield from _coded(deck, hand, rng, radius, BALANCED)


def _hand_key(deck: Deck, hand: Sequence[Card]) -> str:
    return deck.query([card.phrases[0] for card in hand]).hand_key


def _coded(
    deck: Deck, hand: Sequence[Card], rng: Random, radius: int, origin: str
) -> Iterator[Job]:
    """The jobs of one hand: a covering code of its plays."""
    options = tuple(len(card.phrases) for card in hand)
    _check_size(options)
    shuffled = [_shuffled(card, rng) for card in hand]
    for word in covering(options, radius):
        picked = [phrases[choice] for phrases, choice in zip(shuffled, word, strict=True)]
        yield Job(deck.query(picked), 0, origin)


def _every_hand(deck: Deck) -> Iterator[tuple[Card, ...]]:
    """All legal hands in order."""
    for groups in itertools.combinations(deck.cards_by_category.values(), deck.hand_size):
        yield from itertools.product(*groups)


def _check_size(options: Sequence[int]) -> None:
    words = math.prod(options)
    if words > MAX_WORDS:
        raise PlanError(
            f"a hand of this deck can be rephrased in {words} ways, which is more than stocking "
            f"is for ({MAX_WORDS}); use --strategy sampled"
        )


def _shuffled(card: Card, rng: Random) -> list[Any]:
    return [phrase for _, _, phrase in sorted((rng.random(), p.id, p) for p in card.phrases)]


def plan_misses(deck: Deck, lines: Iterable[Mapping[str, Any]]) -> Iterator[Job]:
    """The plays of a ledger, the most frequent first, of equally frequent ones the oldest."""
    wanted: Counter[Query] = Counter()
    for line in lines:
        query = recorded_query(deck, line)
        if query:
            wanted[query] += 1
    for query, times in wanted.most_common():
        yield Job(query, 0, f"wanted {times} ×")
