"""The figures of `/stats`: store, coverage and use. Each share comes with its denominator."""

from __future__ import annotations

from typing import Any

from app.kinds.cards.figures import coverage, money, read_rehearsal, space, store
from app.kinds.chat import figures as chat_figures
from app.kinds.chat.service import ServedChat
from app.ledger.counters import answer_summary
from app.store.index import Meta
from app.store.log import log_path
from app.store.sealed import identity
from app.web.service import ServedCards, Service

MOST_WANTED = 10


def deals(served: ServedCards, meta: Meta | None) -> dict[str, Any]:
    """Hands dealt from stock, and hands in stock."""
    stock = meta.stocked_hands if meta else 0
    dealt = served.dealt.taken(stock) if stock else 0
    return {"dealt": dealt, "stocked": stock, "rounds": dealt / stock if stock else None}


def misses(service: Service, served: ServedCards) -> dict[str, Any]:
    """Plays that no stored entry answered, the most frequent first."""
    return {"kept": service.settings.misses, **served.missed.most_wanted(MOST_WANTED)}


def of_cards(service: Service, served: ServedCards) -> dict[str, Any]:
    """The figures of one deck of cards."""
    index = served.index()
    meta = index.meta() if index else None
    log = identity(log_path(service.settings.store, served.deck.id))
    answers = answer_summary(service.counters.by_tier(served.deck.id))
    return {
        "space": space(served.deck),
        "store": {
            **store(meta),
            "bytes": log.size if log else 0,
            "problem": served.index.problem or None,
        },
        "coverage": coverage(served.deck, meta),
        "answers": answers,
        "expected": read_rehearsal(service.settings.store, served.deck.id),
        "passed": service.counters.passes(served.deck.id),
        "deals": deals(served, meta),
        "misses": misses(service, served),
        "feedback": served.voted.totals(),
        "money": money(meta, answers["whole"]),
    }


def of_chat(service: Service, chat: ServedChat) -> dict[str, Any]:
    """The figures of one deck of patterns."""
    deck, settings = chat.deck, service.settings
    index = chat.index()
    rows = list(chat.tally.rows())
    answers = answer_summary(service.counters.by_tier(deck.id))
    return {
        "space": chat_figures.space(deck),
        "store": {**store(index.meta() if index else None), "problem": chat.index.problem or None},
        "tiers": list(settings.chat_tiers),
        "answers": {"total": answers["total"], "by_tier": answers["by_tier"]},
        "passed": service.counters.passes(deck.id),
        "layers": chat_figures.layers(deck, rows),
        "cost": chat_figures.cost(
            deck, rows, chat.prices, settings.chat_strong, chat.local().date().isoformat()
        ),
        "conversations": chat.conversations.count(),
        "texts_kept": settings.chat_learn and "cloud" in settings.chat_tiers,
    }


def collect(service: Service) -> dict[str, Any]:
    """The whole of `/stats`."""
    return {
        "started": service.started,
        "now": service.now(),
        "tiers": list(service.settings.tiers),
        "refused_requests": service.counters.refusals(),
        "decks": {deck: of_cards(service, served) for deck, served in service.cards.items()}
        | {deck: of_chat(service, chat) for deck, chat in service.chats.items()},
    }
