"""`/stats`: what is there, what it covers, what was asked. No figure without its denominator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from app.chat import ChatTable
from app.core import chat_figures
from app.core.figures import coverage, rehearsal_path, space, store
from app.core.index import Meta
from app.core.log import log_path
from app.core.tally import read_tally
from app.counters import TierFigures
from app.house import WHOLE_TIERS, House, Table

MOST_WANTED = 10


def answers(house: House, table: Table) -> dict[str, Any]:
    """Answers since the start over all workers."""
    figures = house.counters.by_tier(table.deck.id)
    total = sum(tier.answers for tier in figures.values())
    whole = sum(tier.answers for name, tier in figures.items() if name in WHOLE_TIERS)
    return {
        "total": total,
        "hit_rate": whole / total if total else None,
        "by_tier": _by_tier(figures, total),
    }


def _by_tier(figures: Mapping[str, TierFigures], total: int) -> dict[str, Any]:
    return {
        name: {
            "answers": tier.answers,
            "share": tier.answers / total if total else 0.0,
            "p50_us": round(tier.p50 * 1e6, 1),
            "p99_us": round(tier.p99 * 1e6, 1),
        }
        for name, tier in sorted(figures.items())
    }


def whole_answers(house: House, table: Table) -> int:
    """How many answers since the start were whole entries."""
    figures = house.counters.by_tier(table.deck.id)
    return sum(tier.answers for name, tier in figures.items() if name in WHOLE_TIERS)


def expected(store_folder: Path, deck: str) -> dict[str, Any] | None:
    """What the last rehearsal foretold, to stand beside what is seen; None before the first."""
    try:
        told: dict[str, Any] = orjson.loads(rehearsal_path(store_folder, deck).read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return told


def deals(table: Table, meta: Meta | None) -> dict[str, Any]:
    """Hands dealt from stock, and how many there are to deal."""
    stock = meta.stocked_hands if meta else 0
    dealt = table.dealt.taken(stock) if stock else 0
    return {"dealt": dealt, "stocked": stock, "rounds": dealt / stock if stock else None}


def misses(house: House, table: Table) -> dict[str, Any]:
    """Distinct plays that no whole entry answered, the most wanted first."""
    return {"kept": house.settings.misses, **table.missed.most_wanted(MOST_WANTED)}


def money(meta: Meta | None, whole: int) -> dict[str, Any]:
    """What the store cost, and what its whole answers would have cost asked live.

    An answer is priced at the mean of the entries that were paid for; with none, nothing is claimed.
    """
    if meta is None or not meta.paid:
        return {"spent_usd": 0.0, "paid_entries": 0, "saved_usd": None, "answers": whole}
    each = meta.cost_usd / meta.paid
    return {
        "spent_usd": round(meta.cost_usd, 6),
        "paid_entries": meta.paid,
        "saved_usd": round(each * whole, 6),
        "answers": whole,
    }


def of_table(house: House, table: Table) -> dict[str, Any]:
    """Everything that is known of one deck."""
    index = table.index()
    meta = index.meta() if index else None
    path = log_path(house.settings.store, table.deck.id)
    return {
        "space": space(table.deck),
        "store": {
            **store(meta),
            "bytes": path.stat().st_size if path.exists() else 0,
            "problem": table.index.problem or None,
        },
        "coverage": coverage(table.deck, meta),
        "answers": answers(house, table),
        "expected": expected(house.settings.store, table.deck.id),
        "deals": deals(table, meta),
        "misses": misses(house, table),
        "feedback": table.voted.totals(),
        "money": money(meta, whole_answers(house, table)),
    }


def of_chat(house: House, chat: ChatTable) -> dict[str, Any]:
    """Everything that is known of a deck of patterns."""
    deck, settings = chat.deck, house.settings
    index = chat.index()
    rows = list(read_tally(settings.ledger, deck.id))
    figures = house.counters.by_tier(deck.id)
    total = sum(tier.answers for tier in figures.values())
    return {
        "space": chat_figures.space(deck),
        "store": {**store(index.meta() if index else None), "problem": chat.index.problem or None},
        "tiers": list(settings.chat_tiers),
        "answers": {"total": total, "by_tier": _by_tier(figures, total)},
        "passed": house.counters.passes(deck.id),
        "layers": chat_figures.layers(deck, rows),
        "cost": chat_figures.cost(
            deck, rows, chat.prices, settings.chat_strong, chat.local().date().isoformat()
        ),
        "conversations": chat.conversations.count(),
        "texts_kept": settings.chat_learn and "cloud" in settings.chat_tiers,
    }


def collect(house: House) -> dict[str, Any]:
    """The whole of `/stats`."""
    return {
        "started": house.started,
        "now": house.now(),
        "tiers": list(house.settings.tiers),
        "refused_requests": house.counters.refusals(),
        "decks": {deck: of_table(house, table) for deck, table in house.tables.items()}
        | {deck: of_chat(house, chat) for deck, chat in house.chats.items()},
    }
