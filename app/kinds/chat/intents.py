"""The intents of a deck, and how they are recognised in a message.

A message is normalised and cut into clauses; each intent's expressions are searched in each clause,
where `^` and `$` are the ends of the clause. The leftmost match counts, and of several that begin
there the longest. If a `not` matches in the clause, the intent is not recognised there; if a
`not_message` matches anywhere, the intent is not recognised at all. A veto `{"text": …, "unless":
…}` holds unless the second expression matches too. If matches of different intents overlap, the
longer one counts, then the one with the higher `priority`. An intent that may be about life and
death (`grave`, `doubt`) counts before all others, is searched in long messages too, and in the
whole message besides its clauses: 「もう疲れた、終わりにしたい」 is one thing. Each intent is given once.
Expressions are searched in linear time, see `app.kinds.chat.expressions`.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.expressions import Expression, ExpressionError, Prefilter, any_of
from app.kinds.chat.files import PatternReader
from app.kinds.chat.message import clauses, joined, normalise

INTENTS_FILE = "intents.json"
# Clauses in which the same intent is searched for at most: it is given once anyway.
_HITS = 16
# Further matches in a clause that has one already, after which the search continues behind the
# clause: starting it again costs less than so many matches.
_MORE = 8
# The members of a veto with an exception.
_VETO = ("text", "unless")
_FRAGMENT = re.compile(r"\{\{([A-Z_]+)\}\}")


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


class IntentReader:
    """Finds a deck's intents in messages of at most `longest` characters; the careful ones in all."""

    def __init__(self, intents: Sequence[Intent], longest: int) -> None:
        searched = [(intent, intent.expression) for intent in intents if intent.expression]
        self._searched = [intent for intent, _ in searched]
        self._prefilter = Prefilter([expression for _, expression in searched])
        self._longest = longest

    def hits(self, message: str) -> list[Hit]:
        """The intents of a message, in order of appearance."""
        text = normalise(message)
        said = _Clauses(text)
        short = len(text) <= self._longest
        found = [
            hit
            for intent in said.possible(self._searched, self._prefilter)
            if short or intent.careful
            for hit in said.hits(intent)
            if not intent.message_vetoes.against(text)
        ]
        return _once(_apart(found))


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


class _Expressions:
    """Compiles expressions with the fragments and shared vetoes of their file."""

    def __init__(
        self, reader: PatternReader, fragments: Mapping[str, str], vetoes: Mapping[str, Any]
    ):
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
                        self._reader.expression(self._expand(text, place, 0), place),
                        self._reader.expression(self._expand(back, place, 0), place),
                    )
                )
        return Vetoes(self._any(plain, place), tuple(unless))

    def _any(self, whole: list[str], place: str, *, by_line: bool = False) -> Expression | None:
        try:
            return any_of(whole, by_line=by_line)
        except ExpressionError as error:
            for expression in whole:
                # Compiled one by one, so that the error names the faulty one.
                self._reader.expression(expression, place)
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


def load_intents(folder: Path) -> tuple[Intent, ...]:
    """Read and check a deck's `intents.json`. Raises DeckError."""
    reader = PatternReader(folder, INTENTS_FILE)
    root = reader.value
    expressions = _Expressions(
        reader, root.get("fragments", {}) if isinstance(root, dict) else {}, root.get("vetoes", {})
    )
    found: dict[str, Intent] = {}
    for number, raw in enumerate(reader.member(root, "intents", list, ""), 1):
        intent = _load_intent(reader, raw, f"intent {number}", expressions)
        if intent.id in found:
            raise reader.fail(f"intent {number}", f"the id {intent.id!r} is taken")
        found[intent.id] = intent
    if not found:
        raise reader.fail("", "there is no intent")
    return tuple(found.values())


def _load_intent(reader: PatternReader, raw: Any, place: str, expressions: _Expressions) -> Intent:
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
        must=reader.optional(raw.get("must"), place),
        must_not=reader.optional(raw.get("must_not"), place),
        example=str(raw.get("example", "")),
    )
