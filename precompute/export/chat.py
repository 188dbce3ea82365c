"""Decks of characters as conversations: a message, answered by a line in the character's voice.

The system text is the character's name, or her whole persona, followed by what the line depends on
(time, weekday, season) and by the mood of the one who speaks to her. A vetted line answers one of the messages that the deck's `said.json` lists for its
intent; each line stands in one row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from app.errors import DeckError
from app.kinds.chat.by_example import load_by_example
from app.kinds.chat.deck import SAID_FILE, Character, PatternDeck
from app.kinds.chat.intents import Intent
from app.kinds.chat.lines import NAME_SLOT, Line
from app.kinds.chat.turn import persona
from app.kinds.reading import Reader
from app.store.entry import Entry
from app.store.key import Query
from precompute.export.material import (
    RowOptions,
    Stored,
    fill,
    licence_of,
    system_text,
    training_texts,
)
from precompute.export.rows import ASSISTANT, SYSTEM, USER, Origin, Row, Turn

# The source of the deck's own lines.
LINE = "line"
MODEL = "the makers, with a language model"
_NEUTRAL = ["neutral"]


def material(deck: PatternDeck, options: RowOptions) -> ChatMaterial:
    """The material of a deck. Raises DeckError."""
    return ChatMaterial(deck, options)


class ChatMaterial:
    """The messages to a deck's characters and their answers as conversations."""

    def __init__(self, deck: PatternDeck, options: RowOptions) -> None:
        texts = training_texts(
            deck.folder,
            {"system": dict, "names": list, "time": dict, "weekday": dict, "season": dict},
        )
        self._system = system_text(deck.folder, texts, options)
        self._deck = deck
        self._seed = options.seed
        self._texts = texts
        self._names: Sequence[str] = texts["names"]
        self._said = _said(deck)
        self._emotions = {
            intent: mood for mood, intents in deck.moods.items() for intent in intents
        }

    def rows(self, stored: Stored, left_out: Counter[str]) -> Iterator[Row]:
        """The deck's lines, the lines that a model wrote for its patterns, and learned answers."""
        yield from self._vetted(left_out)
        for entry in stored.current():
            row = self._cooked(entry, stored.origin(entry))
            if row:
                yield row
            else:
                left_out["no character, intent or message of this deck"] += 1

    def prompt(self, query: Query) -> tuple[Turn, ...]:
        """The persona, and a message of the query's intent, or the query's message."""
        picks = dict(query.picks)
        character = self._deck.character_by_id[picks["character"]]
        when = {"time": (picks.get("time", ""),), **self._mood(picks.get("intent", ""))}
        return self._turns(character, self._message(query), "", when)

    def group(self, query: Query) -> str:
        """The answers to one message are a group."""
        return f"{dict(query.picks).get('intent', '')}/{self._message(query)}"

    def text(self, response: Mapping[str, str]) -> str:
        """The line."""
        return response["text"]

    def read(self, answer: str) -> Mapping[str, str]:
        """What a model wrote, as a response that the gate can judge."""
        return {"text": answer.strip()}

    def _vetted(self, left_out: Counter[str]) -> Iterator[Row]:
        numbers: Counter[tuple[str, str]] = Counter()
        for character, intent_id, line in self._deck.all_lines():
            said = self._said.get(intent_id, ())
            intent = self._deck.intent_by_id.get(intent_id)
            if not intent or not said:
                left_out["lines without a message of their own (fallbacks, topics)"] += 1
            elif intent.careful:
                # They are answered by vetted lines at the event too, never by a model.
                left_out["lines about life and death"] += 1
            else:
                number = numbers[character.id, intent_id]
                numbers[character.id, intent_id] += 1
                message = said[number % len(said)]
                yield self._row(character, intent, message, line, number)

    def _row(
        self, character: Character, intent: Intent, message: str, line: Line, number: int
    ) -> Row:
        name = Random(f"{self._seed} {line.text}").choice(self._names) if line.named else ""
        answer = line.text.replace(NAME_SLOT, name)
        return Row(
            f"{character.id}/{intent.id}/{number}",
            f"{intent.id}/{message}",
            (
                *self._turns(character, message, name, {**line.when, **self._mood(intent.id)}),
                Turn(ASSISTANT, answer),
            ),
            self._deck.message_query(character, message),
            {"text": answer},
            Origin(LINE, MODEL, licence_of(LINE)),
            self._about(character, intent.id),
            vetted=True,
        )

    def _cooked(self, entry: Entry, origin: Origin) -> Row | None:
        picks = dict(entry.query.picks)
        try:
            turns = self.prompt(entry.query)
            character = self._deck.character_by_id[picks["character"]]
        except KeyError:
            return None
        intent = picks.get("intent", "")
        return Row(
            f"{entry.key}#{entry.variant}",
            self.group(entry.query),
            (*turns, Turn(ASSISTANT, self.text(entry.response))),
            entry.query,
            entry.response,
            origin,
            self._about(character, intent),
        )

    def _mood(self, intent: str) -> dict[str, tuple[str]]:
        mood = self._emotions.get(intent)
        return {"mood": (mood,)} if mood else {}

    def _message(self, query: Query) -> str:
        """Raises KeyError if the deck has no message for the query."""
        picks = dict(query.picks)
        if "message" in picks:
            return picks["message"]
        said = self._said[picks["intent"]]
        return Random(f"{self._seed} {query.key}").choice(said)

    def _turns(
        self, character: Character, message: str, name: str, when: Mapping[str, Sequence[str]]
    ) -> tuple[Turn, ...]:
        # A deck need not say the mood.
        texts = {what: self._texts.get(what, {}) for what in when}
        notes = [texts[what].get(allowed[0], "") for what, allowed in when.items()]
        values = {"name": character.name, "persona": persona(character, name)}
        system = "".join([fill(self._system, values), *notes])
        return Turn(SYSTEM, system), Turn(USER, message)

    def _about(self, character: Character, intent: str) -> dict[str, Any]:
        mood = self._emotions.get(intent)
        return {
            "character": character.id,
            "topics": [intent] if intent else [],
            "emotions": [mood] if mood else _NEUTRAL,
            "affection_level": "friend",
        }


def _said(deck: PatternDeck) -> dict[str, tuple[str, ...]]:
    """Messages by intent. Raises DeckError."""
    if not (deck.folder / SAID_FILE).exists():
        raise DeckError(str(deck.folder), SAID_FILE, "the file is missing; its messages are needed")
    reader = Reader(deck.folder, SAID_FILE)
    said = {
        intent: reader.strings(reader.member(examples, "said", list, intent), intent)
        for intent, examples in reader.member({"": reader.value}, "", dict, "").items()
    }
    times = {time.id for time in deck.times}
    by_example = load_by_example(deck.folder, times).intents.values()
    return said | {intent.id: intent.said for intent in by_example}
