"""Figures of several machines together: misses, votes and counters.

Machines share nothing while they serve. Afterwards their data folders, or only the ledgers in them,
are copied to one machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.errors import PlanError
from app.kinds.cards.figures import miss_summary, missed_plays
from app.ledger.counters import Sums, answer_summary, kept_sums, refusals, tier_figures
from app.ledger.frequencies import Frequencies
from app.ledger.misses import read_ledger
from app.ledger.state import add_to
from app.ledger.votes import VoteCounts


def merged(folders: Sequence[Path], deck: str, most: int) -> dict[str, Any]:
    """The figures of one deck over several machines. Raises PlanError if a folder has no ledger."""
    ledgers = [_ledger(folder) for folder in folders]
    misses = Frequencies(most)
    sums: Sums = {}
    for ledger in ledgers:
        misses.update(missed_plays(read_ledger(ledger, deck)))
        for name, numbers in kept_sums(ledger, time.time).items():
            add_to(sums, name, numbers)
    votes = [VoteCounts(ledger, deck).totals() for ledger in ledgers]
    up, of = sum(vote["up"] for vote in votes), sum(vote["of"] for vote in votes)
    return {
        "deck": deck,
        "machines": len(ledgers),
        "answers": answer_summary(tier_figures(sums, deck)),
        "refused_requests": refusals(sums),
        "misses": miss_summary(misses),
        "feedback": {"up": up, "down": of - up, "of": of, "share_up": up / of if of else None},
    }


def _ledger(folder: Path) -> Path:
    """The ledger's folder: the one in a data folder, or the folder itself."""
    found = folder / "ledger" if (folder / "ledger").is_dir() else folder
    if not any(found.glob("*.jsonl")):
        raise PlanError(f"{folder}: no ledger here; name a data folder, or the ledger's own")
    return found


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    misses, votes = result["misses"], result["feedback"]
    by_tier = result["answers"]["by_tier"]
    return [
        ("machines", f"{result['machines']:,}"),
        ("answers", f"{result['answers']['total']:,}"),
        *((f"  {tier}", f"{figures['answers']:,}") for tier, figures in by_tier.items()),
        ("misses, distinct", f"{misses['total']:,}, {misses['distinct']:,}"),
        ("votes up", f"{votes['up']:,} of {votes['of']:,}"),
    ]
