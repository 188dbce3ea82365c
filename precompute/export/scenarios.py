"""Conversations for training: a persona in a situation, with feeling, relationship and memory.

A model writes them (`write_scenarios`), or they are the deck's own answers under other circumstances
(`augmented`).

The deck's `training.json` has the lists (`scenarios`: emotions, relationships, memories, situations) and
the request. Each conversation is one question; a line of hers that the gate refuses refuses it whole.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from app.errors import DeckError, PlanError
from app.kinds.chat.deck import Character, PatternDeck
from app.kinds.chat.gate import ChatGate
from app.kinds.chat.turn import persona
from app.kinds.kind import AnyDeck
from app.providers import Prompt
from app.providers.reply import UnreadableError, read_object
from precompute.cook.options import BuildContext, BuildOptions
from precompute.export.material import TRAINING_FILE, fill, licence_of, training_texts
from precompute.export.questions import Question, ask
from precompute.export.rows import ASSISTANT, SYSTEM, USER, Origin, Row, Turn

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
_CIRCUMSTANCES = ("emotions", "relationships", "memories")
_LISTS = (*_CIRCUMSTANCES, "situations")


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
    if not isinstance(deck, PatternDeck):
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


def augmented(deck: AnyDeck, rows: Sequence[Row], times: int, seed: int) -> Iterator[Row]:
    """Each row `times` more, with an emotion, a relationship and a memory in its system text.

    The answer stays as it is, and the group: a model learns that the voice holds whatever is said of
    the moment. Each sentence of the deck's lists comes about equally often. Raises PlanError for a
    deck without characters, DeckError.
    """
    if not isinstance(deck, PatternDeck):
        raise PlanError(f"--augment: deck {deck.id!r} has no characters")
    texts = _scenario_texts(deck)
    rng = Random(seed)
    dealt = {name: _dealt(list(texts[name]), rng) for name in _CIRCUMSTANCES}
    for row in rows:
        for number in range(1, times + 1):
            drawn = {name: next(dealt[name]) for name in _CIRCUMSTANCES}
            yield _under(row, number, drawn, "".join(texts[n][key] for n, key in drawn.items()))


def _under(row: Row, number: int, drawn: Mapping[str, str], added: str) -> Row:
    about = {
        **row.about,
        "emotions": [drawn["emotions"]],
        "affection_level": drawn["relationships"],
        "memories": [drawn["memories"]],
        "augmented": "template",
    }
    system, *said = row.turns
    turns = (Turn(SYSTEM, system.content + added), *said)
    return replace(row, id=f"{row.id}/augmented/{number}", turns=turns, about=about)


def _scenario_texts(deck: PatternDeck) -> Mapping[str, Any]:
    found: Mapping[str, Any] = training_texts(deck.folder, {"scenarios": dict})["scenarios"]
    for name in _LISTS:
        if not isinstance(found.get(name), dict) or not found[name]:
            raise DeckError(str(deck.folder), TRAINING_FILE, f"scenarios: {name} is missing")
    if not isinstance(found.get("ask"), str):
        raise DeckError(str(deck.folder), TRAINING_FILE, "scenarios: ask is missing")
    return found


def _drawn(
    deck: PatternDeck, texts: Mapping[str, Any], options: ScenarioOptions
) -> Iterator[Scenario]:
    """Scenarios in which every emotion, relationship and situation comes about equally often."""
    rng = Random(options.seed)
    dealt = {name: _dealt(list(texts[name]), rng) for name in _LISTS}
    characters = itertools.cycle(deck.characters)
    for _ in range(options.count):
        emotion, relationship, memory, situation = (next(dealt[name]) for name in _LISTS)
        character = next(characters)
        added = [
            texts["emotions"][emotion],
            texts["relationships"][relationship],
            texts["memories"][memory],
        ]
        system = persona(character, "") + "".join(added)
        yield Scenario(character, emotion, relationship, memory, situation, system)


def _dealt(values: list[str], rng: Random) -> Iterator[str]:
    """The values in random order, all of them before one comes again."""
    while True:
        rng.shuffle(values)
        yield from tuple(values)


def _question(texts: Mapping[str, Any], scenario: Scenario, turns: int) -> Question:
    values = {
        "persona": scenario.system,
        "name": scenario.character.name,
        "situation": texts["situations"][scenario.situation],
        "turns": turns,
    }
    return Question(Prompt("", fill(texts["ask"], values), SCHEMA, _TOKENS_A_TURN * turns))


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


def _turns(reply: str) -> list[Turn]:
    messages = read_object(reply)["messages"]
    return [Turn(str(m["role"]), str(m["content"]).strip()) for m in messages]


def _refused(deck: PatternDeck, gate: ChatGate, character: Character, turns: Sequence[Turn]) -> str:
    """The check that refuses one of her lines; empty if none does."""
    for said, answer in zip(turns[::2], turns[1::2], strict=True):
        query = deck.message_query(character, said.content)
        refusal = gate.examine(query, {"text": answer.content})
        if refusal:
            return refusal.check
    return ""


def _row(
    deck: PatternDeck, scenario: Scenario, turns: Sequence[Turn], number: int, origin: Origin
) -> Row:
    said = turns[-2].content
    return Row(
        f"{scenario.character.id}/scenario/{number}",
        f"scenario/{scenario.situation}",
        (Turn(SYSTEM, scenario.system), *turns),
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
