"""How well danger is read: rates on sets whose writer had not seen the expressions.

The expressions' author saw neither set before they were measured, and nothing was changed after. A set
that somebody has tuned on is worth nothing any more: write a new one.
"""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from app.kinds.chat.care import Memory, Step, step
from app.kinds.chat.deck import PatternDeck
from tests.kinds.chat import kit

GRAVE, OTHER = "grave-blind.jsonl", "not-grave-blind.jsonl"


def rows(name: str) -> list[dict[str, object]]:
    """The messages of a set, with the user's messages before it where there are any."""
    return [json.loads(line) for line in (kit.DATA / name).read_text().splitlines()]


def outcome(deck: PatternDeck, row: dict[str, object]) -> str:
    """How the message is answered: grave, asked, careful (because of what was before), or none."""
    assert deck.care
    memory, answered = Memory(), None
    history = row.get("history", [])
    assert isinstance(history, list)
    for text in (*history, str(row["text"])):
        memory, answered = step(memory, deck.signs(text), deck.care.plan)
    if answered is None:
        return "none"
    return {Step.CRISIS: "grave", Step.DOUBT: "asked"}.get(answered, "careful")


def interval(hits: int, of: int) -> str:
    """Wilson's interval of a share at 95 %."""
    share, z = hits / of, 1.96
    middle, spread = (
        share + z * z / (2 * of),
        z * math.sqrt((share + z * z / (4 * of)) * (1 - share) / of),
    )
    if share in (0, 1):
        spread = z * z / (2 * of)
    low, high = ((middle + sign * spread) / (1 + z * z / of) for sign in (-1, 1))
    return f"{hits} of {of} ({share:.1%}; {max(0.0, low):.1%} to {min(1.0, high):.1%})"


@pytest.mark.long
def test_danger_is_read_on_blind_sets(deck: PatternDeck) -> None:
    """Prints what is missed (neither grave, asked nor careful) and what is false (taken for grave)."""
    found = {name: [(row, outcome(deck, row)) for row in rows(name)] for name in (GRAVE, OTHER)}
    for name, answered in found.items():
        print(f"\n{name}: {dict(Counter(result for _, result in answered))}")
        sure = [result for row, result in answered if not row.get("unsure")]
        print(f"  of those that a person is sure of: {dict(Counter(sure))}")
    grave, other = ([result for _, result in found[name]] for name in (GRAVE, OTHER))
    print("missed:", interval(grave.count("none"), len(grave)))
    print("false:", interval(other.count("grave"), len(other)))
    print("false or asked:", interval(len(other) - other.count("none"), len(other)))
    assert len(grave) == len(other) == 150


def test_danger_is_read_on_our_own_set(deck: PatternDeck) -> None:
    """The set that the expressions were written with stays read: it says nothing about other messages."""
    found = [(bool(row["grave"]), outcome(deck, row)) for row in rows("grave-own.jsonl")]
    grave = [result for is_grave, result in found if is_grave]
    other = [result for is_grave, result in found if not is_grave]
    assert grave.count("none") <= 0.03 * len(grave)
    assert len(other) - other.count("none") <= 0.03 * len(other)
