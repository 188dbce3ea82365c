"""Figures of a deck of patterns, the same in `/stats` and in `precompute stats`.

What an answer would have cost on the strong model is an estimate, and says so: the characters that
the model would have read and written, at so many tokens a character, at the price of the day.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.kinds.chat.deck import FALLBACK, PatternDeck
from app.ledger.tally import DaySum
from app.providers.prices import PriceTable
from app.store.entry import Usage

# Rules of thumb of the tokenizers in use: Japanese takes about a token a sign, English a quarter.
TOKENS_A_CHARACTER = {"ja": 1.0}
TOKENS_A_LETTER = 0.25
MONTH = 30


def space(deck: PatternDeck) -> dict[str, Any]:
    """The size of what can be asked and said."""
    lines = [intent for _, intent, _ in deck.all_lines()]
    return {
        "characters": len(deck.characters),
        "intents": len(deck.intents),
        "lines": len(lines),
        "fallback_lines": lines.count(FALLBACK),
        "patterns": deck.count_patterns(),
    }


def layers(deck: PatternDeck, rows: Sequence[DaySum]) -> dict[str, Any]:
    """The shares of the layers as they are seen, beside those that the plans foresaw."""
    answers: Counter[str] = Counter()
    for row in rows:
        answers[row.tier] += row.answers
    total = answers.total()
    return {
        "answers": total,
        "since": min((row.day for row in rows), default=None),
        "seen": {
            tier: {"answers": count, "share": count / total}
            for tier, count in answers.most_common()
        },
        "foreseen": [_beside(plan, answers, total) for plan in deck.foreseen],
    }


def _beside(plan: Mapping[str, Any], answers: Counter[str], total: int) -> dict[str, Any]:
    return {
        "plan": plan["plan"],
        "layers": [
            {
                "tiers": layer["tiers"],
                "foreseen": layer["share"],
                "seen": sum(answers[t] for t in layer["tiers"]) / total if total else None,
            }
            for layer in plan["layers"]
        ],
        "month_jpy": plan.get("month_jpy"),
    }


def cost(
    deck: PatternDeck, rows: Sequence[DaySum], prices: PriceTable, strong: str, today: str
) -> dict[str, Any]:
    """What was spent, what the strong model alone would have cost, and both for a month."""
    spent = sum(row.usd for row in rows)
    baseline = _baseline(deck, rows, prices, strong)
    days = _days(rows, today)
    return {
        "spent_usd": round(spent, 6),
        "baseline_usd": None if baseline is None else round(baseline, 6),
        "baseline": f"every answer from {strong}, estimated from characters",
        "prices_of": prices.dated or None,
        "days": days,
        "month_usd": round(spent / days * MONTH, 6) if days else None,
        "month_baseline_usd": round(baseline / days * MONTH, 6) if days and baseline else None,
    }


def _baseline(
    deck: PatternDeck, rows: Iterable[DaySum], prices: PriceTable, strong: str
) -> float | None:
    each = TOKENS_A_CHARACTER.get(deck.language, TOKENS_A_LETTER)
    total = 0.0
    for row in rows:
        price = prices.price("gemini", strong, row.day)
        if price is None:
            return None
        total += price.cost(
            Usage(prompt=row.characters_in * each, output=row.characters_out * each)
        )
    return total


def _days(rows: Sequence[DaySum], today: str) -> int:
    """Days from the first that was counted to today, both included."""
    if not rows:
        return 0
    first = datetime.date.fromisoformat(min(row.day for row in rows))
    return max(1, (datetime.date.fromisoformat(today) - first).days + 1)
