"""Figures and checks of decks of prompts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from app.errors import IndexUnusableError, NothingCookedError
from app.kinds.cards.figures import store
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.recordings import recordings_folder
from app.ledger.misses import read_ledger
from app.settings import Settings
from app.store.index import Index
from app.store.log import Record, log_path, read_log
from precompute.cook.report import counts
from precompute.review.check import Finding


def stats(
    settings: Settings, deck: PromptDeck, today: str, most: int, note: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of a deck, with the `most` frequent misses."""
    index: Index | None = None
    try:
        index = Index(settings.store, deck.id)
    except NothingCookedError:
        pass
    except IndexUnusableError as error:
        note(str(error))
    recorded = read_log(log_path(recordings_folder(settings.ledger), deck.id))
    return {
        "deck": deck.id,
        "mode": settings.mode or deck.mode,
        "store": store(index.meta() if index else None),
        "recordings": sum(isinstance(item, Record) for item in recorded),
        "misses": _misses(settings, deck, most),
    }


def _misses(settings: Settings, deck: PromptDeck, most: int) -> dict[str, Any]:
    """Missed prompts by how often; a prompt of which the ledger has the key alone is that key."""
    wanted: Counter[str] = Counter()
    for line in read_ledger(settings.ledger, deck.id):
        pattern = line.get("pattern")
        prompt = line.get("prompt") or (pattern.get("key") if isinstance(pattern, dict) else None)
        if isinstance(prompt, str):
            wanted[prompt] += 1
    rows = [{"phrases": [prompt], "times": times} for prompt, times in wanted.most_common(most)]
    return {"total": wanted.total(), "distinct": len(wanted), "most_wanted": rows}


def stats_rows(figures: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """The figures as rows of a table."""
    yield "mode", figures["mode"]
    yield "entries", f"{figures['store']['entries']:,} ({counts(figures['store']['by_source'])})"
    yield "recorded by the server", f"{figures['recordings']:,}"
    misses = figures["misses"]
    yield "misses", f"{misses['total']:,}, {misses['distinct']:,} different ones"


def check(deck: PromptDeck) -> Iterator[Finding]:
    """Nothing that loading a deck has not checked."""
    return iter(())


def summary(settings: Settings, deck: PromptDeck, today: str) -> Iterator[str]:
    """One line about a deck."""
    if deck.folder is None and not log_path(settings.store, deck.id).exists():
        return
    figures = stats(settings, deck, today or time.strftime("%Y-%m-%d"), 0, lambda _: None)
    yield f"deck {deck.id}: {figures['store']['entries']} entries, mode {figures['mode']}"
