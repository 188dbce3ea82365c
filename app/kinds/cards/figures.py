"""Figures of a deck of cards and its store, the same in `/stats` and in `precompute stats`.

Each share comes with its numerator and denominator.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from app.kinds.cards.deck import Deck
from app.ledger.frequencies import Frequencies
from app.store.plain import open_file
from app.store.rows import Meta


def rehearsal_path(store_folder: Path, deck: str) -> Path:
    return store_folder / f"{deck}.rehearsal.json"


def read_rehearsal(store_folder: Path, deck: str) -> dict[str, Any] | None:
    """The result of the last rehearsal, with which `/stats` compares; None before the first."""
    try:
        with open_file(rehearsal_path(store_folder, deck), "rb") as file:
            result = orjson.loads(file.read())
    except (OSError, orjson.JSONDecodeError):
        return None
    return result if isinstance(result, dict) else None


def space(deck: Deck) -> dict[str, Any]:
    """The size of the request space."""
    return {
        "cards": len(deck.cards),
        "phrases": sum(len(card.phrases) for card in deck.cards),
        "titles": len(deck.titles),
        "hands": deck.count_hands(),
        "plays": deck.count_plays(),
    }


def coverage(deck: Deck, meta: Meta | None) -> dict[str, Any]:
    """The plays and hands that the store and the pieces cover."""
    plays, hands = deck.count_plays(), deck.count_hands()
    exact = meta.plays if meta else 0
    stocked = meta.stocked_hands if meta else 0
    return {
        "exact": _share(exact, plays),
        "stocked_hands": _share(stocked, hands),
        "stocked_plays": _share(meta.stocked_plays if meta else 0, plays),
        "radius": meta.radius if meta else None,
        "composed": _share(plays if deck.composable else 0, plays),
    }


def _share(part: int, whole: int) -> dict[str, Any]:
    return {
        "count": part,
        "of": whole,
        "share": part / whole if whole else 0.0,
        "one_in": round(whole / part) if part else None,
    }


def money(meta: Meta | None, whole: int) -> dict[str, Any]:
    """What the store cost, and what asking a model for each of `whole` answers would have cost.

    The price of an answer is what was spent, refused answers included, for each entry that cost
    something; None without any.
    """
    spent, paid = (meta.cost_usd, meta.paid) if meta else (0.0, 0)
    return {
        "spent_usd": round(spent, 6),
        "paid_entries": paid,
        "saved_usd": round(spent / paid * whole, 6) if paid else None,
        "answers": whole,
    }


def missed_plays(lines: Iterable[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The plays in the lines of a ledger, by their phrases."""
    return (phrases for line in lines if (phrases := _phrases(line)))


def miss_summary(misses: Frequencies) -> dict[str, Any]:
    """Misses in total, distinct plays among them, and the phrases of the most frequent plays."""
    return {
        "total": misses.total,
        "distinct": misses.distinct,
        "most_wanted": [
            {"phrases": list(phrases), "times": times} for phrases, times in misses.most_common()
        ],
    }


def _phrases(line: dict[str, Any]) -> tuple[str, ...]:
    hand = line.get("hand")
    if not isinstance(hand, list):
        return ()
    # Interned to save memory: a ledger holds many plays of few phrases.
    return tuple(
        sorted(sys.intern(str(pick.get("phrase"))) for pick in hand if isinstance(pick, dict))
    )
