"""`/stats`: what is there, what it covers, what was asked. No figure without its denominator."""

from __future__ import annotations

from typing import Any

from app.core.figures import coverage, misses, saved_usd, space, store
from app.core.log import log_path
from app.house import WHOLE_TIERS, House, Table


def answers(house: House, table: Table) -> dict[str, Any]:
    """Answers since the start over all workers."""
    figures = house.counters.by_tier(table.deck.id)
    total = sum(tier.answers for tier in figures.values())
    whole = sum(tier.answers for name, tier in figures.items() if name in WHOLE_TIERS)
    return {
        "total": total,
        "hit_rate": whole / total if total else None,
        "by_tier": {
            name: {
                "answers": tier.answers,
                "share": tier.answers / total if total else 0.0,
                "p50_us": round(tier.p50 * 1e6, 1),
                "p99_us": round(tier.p99 * 1e6, 1),
            }
            for name, tier in sorted(figures.items())
        },
    }


def of_table(house: House, table: Table) -> dict[str, Any]:
    """Everything that is known of one deck."""
    index = table.index()
    meta = index.meta() if index else None
    path = log_path(house.settings.store, table.deck.id)
    answered = answers(house, table)
    hits = round((answered["hit_rate"] or 0) * answered["total"])
    return {
        "space": space(table.deck),
        "store": {
            **store(meta),
            "bytes": path.stat().st_size if path.exists() else 0,
            "saved_usd": saved_usd(meta, hits),
            "problem": table.index.problem or None,
        },
        "coverage": coverage(table.deck, meta),
        "answers": answered,
        "misses": misses(house.settings.ledger, table.deck.id),
    }


def collect(house: House) -> dict[str, Any]:
    """The whole of `/stats`."""
    return {
        "started": house.started,
        "now": house.now(),
        "tiers": list(house.settings.tiers),
        "refused_requests": house.counters.refusals(),
        "decks": {deck: of_table(house, table) for deck, table in house.tables.items()},
    }
