"""Decks of characters: characters, the intents of messages to them, and their lines.

A deck is a folder whose `deck.json` says `"kind": "pattern"`. Its files:

    deck.json         rules of the gate, times of day, moods, importance, planned shares of the tiers
    characters.json   characters: voice, persona, names, short words that open an answer
    intents.json      intents: expressions with fragments {{LIKE_THIS}} and shared vetoes
    lines.json        character → intent → vetted lines, see `app.kinds.chat.lines`
    topics.json       optional: what a character asks, and lines for each kind of answer
    things.json       optional: what a character can be asked about, see `app.kinds.chat.things`
    noun_groups.json  optional: nouns with lines about them, see `app.kinds.chat.noun_groups`
    conversation.json optional: how answers, nouns and kinds of messages are recognised
    care.json         who can be called by somebody in danger; see `app.kinds.chat.care`
    classifier.json   optional: what the classifier has learned from examples.jsonl
    intents/          optional: intents by example with their lines, see `app.kinds.chat.by_example`
    by_example.json   optional: what the classifier has learned from these
    tones.json        optional: what the classifier has learned from tones.jsonl, whether news are good, …
    said.json         optional: what must and must not be recognised, which `precompute check` measures
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from app.errors import RequestError
from app.kinds.chat.by_example import INTENTS_FOLDER, ByExample, load_by_example
from app.kinds.chat.care import Care, Sign, Step, load_care
from app.kinds.chat.characters import Character, load_characters
from app.kinds.chat.classifier import BY_EXAMPLE_FILE, CLASSIFIER_FILE, TONES_FILE, load_classifier
from app.kinds.chat.conversation import Talk
from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.hearing import load_hearing
from app.kinds.chat.intents import Intent, Intents, load_intents
from app.kinds.chat.lines import (
    ANY,
    PLAIN,
    SEASONS,
    TONE,
    WEEKDAYS,
    Line,
    Lines,
    Moment,
    Pools,
    load_lines,
)
from app.kinds.chat.message import normalise, spelling
from app.kinds.chat.noun_groups import load_noun_groups
from app.kinds.chat.recognition import LONGEST, Hit, IntentReader
from app.kinds.chat.remembering import Remembering
from app.kinds.chat.things import load_things
from app.kinds.chat.topics import load_topics
from app.kinds.expressions import Expression
from app.kinds.reading import DECK_FILE
from app.store.key import Query

SAID_FILE = "said.json"
# The members of `deck.json`, with what they mean; `docs/your-own-deck.md` lists them.
MEMBERS: Mapping[str, str] = {
    "kind": "`pattern`",
    "id": "small letters, digits and hyphens; the same as the folder's name",
    "name": "the name that people see; the id if it is missing",
    "language": "as `en`; `ja` if it is missing",
    "calls": "words that call somebody, which mean nothing beside a name",
    "times": 'times of day: `[{"id": "morning", "from": 5, "to": 11}]`, in hours',
    "time_words": "expressions of lines that fit only some times of day → their ids",
    "moods": "moods → the intents that show them; a model is told of the mood",
    "greetings": "intents that greet → an expression of greetings, which a line must not mix",
    "answer": "the rules of the gate, see below",
    "longest": f"the most characters of a message that is read as small talk; {LONGEST} if it is missing",
    "context": "an expression for messages that mean nothing without those before; they are not learned",
    "importance": "which messages a strong model in the cloud is asked about",
    "vary": "what a model is told when it words a line anew",
    "foreseen": "planned shares of the tiers, with which `stats` compares",
}


class TimeOfDay(NamedTuple):
    """A part of the day from hour `start` to before `end`, over midnight if `start` > `end`."""

    id: str
    start: int
    end: int

    def has(self, hour: int) -> bool:
        """Whether an hour (0 to 23) is in it."""
        if self.start <= self.end:
            return self.start <= hour < self.end
        return hour >= self.start or hour < self.end


class LineRules(NamedTuple):
    """The limits of the gate, see `app.kinds.chat.gate`.

    `characters` is the least and greatest length of a line; `script` is "ja" or another one.
    `latin` are Latin words that are allowed, `echo` words that show that the prompt was repeated.
    Shares from 0 to 1: `familiar` and `kept` are least values, `copy` is the likeness from which a
    line is a copy. `backchannel` and `polite` are words that say nothing by themselves. `promises` finds what no character can do, and must not say that she will.
    """

    characters: tuple[int, int] = (4, 80)
    script: str = "ja"
    latin: tuple[str, ...] = ()
    echo: tuple[str, ...] = ()
    backchannel: tuple[str, ...] = ()
    polite: tuple[str, ...] = ()
    familiar: float = 0.5
    copy: float = 0.7
    kept: float = 0.3
    promises: Expression | None = None


RULE_MEANINGS: Mapping[str, str] = {
    "characters": "`[least, most]`: the length of a line",
    "script": "`ja`, or another language: which letters a line may have",
    "latin": "Latin words that a line in Japanese may have; names may always",
    "echo": "words that show that a model repeated its prompt",
    "backchannel": "words that say nothing by themselves, as “I see”",
    "polite": "the same for politeness, as “glad to help”",
    "familiar": "the least share of a model's line that the deck's own lines know, from 0 to 1",
    "copy": "from which likeness on a line is a copy of another, from 0 to 1",
    "kept": "the least share that a reworded line keeps, from 0 to 1",
    "promises": "expressions of what no character can do, as to wake somebody up",
}


class Importance(NamedTuple):
    """How important a message is: from `threshold` on, the cloud's strong model is asked.

    `weights` are by signal; the other members define signals, see `Turn.signals`.
    """

    threshold: float
    weights: Mapping[str, float]
    playful: tuple[Expression, ...]
    feelings: frozenset[str]
    long: int

    def of(self, signals: Iterable[str]) -> float:
        """The sum of the signals' weights, at most 1."""
        return min(1.0, sum(self.weights.get(signal, 0.0) for signal in signals))


# Two are never compared; by identity, one can be a key.
@dataclass(frozen=True, eq=False)
class CharacterDeck:
    """A deck of characters, ready for use. Made by `load_character_deck`."""

    id: str
    name: str
    language: str
    characters: tuple[Character, ...]
    intents: tuple[Intent, ...]
    lines: Mapping[str, Mapping[str, Lines]]
    times: tuple[TimeOfDay, ...]
    time_words: tuple[tuple[Expression, frozenset[str]], ...]
    moods: Mapping[str, frozenset[str]]
    greetings: Mapping[str, Expression]
    rules: LineRules
    importance: Importance
    context: Expression | None
    vary: str
    foreseen: tuple[Mapping[str, Any], ...]
    care: Care | None
    talks: Mapping[str, Talk]
    reader: IntentReader
    folder: Path

    kind = "pattern"
    # There are no hands to deal, so that the index counts no coverage.
    coverage = None

    @cached_property
    def character_by_id(self) -> Mapping[str, Character]:
        return {character.id: character for character in self.characters}

    @cached_property
    def intent_by_id(self) -> Mapping[str, Intent]:
        return {intent.id: intent for intent in self.intents}

    def known_character(self, name: str | None) -> Character:
        """The character with this id, the first if it is None. Raises RequestError."""
        if name is None:
            return self.characters[0]
        if name not in self.character_by_id:
            known = ", ".join(self.character_by_id)
            raise RequestError(
                400, "Unknown character", f"deck {self.id!r} has {known}, not {name[:60]!r}"
            )
        return self.character_by_id[name]

    def moment(self, at: datetime.datetime) -> Moment:
        time = next((time.id for time in self.times if time.has(at.hour)), ANY)
        return Moment(time, WEEKDAYS[at.weekday()], SEASONS[at.month % 12 // 3])

    def recognise(self, message: str) -> list[Hit]:
        """The intents of a message, in order of appearance."""
        return self.reader.hits(message)

    def signs(self, message: str) -> frozenset[Sign]:
        """The signs of danger in a message."""
        hits = self.recognise(message)
        found = {hit.intent for hit in hits}
        signs = set(self.care.signs(message)) if self.care else set()
        if any(intent.grave for intent in found):
            signs.add(Sign.GRAVE)
        if doubts := [hit for hit in hits if hit.intent.doubt]:
            # All characters have such lines, or none.
            has_lines = Step.UNEASY in self.lines[self.characters[0].id]
            gentle = has_lines and not any(hit.clear for hit in doubts)
            signs.add(Sign.UNEASY if gentle else Sign.DOUBT)
        if self.care and self.care.low & {intent.id for intent in found}:
            signs.add(Sign.LOW)
        harmless, surely = self.reader.harmless(message)
        if surely:
            signs.discard(Sign.CONTEXT)
        if surely or ((harmless or found) and not signs):
            signs.add(Sign.ELSE)
        return frozenset(signs)

    def mood(self, hits: Iterable[Hit], main: Hit) -> str:
        """The mood that the intents other than the main one show, PLAIN if they show none."""
        others = {hit.intent.id for hit in hits} - {main.intent.id}
        return next((mood for mood, intents in self.moods.items() if intents & others), PLAIN)

    def line_query(self, character: str, intent: str, mood: str, time: str) -> Query:
        """The pattern for which further lines are cooked."""
        return Query.pattern(
            self.id, [("character", character), ("intent", intent), ("mood", mood), ("time", time)]
        )

    def message_query(self, character: Character, message: str) -> Query:
        """The pattern for a learned answer to this message, the same for all spellings."""
        said = spelling(message, character.called)
        return Query.pattern(self.id, [("character", character.id), ("message", said)])

    def stands_alone(self, message: str) -> bool:
        """Whether a message means the same without the messages before it."""
        return self.context is None or not self.context.search(normalise(message))

    def count_patterns(self) -> int:
        """The number of patterns for which lines can be cooked."""
        return (
            len(self.characters) * len(self.intents) * (1 + len(self.moods)) * (1 + len(self.times))
        )

    def all_lines(self) -> Iterator[tuple[Character, str, Line]]:
        """Every vetted line, with its character and the id of its intent."""
        for character in self.characters:
            for intent, lines in self.lines[character.id].items():
                for line in lines:
                    yield character, intent, line


def load_character_deck(folder: Path) -> CharacterDeck:
    """Read and check a deck of characters. Raises DeckError."""
    reader = ExpressionReader(folder, DECK_FILE)
    root = reader.value
    reader.only(root, "", MEMBERS)
    deck_id = reader.deck_id(root)
    times = _load_times(reader, root)
    hours = {time.id for time in times}
    by_example = _without_examples(load_by_example(folder, hours))
    intents = load_intents(folder, by_example.values())
    calls = reader.strings(root.get("calls", []), "calls")
    characters = load_characters(folder, calls)
    names = {intent.id for intent in intents.all}
    rules = _load_rules(reader, root)
    care = load_care(folder, frozenset(names), japanese=rules.script == "ja")
    lines = load_lines(folder, [c.id for c in characters], names, hours, care)
    _add_lines(reader, lines, by_example.values())
    talks = _load_talks(folder, lines, names, hours, by_example)
    return CharacterDeck(
        id=deck_id,
        name=str(root.get("name", deck_id)),
        language=reader.language(root).id,
        characters=characters,
        intents=intents.all,
        lines=lines,
        times=times,
        time_words=_load_time_words(reader, root, hours),
        moods=_load_moods(reader, root, names),
        greetings=_load_greetings(reader, root),
        rules=rules,
        importance=_load_importance(reader, root, names),
        context=reader.optional(root.get("context"), "context"),
        vary=str(root.get("vary", "")),
        foreseen=tuple(reader.items(root.get("foreseen", []), "foreseen")),
        care=care,
        talks=talks,
        reader=_intent_reader(reader, root, folder, intents),
        folder=folder,
    )


def _without_examples(intents: Mapping[str, ByExample]) -> dict[str, ByExample]:
    """The same without the examples, which are for learning: 3 MB that a server does not need."""
    return {name: one._replace(said=(), not_said=()) for name, one in intents.items()}


def _add_lines(
    reader: ExpressionReader, lines: dict[str, Pools], intents: Iterable[ByExample]
) -> None:
    """Add the lines that stand beside intents by example."""
    for intent in intents:
        reader.known(intent.lines, lines, f"{INTENTS_FOLDER} {intent.id}")
        for character, own in intent.lines.items():
            lines[character][intent.id] = own


def _intent_reader(
    reader: ExpressionReader, root: Any, folder: Path, intents: Intents
) -> IntentReader:
    names = {intent.id for intent in intents.all}
    return IntentReader(
        intents,
        reader.given(root, "longest", int, LONGEST),
        load_classifier(folder, CLASSIFIER_FILE, names),
        load_classifier(folder, BY_EXAMPLE_FILE, names),
    )


def _load_talks(
    folder: Path,
    lines: Mapping[str, Pools],
    intents: set[str],
    hours: set[str],
    by_example: Mapping[str, ByExample],
) -> dict[str, Talk]:
    """The conversations of each character; adds the pools of topics, things and nouns to `lines`."""
    hearing = load_hearing(folder, intents)
    known = set.intersection(*({pool.removeprefix(TONE) for pool in own} for own in lines.values()))
    tones = load_classifier(folder, TONES_FILE, known)
    topics = load_topics(folder, lines, hearing.answers.expects if hearing else (), hours)
    things = load_things(folder, lines, hours)
    noun_groups = load_noun_groups(folder, lines, hours)
    if not hearing:
        return {}
    return {
        character: Talk(
            Remembering(hearing, own, things[character], lines[character], by_example),
            tones,
            noun_groups,
        )
        for character, own in topics.items()
    }


def _load_moods(
    reader: ExpressionReader, root: Any, intents: set[str]
) -> dict[str, frozenset[str]]:
    moods = reader.part(root, "moods")
    return {
        mood: reader.known(reader.strings(value, f"moods {mood}"), intents, f"moods {mood}")
        for mood, value in moods.items()
    }


def _load_greetings(reader: ExpressionReader, root: Any) -> dict[str, Expression]:
    return {
        name: reader.expression(str(expression), f"greetings {name}")
        for name, expression in reader.part(root, "greetings").items()
    }


def _load_times(reader: ExpressionReader, root: Any) -> tuple[TimeOfDay, ...]:
    times = []
    for number, raw in enumerate(reader.items(root.get("times", []), "times"), 1):
        place = f"times {number}"
        hours = reader.member(raw, "from", int, place), reader.member(raw, "to", int, place)
        if not all(0 <= hour <= 24 for hour in hours):
            raise reader.fail(place, "hours are from 0 to 24")
        times.append(TimeOfDay(reader.member(raw, "id", str, place), *hours))
    return tuple(times)


def _load_time_words(
    reader: ExpressionReader, root: Any, times: set[str]
) -> tuple[tuple[Expression, frozenset[str]], ...]:
    words = reader.member(root, "time_words", dict, "") if "time_words" in root else {}
    return tuple(
        (
            reader.expression(expression, "time_words"),
            reader.known(reader.strings(allowed, "time_words"), times, "time_words"),
        )
        for expression, allowed in words.items()
    )


def _load_rules(reader: ExpressionReader, root: Any) -> LineRules:
    answer = reader.part(root, "answer")
    reader.only(answer, "answer", LineRules._fields, "rule")
    values: dict[str, Any] = {}
    for name, value in answer.items():
        default = getattr(LineRules(), name)
        if isinstance(default, float):
            values[name] = reader.number(value, f"answer {name}")
        elif isinstance(default, str):
            values[name] = reader.member(answer, name, str, "answer")
        elif name == "promises":
            values[name] = reader.any(reader.strings(value, f"answer {name}"), f"answer {name}")
        elif name == "characters":
            values[name] = reader.range(value, "answer characters")
        else:
            values[name] = reader.strings(value, f"answer {name}")
    return LineRules(**values)


_IMPORTANCE = ("threshold", "weights", "playful", "feelings", "long")


def _load_importance(reader: ExpressionReader, root: Any, intents: set[str]) -> Importance:
    raw = reader.part(root, "importance")
    reader.only(raw, "importance", _IMPORTANCE)
    weights = reader.object(raw.get("weights", {}), "importance weights")
    return Importance(
        threshold=reader.number(raw.get("threshold", 0.7), "importance threshold"),
        weights={
            name: reader.number(weight, f"importance weights {name}")
            for name, weight in weights.items()
        },
        playful=reader.expressions(raw.get("playful", []), "importance playful"),
        feelings=reader.known(
            reader.strings(raw.get("feelings", []), "importance"), intents, "importance"
        ),
        long=reader.whole(raw.get("long", 60), "importance long"),
    )
