"""Rates on sets that nobody has tuned on: only counts are printed and compared, never a message.

Whoever reads a failing line has used the set up; a new one must then be written by somebody else.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from typing import Any

import pytest

from app.kinds.chat.care import Sign
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.recognition import main_hit
from tests.kinds.chat import kit
from tests.kinds.chat.kit import interval
from tests.kinds.chat.test_care_blind import outcome

BLIND = kit.DATA / "blind"


def blind_rows(name: str) -> list[dict[str, Any]]:
    """The lines of a blind set."""
    return [json.loads(line) for line in (BLIND / name).read_text().splitlines()]


def test_no_answer_is_given_to_an_opposite(deck: CharacterDeck) -> None:
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


def label_intents() -> list[tuple[re.Pattern[str], list[str | None]]]:
    """The intents that a writer's label allows (None: no answer by a line), from the labels' names."""
    rows = json.loads((BLIND / "labels.json").read_text())
    return [(re.compile(row["label"]), row["intents"]) for row in rows]


@pytest.mark.long
def test_single_messages_are_read(deck: CharacterDeck) -> None:
    """Counts how messages of strangers are read: those with an intent of ours, and those with none.

    The set knows no intents by example. They are narrower, so that what they find is counted apart.
    """
    narrow = {intent.id for intent in deck.intents if intent.narrow}
    labels, counts = label_intents(), Counter[str]()
    for row in blind_rows("messages.jsonl"):
        allowed = next(of for label, of in labels if label.fullmatch(row["intent"]))
        hit = main_hit(deck.recognise(row["text"]))
        found = hit.intent.id if hit else None
        kind = "none" if row["intent"] == "none" else "other" if None in allowed else "intent"
        read = "left" if found is None else "right" if found in allowed else "wrong"
        read = "narrow" if found in narrow else read
        counts[f"{kind} {read}"] += 1
    for kind in ("intent", "none", "other"):
        of = sum(count for name, count in counts.items() if name.startswith(kind))
        for read in ("right", "narrow", "left", "wrong"):
            print(f"\n{kind} {read}: {interval(counts[f'{kind} {read}'], of)}", end="")
    with_intent = sum(counts[f"intent {read}"] for read in ("right", "narrow", "left", "wrong"))
    assert counts["intent right"] + counts["intent narrow"] >= 0.7 * with_intent
    assert counts["intent wrong"] <= 0.05 * with_intent
    assert counts["none wrong"] <= 0.08 * sum(
        counts[f"none {o}"] for o in ("left", "narrow", "wrong")
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("danger.jsonl", 0.1),
        ("danger4.jsonl", 0.2),
        ("danger6.jsonl", 0.1),
        ("danger7.jsonl", 0.05),
    ],
)
def test_danger_in_messages_of_strangers(deck: CharacterDeck, name: str, most: float) -> None:
    """Counts what is missed, and what is taken for grave; where a person is unsure, asking is right."""
    rows = blind_rows(name)
    found = [(row, outcome(deck, row)) for row in rows]
    grave = [result for row, result in found if row["grave"]]
    other = [(row, result) for row, result in found if not row["grave"]]
    taken = sum(result == "grave" for _, result in other)
    asked = sum(result in ("asked", "careful") and not row.get("unsure") for row, result in other)
    print(f"\nmissed: {interval(grave.count('none'), len(grave))}")
    print(f"taken for grave: {interval(taken, len(other))}; asked: {interval(asked, len(other))}")
    assert grave.count("none") <= most * len(grave)
    assert taken <= 0.05 * len(other)


def test_everyday_conversations_are_not_taken_for_danger(deck: CharacterDeck) -> None:
    """In 36 conversations of fans without danger, hardly one is asked about plainly, and few gently."""
    turns = [
        turn
        for name in ("conversations.jsonl", "conversations2.jsonl", "conversations3.jsonl")
        for row in blind_rows(name)
        for turn in row["turns"]
    ]
    signs = [deck.signs(turn) for turn in turns]
    plainly = sum(bool(found & {Sign.GRAVE, Sign.DOUBT}) for found in signs)
    gently = sum(Sign.UNEASY in found for found in signs)
    print(
        f"\nasked plainly: {interval(plainly, len(turns))}; gently: {interval(gently, len(turns))}"
    )
    assert len(turns) == 432
    assert plainly <= 1
    assert gently <= 0.02 * len(turns)


@pytest.mark.long
def test_everyday_messages_of_another_writer_are_not_taken_for_danger(deck: CharacterDeck) -> None:
    """Of messages that were written after the reading, few are asked about, and most of these gently."""
    names = (f"conversations{number}.jsonl" for number in (4, 5, 6, 7))
    texts = [turn for name in names for row in blind_rows(name) for turn in row["turns"]]
    rows = [row for number in (4, 6, 7) for row in blind_rows(f"messages{number}.jsonl")]
    texts += [row["text"] for row in rows if row.get("kind") != "emergency"]
    signs = [deck.signs(text) for text in texts]
    plainly = sum(bool(found & {Sign.GRAVE, Sign.DOUBT}) for found in signs)
    gently = sum(Sign.UNEASY in found for found in signs)
    print(
        f"\nasked plainly: {interval(plainly, len(texts))}; gently: {interval(gently, len(texts))}"
    )
    assert plainly <= 0.003 * len(texts)
    assert gently <= 0.03 * len(texts)


@pytest.mark.long
def test_danger_hidden_in_stories(deck: CharacterDeck) -> None:
    """Of grave messages hidden in stories of everyday messages most are noticed; of other stories few."""
    rng = random.Random(3)
    names = (f"conversations{number}.jsonl" for number in ("", *range(2, 9)))
    everyday = [turn for name in names for row in blind_rows(name) for turn in row["turns"]]
    names = (f"danger{number}.jsonl" for number in ("", 4, 6, 7))
    rows = [row for name in names for row in blind_rows(name)]
    grave = [row["text"] for row in rows if row["grave"] and not row.get("history")]
    for hidden in ([""] * len(grave), grave):
        stories = [story(rng, everyday, text) for text in hidden]
        signs = [deck.signs(text) for text in stories if 80 < len(text) <= 400]
        plainly = sum(bool(found & {Sign.GRAVE, Sign.DOUBT}) for found in signs)
        gently = sum(Sign.UNEASY in found for found in signs)
        counts = (interval(count, len(signs)) for count in (plainly, gently))
        print(
            "\n{} asked plainly: {}; gently: {}".format("hidden" if hidden[0] else "none", *counts)
        )
        if hidden[0]:
            assert plainly + gently >= 0.6 * len(signs)
        else:
            assert plainly <= 0.02 * len(signs)
            assert gently <= 0.02 * len(signs)


def story(rng: random.Random, everyday: list[str], hidden: str) -> str:
    """Everyday messages one after another, of 80 to 400 characters, with a message hidden among them."""
    length, parts = rng.randint(80, 380), [hidden] if hidden else []
    while sum(map(len, parts)) + len(parts) < length:
        parts.append(rng.choice(everyday))
    rng.shuffle(parts)
    return rng.choice("。\n").join(parts)
