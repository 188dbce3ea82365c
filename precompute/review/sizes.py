"""How many entries make sense for a deck of cards, and what they would cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from app.errors import DeckError
from app.kinds.cards.deck import Deck
from app.kinds.cards.prompts import has_prompts
from app.kinds.tasks import Task
from app.providers.prices import load_prices
from app.settings import Settings
from precompute.cook.choose import ProviderChoice, choose
from precompute.cook.refresh import estimate_all
from precompute.plan.covering import covering
from precompute.plan.strategies import plan_sampled

# Hands with more plays than that are not searched for a covering here: it would take seconds.
_MOST_PLAYS_OF_A_HAND = 1_000
# More entries than that are hardly cooked for one event.
_WORTH_COOKING = 1_000_000
# The answers of which the price is taken.
_ASKED = 10


def entries_within(deck: Deck, radius: int) -> int | None:
    """The number of entries so that each play of each hand is within `radius` phrases of one.

    None if a hand has too many plays to say. A covering that `build` finds may be smaller.
    """
    total = 0
    for options, hands in _hands_by_options(deck).items():
        if math.prod(options) > _MOST_PLAYS_OF_A_HAND:
            return None
        total += hands * len(covering(options, radius))
    return total


def _hands_by_options(deck: Deck) -> Counter[tuple[int, ...]]:
    """The number of hands by the numbers of phrases of their cards, in descending order."""
    found: Counter[tuple[int, ...]] = Counter({(): 1})
    for cards in deck.cards_by_category.values():
        by_count = Counter(len(card.phrases) for card in cards)
        for options, hands in list(found.items()):
            if len(options) == deck.hand_size:
                continue
            for count, times in by_count.items():
                longer = tuple(sorted((*options, count), reverse=True))
                found[longer] += hands * times
    return Counter({o: n for o, n in found.items() if len(o) == deck.hand_size})


def cost_of_one(settings: Settings, deck: Deck, today: str) -> tuple[ProviderChoice, float] | None:
    """What one answer costs in USD with the model of the settings; None if that is not known."""
    if not has_prompts(deck):
        return None
    choice = choose(settings, "gemini")
    price = load_prices(settings.prices).price(choice.name, choice.model, today)
    if price is None:
        return None
    tasks = [Task(job.query) for job in islice(plan_sampled(deck, 0), _ASKED)]
    try:
        estimate = estimate_all(settings, deck, choice, tasks, None)
    except DeckError:
        # The prompts are wrong, which `check_prompts` says.
        return None
    return choice, estimate.cost(price) / len(tasks)


def size_lines(settings: Settings, deck: Deck, today: str) -> Iterator[str]:
    """What it takes to answer every play of a deck, as `check` prints it."""
    each = cost_of_one(settings, deck, today)

    def priced(entries: int) -> str:
        return f"{entries:,} (about {entries * each[1]:,.2f} USD)" if each else f"{entries:,}"

    plays = deck.count_plays()
    line = f"deck {deck.id}: {deck.count_hands():,} hands, {plays:,} plays; entries for every play "
    radius = min(settings.radius, deck.hand_size)
    near = entries_within(deck, radius) if radius else None
    if near is not None:
        line += f"within {radius} phrase(s): {priced(near)}; "
    line += f"exactly: {priced(plays)}" + (f", with {each[0].model}" if each else "")
    if (near or plays) > _WORTH_COOKING:
        line += "; stock some of the hands, and deal from those"
    yield line
