"""Conversations that a model writes: a persona in a situation, with feeling, relationship and memory.

The deck's `training.json` has the circumstances (`precompute.export.circumstances`), the situations and
the request. Each conversation is one question; a line of hers that the gate refuses refuses it whole.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from app.errors import DeckError, PlanError
from app.kinds.chat.characters import Character
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.gate import ChatGate
from app.kinds.chat.turn import persona
from app.kinds.kind import AnyDeck
from app.providers import Prompt
from app.providers.model_json import UnreadableError, read_object
from precompute.cook.options import BuildContext, BuildOptions
from precompute.export.circumstances import CIRCUMSTANCES, circumstances
from precompute.export.material import TRAINING_FILE, fill, licence_of, training_texts
from precompute.export.questions import ask
from precompute.export.rows import ASSISTANT, SYSTEM, USER, Message, Origin, Row

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "messages": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
                "required": ["role", "content"],
            },
        }
    },
    "required": ["messages"],
}
_TOKENS_A_TURN = 90
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A character, and what is added to her persona; `name`s are the keys of the deck's lists."""

    character: Character
    emotion: str
    relationship: str
    memory: str
    situation: str
    system: str


@dataclass(frozen=True, slots=True)
class ScenarioOptions:
    """How many conversations, of how many turns (a message and an answer are two)."""

    count: int
    turns: int
    seed: int


def write_scenarios(
    deck: AnyDeck,
    options: ScenarioOptions,
    writer: BuildOptions,
    context: BuildContext,
    path: Path,
    left_out: Counter[str],
) -> Iterator[Row]:
    """Rows of conversations that a model writes. Raises OperatorError; replies are kept in `path`."""
    if not isinstance(deck, CharacterDeck):
        raise PlanError(f"--scenarios: deck {deck.id!r} has no characters")
    texts = _scenario_texts(deck)
    scenarios = list(_drawn(deck, texts, options))
    questions = [_question(texts, scenario, options.turns) for scenario in scenarios]
    replies, report = ask(writer, context, questions, path, _readable)
    left_out["conversations that were not written"] += len(report.unmet)
    gate = ChatGate(deck)
    source = str(writer.provider)
    for number, (scenario, question) in enumerate(zip(scenarios, questions, strict=True)):
        reply = replies.value(question)
        if reply is None:
            continue
        turns = _turns(reply)
        refused = _refused(deck, gate, scenario.character, turns)
        if refused:
            left_out[f"conversations refused by the gate: {refused}"] += 1
            continue
        yield _row(
            deck, scenario, turns, number, Origin(source, writer.model or "", licence_of(source))
        )


def _scenario_texts(deck: CharacterDeck) -> Mapping[str, Any]:
    found: Mapping[str, Any] = training_texts(deck.folder, {"scenarios": dict})["scenarios"]
    situations = found.get("situations")
    if not isinstance(situations, dict) or not situations:
        raise DeckError(str(deck.folder), TRAINING_FILE, "scenarios: situations is missing")
    if not all(isinstance(text, str) for text in (*situations.values(), found.get("ask"))):
        raise DeckError(
            str(deck.folder), TRAINING_FILE, "scenarios: expected texts as situations and ask"
        )
    return found


def _drawn(
    deck: CharacterDeck, texts: Mapping[str, Any], options: ScenarioOptions
) -> Iterator[Scenario]:
    """Scenarios in which every emotion, relationship and situation comes about equally often."""
    rng = Random(options.seed)
    known = circumstances(deck)
    dealt = [_dealt([one for one in known if one.kind == kind], rng) for kind in CIRCUMSTANCES]
    situations = _dealt(list(texts["situations"]), rng)
    characters = itertools.cycle(deck.characters)
    for _ in range(options.count):
        drawn = [next(ones) for ones in dealt]
        character = next(characters)
        system = persona(character, "") + "".join(one.text for one in drawn)
        emotion, relationship, memory = (one.id for one in drawn)
        yield Scenario(character, emotion, relationship, memory, next(situations), system)


def _dealt(values: list[T], rng: Random) -> Iterator[T]:
    """The values in random order, all of them before one comes again."""
    while True:
        rng.shuffle(values)
        yield from tuple(values)


def _question(texts: Mapping[str, Any], scenario: Scenario, turns: int) -> Prompt:
    values = {
        "persona": scenario.system,
        "name": scenario.character.name,
        "situation": texts["situations"][scenario.situation],
        "turns": turns,
    }
    return Prompt("", fill(texts["ask"], values), SCHEMA, _TOKENS_A_TURN * turns)


def _readable(reply: str) -> str | None:
    """The reply if it is a conversation that begins with the user and ends with her."""
    try:
        turns = _turns(reply)
    except (UnreadableError, KeyError, TypeError, ValueError):
        return None
    expected = itertools.cycle((USER, ASSISTANT))
    whole = bool(turns) and turns[-1].role == ASSISTANT
    return (
        reply if whole and all(t.role == r for t, r in zip(turns, expected, strict=False)) else None
    )


def _turns(reply: str) -> list[Message]:
    messages = read_object(reply)["messages"]
    return [Message(str(m["role"]), str(m["content"]).strip()) for m in messages]


def _refused(
    deck: CharacterDeck, gate: ChatGate, character: Character, turns: Sequence[Message]
) -> str:
    """The check that refuses one of her lines; empty if none does."""
    for said, answer in zip(turns[::2], turns[1::2], strict=True):
        query = deck.message_query(character, said.content)
        refusal = gate.examine(query, {"text": answer.content})
        if refusal:
            return refusal.check
    return ""


def _row(
    deck: CharacterDeck, scenario: Scenario, turns: Sequence[Message], number: int, origin: Origin
) -> Row:
    said = turns[-2].content
    return Row(
        f"{scenario.character.id}/scenario/{number}",
        f"scenario/{scenario.situation}",
        (Message(SYSTEM, scenario.system), *turns),
        deck.message_query(scenario.character, said),
        {"text": turns[-1].content},
        origin,
        {
            "character": scenario.character.id,
            "topics": [scenario.situation],
            "emotions": [scenario.emotion],
            "affection_level": scenario.relationship,
            "memories": [scenario.memory],
        },
        vetted=True,
    )
