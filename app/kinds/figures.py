"""Figures of the store of a deck of any kind, the same in `/stats` and in `precompute stats`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from app.store.rows import Meta


def store(meta: Meta | None) -> dict[str, Any]:
    """The figures of the store, from its index."""
    if meta is None:
        return {
            "entries": 0,
            "reviewed": 0,
            "held": 0,
            "by_source": {},
            "by_model": {},
            "generation": 0,
        }
    by_source: Counter[str] = Counter()
    by_model: Counter[str] = Counter()
    for source, model, count in meta.origins:
        by_source[str(source)] += int(str(count))
        by_model[str(model)] += int(str(count))
    return {
        "entries": meta.entries,
        "reviewed": meta.reviewed,
        "held": meta.held,
        "by_source": dict(by_source),
        "by_model": dict(by_model),
        "lines": meta.lines,
        "damaged_lines": meta.damaged,
        "generation": meta.generation,
        "newest": meta.newest,
        "spent_usd": round(meta.cost_usd, 6),
        "paid_entries": meta.paid,
        "tokens": round(meta.tokens),
    }
