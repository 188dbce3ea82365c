"""`/stats`: what is there, what it covers, what was asked. No figure without its denominator."""

from __future__ import annotations

from typing import Any

from app.kinds.cards.figures import coverage, money, read_rehearsal, space, store
from app.kinds.chat import figures as chat_figures
from app.kinds.chat.service import ChatTable
from app.ledger.counters import seen
from app.ledger.tally import read_tally
from app.store.index import Meta
from app.store.log import log_path
from app.web.service import House, Table

MOST_WANTED = 10


def deals(table: Table, meta: Meta | None) -> dict[str, Any]:
    """Hands dealt from stock, and how many there are to deal."""
    stock = meta.stocked_hands if meta else 0
    dealt = table.dealt.taken(stock) if stock else 0
    return {"dealt": dealt, "stocked": stock, "rounds": dealt / stock if stock else None}


def misses(house: House, table: Table) -> dict[str, Any]:
    """Distinct plays that no whole entry answered, the most wanted first."""
    return {"kept": house.settings.misses, **table.missed.most_wanted(MOST_WANTED)}


def of_table(house: House, table: Table) -> dict[str, Any]:
    """Everything that is known of one deck."""
    index = table.index()
    meta = index.meta() if index else None
    path = log_path(house.settings.store, table.deck.id)
    answers = seen(house.counters.by_tier(table.deck.id))
    return {
        "space": space(table.deck),
        "store": {
            **store(meta),
            "bytes": path.stat().st_size if path.exists() else 0,
            "problem": table.index.problem or None,
        },
        "coverage": coverage(table.deck, meta),
        "answers": answers,
        "expected": read_rehearsal(house.settings.store, table.deck.id),
        "deals": deals(table, meta),
        "misses": misses(house, table),
        "feedback": table.voted.totals(),
        "money": money(meta, answers["whole"]),
    }


def of_chat(house: House, chat: ChatTable) -> dict[str, Any]:
    """Everything that is known of a deck of patterns."""
    deck, settings = chat.deck, house.settings
    index = chat.index()
    rows = list(read_tally(settings.ledger, deck.id))
    answers = seen(house.counters.by_tier(deck.id))
    return {
        "space": chat_figures.space(deck),
        "store": {**store(index.meta() if index else None), "problem": chat.index.problem or None},
        "tiers": list(settings.chat_tiers),
        "answers": {"total": answers["total"], "by_tier": answers["by_tier"]},
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
