"""Rates on sets that nobody has tuned on: only counts are printed and compared, never a message.

Whoever reads a failing line has used the set up; a new one must then be written by somebody else.
"""

from __future__ import annotations

import json
from typing import Any

from app.kinds.chat.deck import PatternDeck
from tests.kinds.chat import kit
from tests.kinds.chat.kit import interval

BLIND = kit.DATA / "blind"


def blind_rows(name: str) -> list[dict[str, Any]]:
    """The lines of a blind set."""
    return [json.loads(line) for line in (BLIND / name).read_text().splitlines()]


def test_no_answer_is_given_to_an_opposite(deck: PatternDeck) -> None:
    """Of 200 pairs that mean different things none shares a learned answer, with any character."""
    false = lost = different = 0
    for row in blind_rows("pairs.jsonl"):
        keys = [
            {deck.message_query(character, row[side]).key for side in ("taught", "asked")}
            for character in deck.characters
        ]
        if row["same"]:
            lost += any(len(of) == 2 for of in keys)
        else:
            different += 1
            false += any(len(of) == 1 for of in keys)
    print(f"\nfalse hits: {interval(false, different)}; lost: {lost} of 20 that are the same")
    assert different == 200
    assert false == 0
