"""Decks of characters as conversations: messages, answered by lines in the character's voice.

The system text is the character's name, or her whole persona, followed by what the lines depend on
(the user's name, time, weekday, season) and by the mood of the one who speaks to her. A vetted line
answers a message of the deck, alone or after others (`precompute.export.exchanges`); it is the last
of one row.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from app.errors import DeckError
from app.kinds.chat.by_example import load_by_example
from app.kinds.chat.characters import Character
from app.kinds.chat.deck import SAID_FILE, CharacterDeck
from app.kinds.chat.lines import NAME_SLOT, RECALL
from app.kinds.chat.things import THING
from app.kinds.chat.turn import persona
from app.kinds.reading import Reader
from app.store.entry import Entry
from app.store.key import Query
from precompute.export.exchanges import Conversation, Exchanges, Sides, when_of
from precompute.export.material import (
    Material,
    RowOptions,
    StoredAnswers,
    fill,
    licence_of,
    system_text,
    training_texts,
)
from precompute.export.rows import ASSISTANT, SYSTEM, USER, Message, Origin, Row

# The source of the deck's own lines.
LINE = "line"
MODEL = "the makers, with a language model"
_NEUTRAL = ["neutral"]
_TIMES = ("time", "weekday", "season")


class ChatMaterial(Material):
    """The messages to a deck's characters and their answers as conversations."""

    _deck: CharacterDeck

    def __init__(self, deck: CharacterDeck, options: RowOptions) -> None:
        texts = training_texts(
            deck.folder,
            {"system": dict[str, str], "names": list[str], **dict.fromkeys(_TIMES, dict[str, str])},
            {"user": str, "mood": dict[str, str], "answers": dict[str, list[str]]},
        )
        self._system = system_text(deck.folder, texts, options)
        super().__init__(deck, options)
        self._texts = texts
        self._names: Sequence[str] = texts["names"]
        self._said = _said(deck)
        self._sides = Sides(deck, options)
        # A deck need not say what users answer; the lines of its topics then make no rows.
        self._answers: Mapping[str, Any] = texts.get("answers", {})
        self._emotions = {
            intent: mood for mood, intents in deck.moods.items() for intent in intents
        }

    def rows(self, stored: StoredAnswers, left_out: Counter[str]) -> Iterator[Row]:
        """The deck's lines, the lines that a model wrote for its patterns, and learned answers."""
        for character in self._deck.characters:
            yield from self._vetted(character, left_out)
        self._count_others(left_out)
        for entry in stored.current():
            row = self._cooked(entry, stored.origin(entry))
            if row:
                yield row
            else:
                left_out["no character, intent or message of this deck"] += 1

    def prompt(self, query: Query) -> tuple[Message, ...]:
        """The persona, and a message of the query's intent, or the query's message."""
        picks = dict(query.picks)
        character = self._deck.character_by_id[picks["character"]]
        when = {"time": (picks.get("time", ""),)}
        if mood := self._emotions.get(picks.get("intent", "")):
            when["mood"] = (mood,)
        return self._system_turn(character, "", when), Message(USER, self._message(query))

    def group(self, query: Query) -> str:
        """The answers to one message, however it is spelt, are a group."""
        return self._sides.group(self._message(query))

    def text(self, response: Mapping[str, str]) -> str:
        """The line."""
        return response["text"]

    def read(self, answer: str) -> Mapping[str, str]:
        """What a model wrote, as a response that the gate can judge."""
        return {"text": answer.strip()}

    def _vetted(self, character: Character, left_out: Counter[str]) -> Iterator[Row]:
        """Each line once, as the last of a conversation."""
        exchanges = Exchanges(
            self._deck, character, self._said, self._emotions, self._answers, self._sides
        )
        rng = Random(f"{self._seed} {character.id}")
        single = (
            (self._sides.group(one.said), exchanges.with_history(one, rng))
            for one in exchanges.single
        )
        several = (exchanges.answered(rng, left_out), exchanges.recalled(rng, left_out))
        numbers: Counter[str] = Counter()
        for group, turns in itertools.chain(single, *several):
            pool = turns[-1].pool
            name = f"{character.id}/{pool}/{numbers[pool]}"
            numbers[pool] += 1
            yield self._row(character, name, group, turns, exchanges.mood(turns))

    def _count_others(self, left_out: Counter[str]) -> None:
        """Count the lines that are no answer to a message of the deck."""
        for _, pool, _ in self._deck.all_lines():
            intent = self._deck.intent_by_id.get(pool)
            if intent and intent.careful:
                # They are answered by vetted lines at the event too, never by a model.
                left_out["lines about life and death"] += 1
            elif not (intent and pool in self._said) and not _follows(pool):
                left_out["lines without a message of their own (fallbacks, things)"] += 1

    def _row(
        self, character: Character, name: str, group: str, turns: Conversation, mood: str
    ) -> Row:
        last = turns[-1]
        user = ""
        if any(NAME_SLOT in one.text for one in turns):
            user = Random(f"{self._seed} {last.line.text}").choice(self._names)
        when = {**(when_of(turns) or {}), **({"mood": (mood,)} if mood else {})}
        messages = [self._system_turn(character, user, when)]
        for one in turns:
            messages.append(Message(USER, one.said))
            messages.append(Message(ASSISTANT, one.text.replace(NAME_SLOT, user)))
        return Row(
            name,
            group,
            tuple(messages),
            self._deck.message_query(character, last.said),
            {"text": messages[-1].content},
            Origin(LINE, MODEL, licence_of(LINE)),
            self._about(character, list(dict.fromkeys(one.pool for one in turns)), mood),
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
            (*turns, Message(ASSISTANT, self.text(entry.response))),
            entry.query,
            entry.response,
            origin,
            self._about(character, [intent] if intent else [], self._emotions.get(intent, "")),
        )

    def _message(self, query: Query) -> str:
        """Raises KeyError if the deck has no message for the query."""
        picks = dict(query.picks)
        if "message" in picks:
            return picks["message"]
        said = self._said[picks["intent"]]
        return Random(f"{self._seed} {query.key}").choice(said)

    def _system_turn(
        self, character: Character, user: str, when: Mapping[str, Sequence[str]]
    ) -> Message:
        # A deck need not say the mood, nor the user's name.
        texts = {what: self._texts.get(what, {}) for what in when}
        notes = [texts[what].get(allowed[0], "") for what, allowed in when.items()]
        values = {"name": character.name, "persona": persona(character, user)}
        system = fill(self._system, values)
        if user and user not in system:
            system += fill(self._texts.get("user", ""), {"user": user})
        return Message(SYSTEM, "".join([system, *notes]))

    def _about(self, character: Character, topics: Sequence[str], mood: str) -> dict[str, Any]:
        return {
            "character": character.id,
            "topics": topics,
            "emotions": [mood] if mood else _NEUTRAL,
            "affection_level": "friend",
        }


material = ChatMaterial


def _follows(pool: str) -> bool:
    """Whether the lines of a pool need something before them: a question, or what was told."""
    return pool.startswith(RECALL) or ("." in pool and not pool.startswith(THING))


def _said(deck: CharacterDeck) -> dict[str, tuple[str, ...]]:
    """Messages by intent. Raises DeckError."""
    if not (deck.folder / SAID_FILE).exists():
        raise DeckError(str(deck.folder), SAID_FILE, "the file is missing; its messages are needed")
    reader = Reader(deck.folder, SAID_FILE)
    said = {
        intent: reader.strings(reader.member(examples, "said", list, intent), intent)
        for intent, examples in reader.member({"": reader.value}, "", dict, "").items()
    }
    times = {time.id for time in deck.times}
    by_example = load_by_example(deck.folder, times).values()
    return said | {intent.id: intent.said for intent in by_example}
