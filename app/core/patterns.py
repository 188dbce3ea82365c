"""Decks of patterns: characters, what people say to them, and what they say back.

A deck is a folder whose `deck.json` says `"kind": "pattern"`. Its files:

    deck.json         rules of the gate, times of day, moods, importance, what the phases foresaw
    characters.json   who they are: voice, persona, names, the short words that open an answer
    intents.json      what is said to them: expressions with fragments {{LIKE_THIS}} and shared vetoes
    lines.json        character → intent → vetted lines; the intent `fallback` is for "I did not catch it"
    said.json         optional: what must and must not be recognised, which `precompute check` measures

How a message is read: it is normalised and cut into clauses; each intent's expressions are searched
in each clause, `^` and `$` being the clause's ends. A `not` that matches in the clause vetoes the
intent there, a `not_message` vetoes it in the whole message. Of matches that overlap the longest
wins, then the higher `priority`. An intent is named once.
"""

from __future__ import annotations

import datetime
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from app.core.checked import Checked
from app.core.deck import DECK_FILE, ID_PATTERN, Reader
from app.core.key import Query
from app.core.message import address, clauses, normalise, spelling
from app.errors import RequestError

CHARACTERS_FILE = "characters.json"
INTENTS_FILE = "intents.json"
LINES_FILE = "lines.json"
SAID_FILE = "said.json"
FALLBACK = "fallback"
PLAIN, ANY = "plain", "any"
NAME_SLOT = "{name}"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEASONS = ("winter", "spring", "summer", "autumn")
_FRAGMENT = re.compile(r"\{\{([A-Z_]+)\}\}")
_LAST_FRAGMENTS = re.compile(r"(?:\{\{[A-Z_]+\}\})+$")


class Moment(NamedTuple):
    """What a line can depend on: the deck's time of day, the weekday, the season."""

    time: str
    weekday: str
    season: str


@dataclass(frozen=True, slots=True)
class Line:
    """A vetted line. `when` are the moments it fits (all of them must), empty where it always does."""

    text: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def named(self) -> bool:
        """Whether it calls the user by name."""
        return NAME_SLOT in self.text

    def fits(self, moment: Moment, name: str) -> bool:
        """Whether it can be said now, to somebody of that name (empty: unknown)."""
        if self.named and not name:
            return False
        return all(getattr(moment, what) in allowed for what, allowed in self.when.items())


class Voice(NamedTuple):
    """How a character sounds: one of `endings` must match, none of `forbidden` may."""

    endings: tuple[re.Pattern[str], ...]
    forbidden: tuple[re.Pattern[str], ...]


class Character(NamedTuple):
    """Who answers. `persona` is what a model is told, `leads` open an answer to two things at once."""

    id: str
    name: str
    about: str
    persona: str
    names: tuple[str, ...]
    voice: Voice
    leads: Mapping[str, str]
    called: re.Pattern[str]


class Expressions(NamedTuple):
    """The expressions of an intent that begin with the same fragment, or with none.

    The head is what may come before (はい、もう、ねえ). Compiled into each expression it made loading
    take seconds; so it is matched by itself, once for a clause and a place. `some` is all the rests
    in one, without the fragments that they end with (です、よ、ね), which would be most of it: where
    it does not match, which is nearly always, none of them has to be tried.
    """

    head: str
    rests: tuple[str, ...]
    some: str


class Intent(NamedTuple):
    """What somebody may mean. `weight` says which of several an answer must be about.

    A `grave` one is answered by rules before anything else, never varied by a model, never learned
    over. `must` and `must_not` are for answers that somebody else than the deck's author wrote.
    `example` is a message that shows a small model, with a line, how the character speaks.
    """

    id: str
    name: str
    weight: float
    priority: int
    grave: bool
    expressions: tuple[Expressions, ...]
    vetoes: tuple[str, ...]
    message_vetoes: tuple[str, ...]
    must: re.Pattern[str] | None
    must_not: re.Pattern[str] | None
    example: str


class Hit(NamedTuple):
    """An intent found in a message: offsets into the normalised text."""

    intent: Intent
    start: int
    end: int


class TimeOfDay(NamedTuple):
    """A part of the day by hours; `start` after `end` goes over midnight."""

    id: str
    start: int
    end: int

    def has(self, hour: int) -> bool:
        """Whether an hour from 0 to 23 is in it."""
        if self.start <= self.end:
            return self.start <= hour < self.end
        return hour >= self.start or hour < self.end


class PatternRules(NamedTuple):
    """What a line must look like, whoever wrote it. See `app.core.chat_gate`."""

    characters: tuple[int, int] = (4, 80)
    script: str = "ja"
    latin: tuple[str, ...] = ()
    echo: tuple[str, ...] = ()
    familiar: float = 0.5
    copy: float = 0.7
    kept: float = 0.3


class Importance(NamedTuple):
    """Signals with their weights; what reaches the threshold goes to the strong model."""

    threshold: float
    weights: Mapping[str, float]
    playful: tuple[re.Pattern[str], ...]
    feelings: frozenset[str]
    long: int

    def of(self, signals: Iterable[str]) -> float:
        """The sum of the signals' weights, at most 1."""
        return min(1.0, sum(self.weights.get(signal, 0.0) for signal in signals))


@dataclass(frozen=True)
class PatternDeck:
    """A deck of patterns, ready for use. Made by `load_pattern_deck`."""

    id: str
    name: str
    language: str
    characters: tuple[Character, ...]
    intents: tuple[Intent, ...]
    lines: Mapping[str, Mapping[str, tuple[Line, ...]]]
    times: tuple[TimeOfDay, ...]
    time_words: tuple[tuple[re.Pattern[str], frozenset[str]], ...]
    moods: Mapping[str, frozenset[str]]
    greetings: Mapping[str, re.Pattern[str]]
    rules: PatternRules
    importance: Importance
    context: re.Pattern[str] | None
    longest: int
    vary: str
    foreseen: tuple[Mapping[str, Any], ...]
    folder: Path

    # No coverage is counted for patterns, so that no change of the deck builds its index again.
    shape = "pattern"

    def phrase_ids(self, query: Query) -> None:
        """None: a pattern is no play of cards."""

    @cached_property
    def character_by_id(self) -> Mapping[str, Character]:
        """Characters by id."""
        return {character.id: character for character in self.characters}

    @cached_property
    def intent_by_id(self) -> Mapping[str, Intent]:
        """Intents by id."""
        return {intent.id: intent for intent in self.intents}

    def known_character(self, name: str | None) -> Character:
        """A character by id, the first where none is named. Raises RequestError."""
        if name is None:
            return self.characters[0]
        if name not in self.character_by_id:
            known = ", ".join(self.character_by_id)
            raise RequestError(
                400, "Unknown character", f"deck {self.id!r} has {known}, not {name[:60]!r}"
            )
        return self.character_by_id[name]

    def moment(self, at: datetime.datetime) -> Moment:
        """What a local time is, in the deck's words."""
        time = next((time.id for time in self.times if time.has(at.hour)), ANY)
        return Moment(time, WEEKDAYS[at.weekday()], SEASONS[at.month % 12 // 3])

    def recognise(self, message: str) -> list[Hit]:
        """The intents of a message, in order of appearance."""
        text = normalise(message)
        parts = [_Clause(*part) for part in clauses(text)]
        short = len(text) <= self.longest
        found = [
            hit
            for intent in self.intents
            if short or intent.grave
            for hit in _hits(intent, parts)
            if not any(_compiled(veto).search(text) for veto in intent.message_vetoes)
        ]
        return _once(_apart(found))

    def main(self, hits: Iterable[Hit]) -> Hit | None:
        """The hit that an answer must be about: by weight, then by order."""
        return max(hits, key=lambda hit: (hit.intent.weight, -hit.start), default=None)

    def mood(self, hits: Iterable[Hit], main: Hit) -> str:
        """The mood that the other intents of the message tell."""
        others = {hit.intent.id for hit in hits} - {main.intent.id}
        return next((mood for mood, intents in self.moods.items() if intents & others), PLAIN)

    def line_query(self, character: str, intent: str, mood: str, time: str) -> Query:
        """The pattern that further lines are cooked for."""
        return Query.pattern(
            self.id,
            [("character", character), ("intent", intent), ("mood", mood), ("time", time)],
        )

    def message_query(self, character: Character, message: str) -> Query:
        """The pattern of a message that was answered before, in any spelling."""
        said = spelling(message, character.called)
        return Query.pattern(self.id, [("character", character.id), ("message", said)])

    def stands_alone(self, message: str) -> bool:
        """Whether a message means the same without what was said before it."""
        return self.context is None or not self.context.search(normalise(message))

    def count_patterns(self) -> int:
        """How many patterns there are to cook lines for."""
        return (
            len(self.characters) * len(self.intents) * (1 + len(self.moods)) * (1 + len(self.times))
        )

    def all_lines(self) -> Iterator[tuple[Character, str, Line]]:
        """Every vetted line with whose it is and what it answers."""
        for character in self.characters:
            for intent, lines in self.lines[character.id].items():
                for line in lines:
                    yield character, intent, line


# An intent's expressions, each when it is searched first: compiling all takes longer than all else
# that is done at a start. As many as the decks have; no message makes another.
_compiled = cache(re.compile)


class _Clause:
    """A clause, and where in it each head can end."""

    def __init__(self, start: int, text: str) -> None:
        self.start = start
        self.text = text
        self._ends: dict[tuple[str, int], bool] = {}

    def spans(self, alike: Expressions) -> Iterator[tuple[int, int]]:
        """Where expressions match."""
        if not alike.head:
            if _compiled(alike.some).search(self.text):
                for rest in alike.rests:
                    yield from (found.span() for found in _compiled(rest).finditer(self.text))
            return
        for place in self._places(_compiled(alike.some)):
            if self._is_end(alike.head, place):
                whole = (_compiled(rest).match(self.text, place) for rest in alike.rests)
                yield from ((0, found.end()) for found in whole if found)

    def _places(self, some: re.Pattern[str]) -> Iterator[int]:
        """Where one of the rests may begin."""
        place = 0
        while place <= len(self.text) and (found := some.search(self.text, place)):
            yield found.start()
            place = found.start() + 1

    def _is_end(self, head: str, place: int) -> bool:
        key = head, place
        if key not in self._ends:
            self._ends[key] = _compiled(head).fullmatch(self.text, 0, place) is not None
        return self._ends[key]


def _hits(intent: Intent, parts: Iterable[_Clause]) -> Iterator[Hit]:
    for part in parts:
        spans = (
            (start, end)
            for alike in intent.expressions
            for start, end in part.spans(alike)
            if end > start
        )
        best = max(spans, key=lambda span: (span[1] - span[0], -span[0]), default=None)
        if best and not any(_compiled(veto).search(part.text) for veto in intent.vetoes):
            yield Hit(intent, part.start + best[0], part.start + best[1])


def _apart(hits: list[Hit]) -> list[Hit]:
    """The hits that are left where of two that overlap the longer wins."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.start - h.end, -h.intent.priority, h.start)):
        if all(hit.end <= other.start or hit.start >= other.end for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)


def _once(hits: list[Hit]) -> list[Hit]:
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.intent.id, hit)
    return list(first.values())


def load_pattern_deck(folder: Path, checked: Checked | None = None) -> PatternDeck:
    """Read and check a deck of patterns. Raises DeckError, naming file, place and fault.

    Expressions that were checked before are not compiled before they are searched.
    """
    reader = Reader(folder, DECK_FILE)
    root = reader.value
    deck_id = reader.member(root, "id", str, "")
    if not ID_PATTERN.fullmatch(deck_id):
        raise reader.fail("id", "use 1 to 40 small letters, digits and hyphens")
    times = _load_times(reader, root)
    intents = _load_intents(folder, checked)
    characters = _load_characters(folder, reader, root)
    names = {intent.id for intent in intents}
    return PatternDeck(
        id=deck_id,
        name=str(root.get("name", deck_id)),
        language=str(root.get("language", "ja")),
        characters=characters,
        intents=intents,
        lines=_load_lines(folder, characters, names, {time.id for time in times}),
        times=times,
        time_words=_load_time_words(reader, root, {time.id for time in times}),
        moods={
            mood: _known(reader, reader.strings(value, f"moods {mood}"), names, f"moods {mood}")
            for mood, value in root.get("moods", {}).items()
        },
        greetings={
            name: _compile(reader, str(expression), f"greetings {name}")
            for name, expression in root.get("greetings", {}).items()
        },
        rules=_load_rules(reader, root),
        importance=_load_importance(reader, root, names),
        context=_one(reader, root.get("context"), "context"),
        longest=reader.member(root, "longest", int, "") if "longest" in root else 60,
        vary=str(root.get("vary", "")),
        foreseen=tuple(reader.items(root.get("foreseen", []), "foreseen")),
        folder=folder,
    )


def _known(
    reader: Reader, values: Iterable[str], known: Iterable[str], place: str
) -> frozenset[str]:
    strange = sorted(set(values) - set(known))
    if strange:
        raise reader.fail(place, f"unknown {strange[0]!r}; known: {sorted(known)}")
    return frozenset(values)


def _compile(reader: Reader, expression: str, place: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except re.error as error:
        raise reader.fail(place, f"not an expression: {error}: {expression}") from None


def _all(reader: Reader, value: Any, place: str) -> tuple[re.Pattern[str], ...]:
    return tuple(_compile(reader, text, place) for text in reader.strings(value, place))


def _one(reader: Reader, value: Any, place: str) -> re.Pattern[str] | None:
    return _compile(reader, str(value), place) if value else None


def _load_times(reader: Reader, root: Any) -> tuple[TimeOfDay, ...]:
    times = []
    for number, raw in enumerate(reader.items(root.get("times", []), "times"), 1):
        place = f"times {number}"
        hours = reader.member(raw, "from", int, place), reader.member(raw, "to", int, place)
        if not all(0 <= hour <= 24 for hour in hours):
            raise reader.fail(place, "hours are from 0 to 24")
        times.append(TimeOfDay(reader.member(raw, "id", str, place), *hours))
    return tuple(times)


def _load_time_words(
    reader: Reader, root: Any, times: set[str]
) -> tuple[tuple[re.Pattern[str], frozenset[str]], ...]:
    words = reader.member(root, "time_words", dict, "") if "time_words" in root else {}
    return tuple(
        (
            _compile(reader, expression, "time_words"),
            _known(reader, reader.strings(allowed, "time_words"), times, "time_words"),
        )
        for expression, allowed in words.items()
    )


def _load_rules(reader: Reader, root: Any) -> PatternRules:
    answer = root.get("answer", {})
    known = PatternRules._fields
    values: dict[str, Any] = {}
    for name, value in answer.items():
        if name not in known:
            raise reader.fail("answer", f"unknown rule {name!r}; known: {sorted(known)}")
        default = getattr(PatternRules(), name)
        if isinstance(default, float):
            values[name] = float(value)
        elif isinstance(default, str):
            values[name] = reader.member(answer, name, str, "answer")
        elif name == "characters":
            least, most = reader.items(value, "answer characters")
            values[name] = (int(least), int(most))
        else:
            values[name] = reader.strings(value, f"answer {name}")
    return PatternRules(**values)


def _load_importance(reader: Reader, root: Any, intents: set[str]) -> Importance:
    raw = root.get("importance", {})
    weights = raw.get("weights", {})
    if not all(isinstance(weight, int | float) for weight in weights.values()):
        raise reader.fail("importance weights", "expected signal → number")
    return Importance(
        threshold=float(raw.get("threshold", 0.7)),
        weights=weights,
        playful=_all(reader, raw.get("playful", []), "importance playful"),
        feelings=_known(
            reader, reader.strings(raw.get("feelings", []), "importance"), intents, "importance"
        ),
        long=int(raw.get("long", 60)),
    )


def _load_characters(folder: Path, deck: Reader, root: Any) -> tuple[Character, ...]:
    reader = Reader(folder, CHARACTERS_FILE)
    calls = deck.strings(root.get("calls", []), "calls")
    found: dict[str, Character] = {}
    for number, raw in enumerate(reader.items(reader.value, ""), 1):
        character = _load_character(reader, raw, f"character {number}", calls)
        if character.id in found:
            raise reader.fail(f"character {number}", f"the id {character.id!r} stands twice")
        found[character.id] = character
    if not found:
        raise reader.fail("", "there is no character")
    return tuple(found.values())


def _load_character(reader: Reader, raw: Any, place: str, calls: tuple[str, ...]) -> Character:
    name = reader.member(raw, "name", str, place)
    voice = reader.member(raw, "voice", dict, place)
    names = reader.strings(raw.get("names", [name]), f"{place} names")
    leads = raw.get("leads", {})
    return Character(
        id=reader.member(raw, "id", str, place),
        name=name,
        about=str(raw.get("about", "")),
        persona=reader.member(raw, "persona", str, place),
        names=names,
        voice=Voice(
            _all(reader, voice.get("allowed_endings", []), f"{place} allowed_endings"),
            _all(reader, voice.get("forbidden", []), f"{place} forbidden"),
        ),
        leads={intent: reader.member(leads, intent, str, f"{place} leads") for intent in leads},
        called=address(names, calls),
    )


class _Made(NamedTuple):
    """Where an expression stands. It is joined of `parts`, which must not capture: \\1 would shift."""

    place: str
    parts: tuple[str, ...] = ()


class _Expressions:
    """Expressions with the fragments and vetoes of their file."""

    def __init__(self, reader: Reader, fragments: Mapping[str, str], vetoes: Mapping[str, Any]):
        self._reader = reader
        self._fragments = fragments
        self._vetoes = vetoes
        self._whole: dict[str, str] = {}
        self._made: dict[str, _Made] = {}

    @property
    def digest(self) -> str:
        """Stands for all that was made, and for the Python that may compile it."""
        return xxhash.xxh3_128_hexdigest("\0".join((sys.version, *self._made)).encode())

    def check(self) -> None:
        """Compile all that was made. Raises DeckError."""
        for text, (place, parts) in self._made.items():
            try:
                groups = _compiled(text).groups
            except re.error:
                # Tell which of them it is.
                for part in parts or (text,):
                    _compile(self._reader, part, place)
                raise
            if parts and groups:
                raise self._reader.fail(place, "use groups that do not capture: (?:…)")

    def _make(self, text: str, place: str, parts: tuple[str, ...] = ()) -> str:
        self._made.setdefault(text, _Made(place, parts))
        return text

    def listed(self, value: Any, place: str) -> tuple[str, ...]:
        """A list of expressions; `@name` stands for a shared list of vetoes."""
        found: list[str] = []
        for text in self._reader.strings(value, place):
            if text.startswith("@"):
                if text[1:] not in self._vetoes:
                    raise self._reader.fail(place, f"there are no vetoes {text[1:]!r}")
                found += self.listed(self._vetoes[text[1:]], f"vetoes {text[1:]}")
            else:
                found.append(self._make(self._expand(text, place, 0), place))
        return tuple(found)

    def parted(self, value: Any, place: str) -> tuple[Expressions, ...]:
        """A list of expressions, parted by the fragments that they begin with."""
        by_head: dict[str, list[str]] = {}
        for text in self._reader.strings(value, place):
            head, rest = self._parted(text, place)
            by_head.setdefault(head, []).append(rest)
        return tuple(self._alike(head, rests, place) for head, rests in by_head.items())

    def _parted(self, text: str, place: str) -> tuple[str, str]:
        first = _FRAGMENT.match(text)
        head = self._fragment(first.group(1), place, 0) if first else ""
        if first is None or not head.startswith("^"):
            return "", text
        return head[1:], text[first.end() :]

    def _alike(self, head: str, rests: list[str], place: str) -> Expressions:
        bodies = tuple(self._body(rest, place) for rest in rests)
        return Expressions(
            self._make(head, place),
            tuple(self._expand(rest, place, 0) for rest in rests),
            self._make("|".join(f"(?:{body})" for body in bodies), place, bodies),
        )

    def _body(self, rest: str, place: str) -> str:
        """An expression without the fragments that end it, which are checked by themselves."""
        last = _LAST_FRAGMENTS.search(rest)
        if last is None:
            return self._expand(rest, place, 0)
        ending = self._expand(last.group(), place, 0)
        self._make(ending, place, (ending,))
        return self._expand(rest[: last.start()], place, 0)

    def _expand(self, text: str, place: str, depth: int) -> str:
        return _FRAGMENT.sub(lambda f: f"(?:{self._fragment(f.group(1), place, depth)})", text)

    def _fragment(self, name: str, place: str, depth: int) -> str:
        if name not in self._fragments or depth > 8:
            raise self._reader.fail(place, f"there is no fragment {name}, or it holds itself")
        if name not in self._whole:
            self._whole[name] = self._expand(self._fragments[name], place, depth + 1)
        return self._whole[name]


def _load_intents(folder: Path, checked: Checked | None) -> tuple[Intent, ...]:
    reader = Reader(folder, INTENTS_FILE)
    root = reader.value
    expressions = _Expressions(
        reader, root.get("fragments", {}) if isinstance(root, dict) else {}, root.get("vetoes", {})
    )
    found: dict[str, Intent] = {}
    for number, raw in enumerate(reader.member(root, "intents", list, ""), 1):
        intent = _load_intent(reader, raw, f"intent {number}", expressions)
        if intent.id in found or intent.id == FALLBACK:
            raise reader.fail(f"intent {number}", f"the id {intent.id!r} is taken")
        found[intent.id] = intent
    if not found:
        raise reader.fail("", "there is no intent")
    if checked:
        checked.once(expressions.digest, expressions.check)
    else:
        expressions.check()
    return tuple(found.values())


def _load_intent(reader: Reader, raw: Any, place: str, expressions: _Expressions) -> Intent:
    intent_id = reader.member(raw, "id", str, place)
    place = f"intent {intent_id}"
    return Intent(
        id=intent_id,
        name=str(raw.get("name", intent_id)),
        weight=float(raw.get("weight", 1)),
        priority=int(raw.get("priority", 0)),
        grave=bool(raw.get("grave", False)),
        expressions=expressions.parted(raw.get("expressions", []), place),
        vetoes=expressions.listed(raw.get("not", []), place),
        message_vetoes=expressions.listed(raw.get("not_message", []), place),
        must=_one(reader, raw.get("must"), place),
        must_not=_one(reader, raw.get("must_not"), place),
        example=str(raw.get("example", "")),
    )


def _load_lines(
    folder: Path, characters: Iterable[Character], intents: set[str], times: set[str]
) -> Mapping[str, Mapping[str, tuple[Line, ...]]]:
    reader = Reader(folder, LINES_FILE)
    known = {"time": times, "weekday": set(WEEKDAYS), "season": set(SEASONS)}
    lines: dict[str, dict[str, tuple[Line, ...]]] = {}
    for character in characters:
        own = reader.member(reader.value, character.id, dict, "")
        _known(reader, own, intents | {FALLBACK}, character.id)
        lines[character.id] = {}
        for intent in (*sorted(intents), FALLBACK):
            place = f"{character.id} {intent}"
            raw = reader.member(own, intent, list, character.id)
            lines[character.id][intent] = tuple(_load_line(reader, r, place, known) for r in raw)
            if not any(not line.when and not line.named for line in lines[character.id][intent]):
                raise reader.fail(place, "needs a line that fits always, without a name")
    return lines


def _load_line(reader: Reader, raw: Any, place: str, known: Mapping[str, set[str]]) -> Line:
    when = raw.get("when", {}) if isinstance(raw, dict) else {}
    _known(reader, when, known, f"{place} when")
    fits = {
        what: tuple(sorted(_known(reader, [v] if isinstance(v, str) else v, known[what], place)))
        for what, v in when.items()
    }
    text = unicodedata.normalize("NFC", reader.member(raw, "text", str, place))
    return Line(text, fits)
