"""Decks of patterns: characters, the intents of messages to them, and their lines.

A deck is a folder whose `deck.json` says `"kind": "pattern"`. Its files:

    deck.json         rules of the gate, times of day, moods, importance, planned shares of the tiers
    characters.json   characters: voice, persona, names, short words that open an answer
    intents.json      intents: expressions with fragments {{LIKE_THIS}} and shared vetoes
    lines.json        character → intent → vetted lines; the intent `fallback` is for "I did not catch it"
    care.json         who can be called by somebody in danger; see `app.kinds.chat.care`
    said.json         optional: what must and must not be recognised, which `precompute check` measures

How intents are recognised: a message is normalised and cut into clauses; each intent's expressions
are searched in each clause, where `^` and `$` are the ends of the clause. The leftmost match
counts, and of several that begin there the longest. If a `not` matches in the clause, the intent is
not recognised there; if a `not_message` matches anywhere, the intent is not recognised at all. A
veto `{"text": …, "unless": …}` holds unless the second expression matches too. If matches of
different intents overlap, the longer one counts, then the one with the higher `priority`. An intent
that may be about life and death (`grave`, `doubt`) counts before all others, is searched in long
messages too, and in the whole message besides its clauses: 「もう疲れた、終わりにしたい」 is one thing. Each
intent is given once. Expressions are searched in linear time, see `app.kinds.chat.expressions`.
"""

from __future__ import annotations

import bisect
import datetime
import itertools
import re
import unicodedata
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from app.errors import RequestError
from app.kinds.chat.care import POOLS, Care, Sign, load_care
from app.kinds.chat.expressions import Expression, ExpressionError, Prefilter, any_of, compiled
from app.kinds.chat.hints import Hints, load_hints
from app.kinds.chat.message import Address, address, clauses, joined, normalise, spelling
from app.kinds.reading import DECK_FILE, ID_PATTERN, Reader
from app.store.key import Query

CHARACTERS_FILE = "characters.json"
INTENTS_FILE = "intents.json"
LINES_FILE = "lines.json"
SAID_FILE = "said.json"
FALLBACK = "fallback"
# Clauses in which the same intent is searched for at most: it is given once anyway.
_HITS = 16
# Further matches in a clause that has one already, after which the search continues behind the
# clause: starting it again costs less than so many matches.
_MORE = 8
# The members of a veto with an exception.
_VETO = ("text", "unless")
PLAIN, ANY = "plain", "any"
NAME_SLOT = "{name}"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEASONS = ("winter", "spring", "summer", "autumn")
_FRAGMENT = re.compile(r"\{\{([A-Z_]+)\}\}")


class Moment(NamedTuple):
    """The attributes of a time that lines can depend on: time of day (an id), weekday, season."""

    time: str
    weekday: str
    season: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line. `when` has the allowed values of attributes of `Moment`; empty if it always fits."""

    text: str
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def named(self) -> bool:
        """Whether it contains the user's name."""
        return NAME_SLOT in self.text

    def fits(self, moment: Moment, name: str) -> bool:
        """Whether it can be said at this moment to a user of this name (empty if unknown)."""
        if self.named and not name:
            return False
        return all(getattr(moment, what) in allowed for what, allowed in self.when.items())


class Voice(NamedTuple):
    """A way of speaking: one of `endings` must match a line, none of `forbidden` may."""

    endings: tuple[Expression, ...]
    forbidden: tuple[Expression, ...]


class Character(NamedTuple):
    """A character. `persona` is the system prompt for a model, `called` recognises her names.

    `leads` are short words by intent, which open an answer to a message with several intents.
    """

    id: str
    name: str
    about: str
    persona: str
    names: tuple[str, ...]
    voice: Voice
    leads: Mapping[str, str]
    called: Address


class Vetoes(NamedTuple):
    """What excludes an intent: matches of `any`, and pairs of a veto and its exception."""

    any: Expression | None
    unless: tuple[tuple[Expression, Expression], ...]

    def against(self, text: str) -> bool:
        """Whether a veto holds for a text."""
        if self.any and self.any.search(text):
            return True
        return any(veto.search(text) and not back.search(text) for veto, back in self.unless)


class Intent(NamedTuple):
    """What a user may mean. Of several intents, an answer is about the one with most `weight`.

    If an intent is `grave` (about life and death) or in `doubt` (may be), the rules answer,
    whatever the ladder is; no model does. `must` and `must_not` are for answers that the deck's
    author did not write. `example` is a message that, followed by a line, shows a small model how
    the character speaks.
    """

    id: str
    name: str
    weight: float
    priority: int
    grave: bool
    doubt: bool
    expression: Expression | None
    vetoes: Vetoes
    message_vetoes: Vetoes
    must: Expression | None
    must_not: Expression | None
    example: str

    @property
    def careful(self) -> bool:
        """Whether it may be about life and death, so that only vetted lines answer."""
        return self.grave or self.doubt


class Hit(NamedTuple):
    """An intent found in a message, with offsets into the normalised text."""

    intent: Intent
    start: int
    end: int


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


class PatternRules(NamedTuple):
    """The limits of the gate, see `app.kinds.chat.gate`.

    `characters` is the least and greatest length of a line; `script` is "ja" or another one.
    `latin` are Latin words that are allowed, `echo` words that show that the prompt was repeated.
    Shares from 0 to 1: `familiar` and `kept` are least values, `copy` is the likeness from which a
    line is a copy.
    """

    characters: tuple[int, int] = (4, 80)
    script: str = "ja"
    latin: tuple[str, ...] = ()
    echo: tuple[str, ...] = ()
    familiar: float = 0.5
    copy: float = 0.7
    kept: float = 0.3


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
    time_words: tuple[tuple[Expression, frozenset[str]], ...]
    moods: Mapping[str, frozenset[str]]
    greetings: Mapping[str, Expression]
    rules: PatternRules
    importance: Importance
    context: Expression | None
    longest: int
    vary: str
    foreseen: tuple[Mapping[str, Any], ...]
    care: Care | None
    hints: Hints | None
    folder: Path
    _searched: list[Intent] = field(init=False)
    _prefilter: Prefilter = field(init=False)

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
        text = normalise(message)
        said = _Clauses(text)
        short = len(text) <= self.longest
        found = [
            hit
            for intent in said.possible(self._searched, self._prefilter)
            if short or intent.careful
            for hit in said.hits(intent)
            if not intent.message_vetoes.against(text)
        ]
        return _once(_apart(found))

    def signs(self, message: str) -> frozenset[Sign]:
        """The signs of danger in a message."""
        found = {hit.intent for hit in self.recognise(message)}
        signs = set(self.care.signs(message)) if self.care else set()
        if any(intent.grave for intent in found):
            signs.add(Sign.GRAVE)
        if any(intent.doubt for intent in found) or (
            not signs & {Sign.GRAVE} and self._hinted(message)
        ):
            signs.add(Sign.DOUBT)
        if self.care and self.care.low & {intent.id for intent in found}:
            signs.add(Sign.LOW)
        return frozenset(signs)

    def _hinted(self, message: str) -> bool:
        if not self.hints or not self.hints.found(message):
            return False
        text = joined(normalise(message))
        doubts = [intent for intent in self.intents if intent.doubt]
        return not any(
            vetoes.against(text)
            for intent in doubts
            for vetoes in (intent.vetoes, intent.message_vetoes)
        )

    def __post_init__(self) -> None:
        searched = [(intent, intent.expression) for intent in self.intents if intent.expression]
        object.__setattr__(self, "_searched", [intent for intent, _ in searched])
        object.__setattr__(self, "_prefilter", Prefilter([found for _, found in searched]))

    def main(self, hits: Iterable[Hit]) -> Hit | None:
        """The hit that an answer must be about: the first of those with most weight."""
        return max(hits, key=lambda hit: (hit.intent.weight, -hit.start), default=None)

    def mood(self, hits: Iterable[Hit], main: Hit) -> str:
        """The mood that the intents other than the main one show, PLAIN if they show none."""
        others = {hit.intent.id for hit in hits} - {main.intent.id}
        return next((mood for mood, intents in self.moods.items() if intents & others), PLAIN)

    def line_query(self, character: str, intent: str, mood: str, time: str) -> Query:
        """The pattern for which further lines are cooked."""
        return Query.pattern(
            self.id,
            [("character", character), ("intent", intent), ("mood", mood), ("time", time)],
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


class _Clauses:
    """The distinct clauses of a normalised message, joined to be searched at once."""

    def __init__(self, text: str) -> None:
        places: dict[str, int] = {}
        for place, clause in clauses(text):
            places.setdefault(clause, place)
        self._whole = joined(text)
        self._places = list(places.values())
        self._clauses = list(places)
        self._lines = "\n".join(self._clauses)
        lengths = (len(clause) + 1 for clause in self._clauses)
        self._starts = [0, *itertools.accumulate(lengths)]

    def possible(self, intents: Sequence[Intent], prefilter: Prefilter) -> list[Intent]:
        """The intents that may match, in order; `prefilter` has the expressions of `intents`."""
        found = prefilter.possible(f"{self._lines}\n{self._whole}")
        return [intents[number] for number in sorted(found)]

    def hits(self, intent: Intent) -> Iterator[Hit]:
        """The hits of an intent, one for each clause, at most `_HITS`."""
        found = self._found(intent) if intent.expression else ()
        hits = itertools.islice(found, _HITS)
        return itertools.chain(hits, self._found_whole(intent)) if intent.careful else hits

    def _found_whole(self, intent: Intent) -> Iterator[Hit]:
        match = intent.expression.search(self._whole) if intent.expression else None
        if match and not intent.vetoes.against(self._whole):
            yield Hit(intent, *match.span())

    def _found(self, intent: Intent) -> Iterator[Hit]:
        first = 0
        while first < len(self._clauses):
            first = yield from self._found_from(intent, first)

    def _found_from(self, intent: Intent, first: int) -> Generator[Hit, None, int]:
        """The hits from clause `first` on; returns the clause at which to search on."""
        assert intent.expression
        offset, before, more = self._starts[first], -1, 0
        for match in intent.expression.finditer(self._lines[offset:]):
            start, end = (offset + place for place in match.span())
            number = bisect.bisect_right(self._starts, start) - 1
            if start == end or number == len(self._clauses):
                continue
            if number == before:
                more += 1
                if more > _MORE:
                    return number + 1
                continue
            before, more = number, 0
            if not intent.vetoes.against(self._clauses[number]):
                place = self._places[number] - self._starts[number]
                yield Hit(intent, place + start, place + end)
        return len(self._clauses)


def _apart(hits: list[Hit]) -> list[Hit]:
    """The hits without overlaps: of two, the graver counts, then the longer, then priority."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=_rank):
        if all(hit.end <= other.start or hit.start >= other.end for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda hit: hit.start)


def _rank(hit: Hit) -> tuple[bool, bool, int, int, int]:
    intent = hit.intent
    length = hit.end - hit.start
    return not intent.grave, not intent.careful, -length, -intent.priority, hit.start


def _once(hits: list[Hit]) -> list[Hit]:
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.intent.id, hit)
    return list(first.values())


def load_pattern_deck(folder: Path) -> PatternDeck:
    """Read and check a deck of patterns. Raises DeckError."""
    reader = Reader(folder, DECK_FILE)
    root = reader.value
    deck_id = reader.member(root, "id", str, "")
    if not ID_PATTERN.fullmatch(deck_id):
        raise reader.fail("id", "use 1 to 40 small letters, digits and hyphens")
    times = _load_times(reader, root)
    intents = _load_intents(folder)
    characters = _load_characters(folder, reader, root)
    names = {intent.id for intent in intents}
    rules = _load_rules(reader, root)
    care = load_care(folder, frozenset(names), japanese=rules.script == "ja")
    lines = _load_lines(folder, characters, names, {time.id for time in times}, care)
    return PatternDeck(
        id=deck_id,
        name=str(root.get("name", deck_id)),
        language=str(root.get("language", "ja")),
        characters=characters,
        intents=intents,
        lines=lines,
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
        rules=rules,
        importance=_load_importance(reader, root, names),
        context=_one(reader, root.get("context"), "context"),
        longest=reader.member(root, "longest", int, "") if "longest" in root else 60,
        vary=str(root.get("vary", "")),
        foreseen=tuple(reader.items(root.get("foreseen", []), "foreseen")),
        care=care,
        hints=load_hints(folder),
        folder=folder,
    )


def _known(
    reader: Reader, values: Iterable[str], known: Iterable[str], place: str
) -> frozenset[str]:
    strange = sorted(set(values) - set(known))
    if strange:
        raise reader.fail(place, f"unknown {strange[0]!r}; known: {sorted(known)}")
    return frozenset(values)


def _compile(reader: Reader, expression: str, place: str) -> Expression:
    try:
        return compiled(expression)
    except ExpressionError as error:
        raise reader.fail(place, f"{error}: {expression[:200]}") from None


def _all(reader: Reader, value: Any, place: str) -> tuple[Expression, ...]:
    return tuple(_compile(reader, text, place) for text in reader.strings(value, place))


def _one(reader: Reader, value: Any, place: str) -> Expression | None:
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
) -> tuple[tuple[Expression, frozenset[str]], ...]:
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


class _Expressions:
    """Compiles expressions with the fragments and shared vetoes of their file."""

    def __init__(self, reader: Reader, fragments: Mapping[str, str], vetoes: Mapping[str, Any]):
        self._reader = reader
        self._fragments = fragments
        self._shared = vetoes
        self._whole: dict[str, str] = {}

    def any(self, value: Any, place: str) -> Expression | None:
        """A list of expressions as one, which finds the longest match."""
        by_head: dict[str, list[str]] = {}
        for text in self._reader.strings(value, place):
            first = _FRAGMENT.match(text)
            head = first.group() if first else ""
            by_head.setdefault(head, []).append(text[len(head) :])
        # Expressions that begin with the same fragment share it: it can be most of the automaton.
        joined = [f"{head}(?:{'|'.join(rests)})" for head, rests in by_head.items()]
        return self._any([self._expand(text, place, 0) for text in joined], place, by_line=True)

    def vetoes(self, value: Any, place: str) -> Vetoes:
        """Compile a list of vetoes, where `@name` stands for a shared list."""
        plain: list[str] = []
        unless: list[tuple[Expression, Expression]] = []
        for veto in self._listed(value, place):
            if isinstance(veto, str):
                plain.append(self._expand(veto, place, 0))
            else:
                text, back = (self._reader.member(veto, name, str, place) for name in _VETO)
                unless.append(
                    (
                        _compile(self._reader, self._expand(text, place, 0), place),
                        _compile(self._reader, self._expand(back, place, 0), place),
                    )
                )
        return Vetoes(self._any(plain, place), tuple(unless))

    def _any(self, whole: list[str], place: str, *, by_line: bool = False) -> Expression | None:
        try:
            return any_of(whole, by_line=by_line)
        except ExpressionError as error:
            for expression in whole:
                # Compiled one by one, so that the error names the faulty one.
                _compile(self._reader, expression, place)
            raise self._reader.fail(place, str(error)) from None

    def _listed(self, value: Any, place: str) -> Iterator[Any]:
        if not isinstance(value, list):
            raise self._reader.fail(place, "expected a list")
        for veto in value:
            if isinstance(veto, str) and veto.startswith("@"):
                if veto[1:] not in self._shared:
                    raise self._reader.fail(place, f"there are no vetoes {veto[1:]!r}")
                yield from self._listed(self._shared[veto[1:]], f"vetoes {veto[1:]}")
            else:
                yield veto

    def _expand(self, text: str, place: str, depth: int) -> str:
        return _FRAGMENT.sub(lambda f: f"(?:{self._fragment(f.group(1), place, depth)})", text)

    def _fragment(self, name: str, place: str, depth: int) -> str:
        if name not in self._fragments or depth > 8:
            raise self._reader.fail(place, f"there is no fragment {name}, or it holds itself")
        if name not in self._whole:
            self._whole[name] = self._expand(self._fragments[name], place, depth + 1)
        return self._whole[name]


def _load_intents(folder: Path) -> tuple[Intent, ...]:
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
        doubt=bool(raw.get("doubt", False)),
        expression=expressions.any(raw.get("expressions", []), place),
        vetoes=expressions.vetoes(raw.get("not", []), place),
        message_vetoes=expressions.vetoes(raw.get("not_message", []), place),
        must=_one(reader, raw.get("must"), place),
        must_not=_one(reader, raw.get("must_not"), place),
        example=str(raw.get("example", "")),
    )


def _load_lines(
    folder: Path,
    characters: Iterable[Character],
    intents: set[str],
    times: set[str],
    care: Care | None,
) -> Mapping[str, Mapping[str, tuple[Line, ...]]]:
    reader = Reader(folder, LINES_FILE)
    known = {"time": times, "weekday": set(WEEKDAYS), "season": set(SEASONS)}
    pools = (*sorted(intents), FALLBACK, *(POOLS if care else ()))
    lines: dict[str, dict[str, tuple[Line, ...]]] = {}
    for character in characters:
        own = reader.member(reader.value, character.id, dict, "")
        _known(reader, own, pools, character.id)
        lines[character.id] = {}
        for intent in pools:
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
