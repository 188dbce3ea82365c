"""Preference pairs from what people and the gate have already judged.

- votes: of two answers to one query, one has more up than down votes and the other fewer;
- edits: a text that a reviewer edited, and the text before;
- refusals: an answer that the gate refused, and one to the same query that it passes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from app.kinds.kind import AnyGate
from app.store.entry import Entry
from app.store.sources import EDITED
from precompute.cook.kinds import refusal_of
from precompute.export.material import Material, StoredAnswers
from precompute.export.rows import Pair


def known_pairs(
    material: Material, stored: StoredAnswers, gate: AnyGate, left_out: Counter[str]
) -> Iterator[Pair]:
    """The pairs in a store and its ledger; `left_out` counts what makes none, by reason."""
    passed = {
        key: [e for e in entries if refusal_of(gate, e.query, e.response) is None]
        for key, entries in stored.by_key.items()
    }
    for entries in passed.values():
        yield from _by_votes(material, stored, entries)
        yield from _by_edits(material, stored, entries)
    for record in stored.refused():
        answers = passed.get(str(record.get("key")))
        response = record["response"]
        if not answers:
            left_out["refused answers to a query that no answer has passed"] += 1
            continue
        best = answers[-1]
        try:
            text = material.text({name: str(value) for name, value in response.items()})
        except KeyError:
            left_out["refused answers of another shape"] += 1
            continue
        checks = [str(why).partition(":")[0] for why in record.get("refusals", [])]
        yield _pair(material, stored, best, text, f"refused: {', '.join(checks)}")


def _by_votes(
    material: Material, stored: StoredAnswers, entries: Sequence[Entry]
) -> Iterator[Pair]:
    for one, other in itertools.permutations(entries, 2):
        (up, down), (other_up, other_down) = stored.votes(one), stored.votes(other)
        if up > down and other_up < other_down and one.response != other.response:
            yield _pair(material, stored, one, material.text(other.response), "votes")


def _by_edits(
    material: Material, stored: StoredAnswers, entries: Sequence[Entry]
) -> Iterator[Pair]:
    for before, after in itertools.pairwise(sorted(entries, key=lambda entry: entry.variant)):
        same = before.variant == after.variant
        if after.source == EDITED and same and before.response != after.response:
            yield _pair(material, stored, after, material.text(before.response), EDITED)


def _pair(
    material: Material, stored: StoredAnswers, best: Entry, rejected: str, because: str
) -> Pair:
    prompt = material.prompt(best.query)
    return Pair(
        f"{best.key}#{best.variant}",
        material.group(best.query),
        prompt,
        material.text(best.response),
        rejected,
        because,
        stored.origin(best),
    )
