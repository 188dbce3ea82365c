"""What is known of a deck without a server: store, coverage, and what ended runs have seen.

The same figures as `/stats`, over all runs of a server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from app.kinds.cards.deck import Deck
from app.kinds.cards.figures import coverage, money, read_rehearsal, space, store
from app.ledger.counters import answer_summary, kept_sums, tier_figures
from app.ledger.misses import MissCounts
from app.ledger.votes import VoteCounts
from app.settings import Settings
from app.store.index import Meta
from precompute.cook.report import counts, one_in


def of_deck(settings: Settings, deck: Deck, meta: Meta | None, most: int) -> dict[str, Any]:
    """All of it; of the misses, at most so many are listed."""
    answers = answer_summary(tier_figures(kept_sums(settings.ledger, time.time), deck.id))
    return {
        "deck": deck.id,
        "space": space(deck),
        "store": store(meta),
        "coverage": coverage(deck, meta),
        "answers": answers,
        "expected": read_rehearsal(settings.store, deck.id),
        "misses": MissCounts(settings.ledger, deck.id).most_wanted(most),
        "feedback": VoteCounts(settings.ledger, deck.id).totals(),
        "money": money(meta, answers["whole"]),
    }


def rows(told: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """As rows of a table."""
    sizes, stored, covers = told["space"], told["store"], told["coverage"]
    yield "cards, phrases, titles", f"{sizes['cards']}, {sizes['phrases']}, {sizes['titles']}"
    yield "hands, plays", f"{sizes['hands']:,}, {sizes['plays']:,}"
    yield "entries", f"{stored['entries']:,}"
    yield "by source", counts(stored["by_source"])
    yield "by model", counts(stored["by_model"])
    yield "exact plays", one_in(covers["exact"])
    yield "stocked hands", one_in(covers["stocked_hands"])
    yield "plays of stocked hands", one_in(covers["stocked_plays"])
    yield "plays that composing covers", one_in(covers["composed"])
    yield from _answered(told["answers"], told["expected"])
    yield "misses, distinct", f"{told['misses']['total']:,}, {told['misses']['distinct']:,}"
    yield "votes up", f"{told['feedback']['up']:,} of {told['feedback']['of']:,}"
    yield from _spent(told["money"])


def _answered(
    answers: Mapping[str, Any], expected: Mapping[str, Any] | None
) -> Iterator[tuple[str, object]]:
    foretold = expected["tiers"] if expected else {}
    yield "answers at events", f"{answers['total']:,}"
    if expected:
        yield "answers rehearsed", f"{expected['plays']:,}, dealt {expected['deal']}"
    for tier in dict.fromkeys((*foretold, *answers["by_tier"])):
        told = [
            f"{words} {row['share']:.1%} ({row['answers']:,})"
            for words, row in (
                ("expected", foretold.get(tier)),
                ("seen", answers["by_tier"].get(tier)),
            )
            if row
        ]
        yield f"  {tier}", ", ".join(told)


def _spent(money: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "spent", f"{money['spent_usd']:.4f} USD for {money['paid_entries']:,} paid entries"
    if money["saved_usd"] is not None:
        yield "saved by hits", f"{money['saved_usd']:.4f} USD, {money['answers']:,} whole answers"
