"""How well danger is read: rates on sets whose writer had not seen the expressions.

The expressions' author saw neither set before they were measured, and nothing was changed after. A set
that somebody has tuned on is worth nothing any more: write a new one.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from app.kinds.chat.care import CareMemory, Step, step
from app.kinds.chat.deck import CharacterDeck
from tests.kinds.chat import kit
from tests.kinds.chat.kit import interval

GRAVE, OTHER = "grave-blind.jsonl", "not-grave-blind.jsonl"


def rows(name: str) -> list[dict[str, object]]:
    """The messages of a set, with the user's messages before it where there are any."""
    return [json.loads(line) for line in (kit.DATA / name).read_text().splitlines()]


def outcome(deck: CharacterDeck, row: dict[str, object]) -> str:
    """How the message is answered: grave, asked, careful (because of what was before), or none."""
    assert deck.care
    memory, answered = CareMemory(), None
    history = row.get("history", [])
    assert isinstance(history, list)
    for text in (*history, str(row["text"])):
        memory, answered = step(memory, deck.signs(text), deck.care.plan)
    if answered is None:
        return "none"
    return {Step.CRISIS: "grave", Step.DOUBT: "asked", Step.UNEASY: "asked"}.get(
        answered, "careful"
    )


@pytest.mark.long
def test_danger_is_read_on_blind_sets(deck: CharacterDeck) -> None:
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


def test_danger_is_read_on_our_own_set(deck: CharacterDeck) -> None:
    """The set that the expressions were written with stays read: it says nothing about other messages."""
    found = [(bool(row["grave"]), outcome(deck, row)) for row in rows("grave-own.jsonl")]
    grave = [result for is_grave, result in found if is_grave]
    other = [result for is_grave, result in found if not is_grave]
    assert grave.count("none") <= 0.03 * len(grave)
    assert len(other) - other.count("none") <= 0.03 * len(other)


def test_danger_is_read_in_messages_left_out_of_learning(deck: CharacterDeck) -> None:
    """Of messages by the writer of the examples, not learned from, most are noticed, few taken for grave."""
    found = [(bool(row["grave"]), outcome(deck, row)) for row in rows("danger-held-out.jsonl")]
    grave = [result for is_grave, result in found if is_grave]
    other = [result for is_grave, result in found if not is_grave]
    print("\nmissed:", interval(grave.count("none"), len(grave)))
    print("taken for grave:", interval(other.count("grave"), len(other)))
    print("asked:", interval(other.count("asked"), len(other)))
    assert grave.count("none") <= 0.3 * len(grave)
    assert other.count("grave") <= 0.03 * len(other)
