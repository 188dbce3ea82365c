"""Figures of a deck of characters, the same in `/stats` and in `precompute stats`.

What answers would have cost with the strong model is an estimate: from the characters that it would
have read and written, a number of tokens for each, and the price of the day.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.lines import FALLBACK
from app.ledger.tally import DaySum
from app.providers import CloudModels, ModelName
from app.providers.prices import PriceTable, load_prices
from app.providers.transport import is_local
from app.settings import Settings
from app.store.entry import Usage

# Rules of thumb for current tokenisers: tokens for each character by language, and otherwise.
TOKENS_A_CHARACTER = {"ja": 1.0}
TOKENS_A_LETTER = 0.25
MONTH = 30


def price_table(settings: Settings) -> PriceTable:
    """The prices of models; an OpenAI-compatible server on this machine costs nothing."""
    table = load_prices(settings.prices)
    url = settings.openai_base_url
    return table._replace(free=table.free | {"openai"}) if url and is_local(url) else table


def space(deck: CharacterDeck) -> dict[str, Any]:
    """The sizes of a deck."""
    pools = [deck.lines[character.id] for character in deck.characters]
    return {
        "characters": len(deck.characters),
        "intents": len(deck.intents),
        "lines": sum(len(lines) for pool in pools for lines in pool.values()),
        "fallback_lines": sum(len(pool.get(FALLBACK, ())) for pool in pools),
        "patterns": deck.count_patterns(),
    }


def layers(deck: CharacterDeck, rows: Sequence[DaySum]) -> dict[str, Any]:
    """The shares of the tiers as counted, and, for each plan in the deck, as planned."""
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
        "foreseen": [_compared(plan, answers, total) for plan in deck.foreseen],
    }


def _compared(plan: Mapping[str, Any], answers: Counter[str], total: int) -> dict[str, Any]:
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
    deck: CharacterDeck, rows: Sequence[DaySum], prices: PriceTable, cloud: CloudModels, today: str
) -> dict[str, Any]:
    """USD spent, and what the strong model alone would have cost; both also for 30 days.

    `unpriced` are the models whose price is not known: what they wrote counts as nothing.
    `today` is an ISO 8601 date.
    """
    spent = sum(row.usd for row in rows)
    baseline = _baseline(deck, rows, prices, cloud.strong)
    days = _days(rows, today)
    return {
        "spent_usd": round(spent, 6),
        "baseline_usd": None if baseline is None else round(baseline, 6),
        "unpriced": [
            str(name)
            for name in dict.fromkeys(cloud)
            if prices.price(name.provider, name.model, today) is None
        ],
        "baseline": f"every answer from {cloud.strong}, estimated from characters",
        "prices_of": prices.dated or None,
        "days": days,
        "month_usd": round(spent / days * MONTH, 6) if days else None,
        "month_baseline_usd": round(baseline / days * MONTH, 6) if days and baseline else None,
    }


def _baseline(
    deck: CharacterDeck, rows: Iterable[DaySum], prices: PriceTable, strong: ModelName
) -> float | None:
    each = TOKENS_A_CHARACTER.get(deck.language, TOKENS_A_LETTER)
    total = 0.0
    for row in rows:
        price = prices.price(strong.provider, strong.model, row.day)
        if price is None:
            return None
        total += price.cost(
            Usage(prompt=row.characters_in * each, output=row.characters_out * each)
        )
    return total


def _days(rows: Sequence[DaySum], today: str) -> int:
    """The number of days from the first one counted to today, both included."""
    if not rows:
        return 0
    first = datetime.date.fromisoformat(min(row.day for row in rows))
    return max(1, (datetime.date.fromisoformat(today) - first).days + 1)
