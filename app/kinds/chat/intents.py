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

Content decides. `asides` says what a message can have besides it: interjections, backchannels,
laughter. They are taken off a clause before it is searched, and an intent that is an `aside` (うん, え,
ごめん, www) is recognised only if the message says nothing else. The careful intents are searched in
the message as it stands.

Then the content is read by a classifier, see `app.kinds.chat.classifier`, and by another one that
knows the intents by example, which are narrower. What expressions found gives way to them only if
the content contradicts it.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Container, Generator, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.by_example import INTENTS_FOLDER, ByExample
from app.kinds.chat.classifier import Classifier
from app.kinds.chat.expressions import Expression, ExpressionError, Prefilter, compiled
from app.kinds.chat.files import PatternReader
from app.kinds.chat.message import PARTING, Asides, asides, clauses, in_hiragana, joined, normalise

INTENTS_FILE = "intents.json"
# Clauses in which the same intent is searched for at most: it is given once anyway.
_HITS = 16
# Further matches in a clause that has one already, after which the search continues behind the
# clause: starting it again costs less than so many matches.
_MORE = 8
# Characters of the longest message that is read as small talk, unless the deck says otherwise.
LONGEST = 60
# Longer messages are stories, which the classifier has not seen; expressions read them.
_LONGEST_LEARNED = 80
# What is longer says more than one thing, of which a narrow intent is a part at most.
_LONGEST_NARROW = 40
# Characters of a message that means something only after others (ひとり, もういいや).
_FEW_WORDS = 8
# How much surer the classifier must be that something grave is harmless than that a doubtful thing is.
_SURER = 1.5
# The members of `intents.json` and of an intent, with what they mean.
FILE_MEMBERS: Mapping[str, str] = {
    "intents": "the intents, see below",
    "fragments": "names → parts of expressions, written `{{NAME}}` in others",
    "vetoes": "names → lists of vetoes, written `@name` in others",
    "asides": "`head`, `tail` and `before`: what may stand around the content of a message",
}
MEMBERS: Mapping[str, str] = {
    "id": "its name in `lines.json`",
    "name": "a name for people and models",
    "expressions": "RE2 expressions, of which one must be found in a clause of the message",
    "not": "vetoes: expressions that must not be found in the same clause",
    "not_message": "vetoes that must not be found anywhere in the message",
    "weight": "the answer is about the intent with most weight; 1 if it is missing",
    "priority": "of two that overlap and are as long, the one with the higher; 0 if it is missing",
    "aside": "`true`: counts only if the message says nothing else",
    "grave": "`true`: about life and death; only vetted lines answer",
    "doubt": "`true`: may be about life and death; the character asks",
    "cue": "of a doubt: words without which the classifier alone asks only if it is certain",
    "must": "an expression that a model's answer must match",
    "must_not": "an expression that a model's answer must not match",
    "example": "a message that shows a small model how the character answers",
}
# The share of the content that an expression must have matched to be all that was said.
_MOST = 0.75
# An intent of more weight (an emergency, the user's birthday) never gives way to one by example.
_FIRM = 5.0
# From this weight on an intent is about a danger of another kind, and has lines for it.
_URGENT = 7.0
# The weight of an intent by example: as much as most of those that tell something.
_BY_EXAMPLE_WEIGHT = 3.0
# The members of a veto with an exception.
_VETO = ("text", "unless")
# An escaped sign, a class, a group without another in it.
_GROUP = re.compile(r"\\.|\[\^?\]?(?:[^]\\]|\\.)*\]|\([^()]*\)")
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
    the character speaks. An `aside` counts only if the message has no other content. Without a match of
    the doubt's `cue`, the classifier alone is a reason to ask only if it is certain. A `narrow` intent is one by example; if it `acts`, no
    tone of the message takes its place. If the lines of an intent only decline (`declines`), a model
    that is asked before the last tier may do better.
    """

    id: str
    name: str
    weight: float
    priority: int
    grave: bool
    doubt: bool
    aside: bool
    expression: Expression | None
    vetoes: Vetoes
    message_vetoes: Vetoes
    must: Expression | None
    must_not: Expression | None
    example: str
    cue: Expression | None = None
    narrow: bool = False
    declines: bool = False
    acts: bool = False

    @property
    def careful(self) -> bool:
        """Whether it may be about life and death, so that only vetted lines answer."""
        return self.grave or self.doubt


class Intents(NamedTuple):
    """What `intents.json` has; `asides` is None if it names none.

    The `prefilter` has the expressions of those that have one, in their order.
    """

    all: tuple[Intent, ...]
    asides: Asides | None
    prefilter: Prefilter


class Hit(NamedTuple):
    """An intent found in a message, with offsets into the normalised text.

    `learned` is whether the classifier found it, not an expression; `clear` is whether it is sure enough
    not to give way to the tone of the message, or, of danger, to be asked about plainly.
    """

    intent: Intent
    start: int
    end: int
    learned: bool = False
    clear: bool = True


def main_hit(hits: Iterable[Hit]) -> Hit | None:
    """The hit that an answer must be about: the first of those with most weight."""
    return max(hits, key=lambda hit: (hit.intent.weight, -hit.start), default=None)


class IntentReader:
    """Finds a deck's intents in messages of at most `longest` characters; the careful ones in all."""

    def __init__(
        self,
        intents: Intents,
        longest: int,
        classifier: Classifier | None,
        by_example: Classifier | None = None,
    ) -> None:
        self._searched = [intent for intent in intents.all if intent.expression]
        self._prefilter = intents.prefilter
        self._by_id = {intent.id: intent for intent in intents.all if not intent.careful}
        self._narrow = {intent.id for intent in intents.all if intent.narrow}
        self._doubt = next((intent for intent in intents.all if intent.doubt), None)
        self._asides = intents.asides
        self.classifier = classifier
        self.by_example = by_example
        self._longest = longest
        # Several steps of an answer ask for the intents of the same message.
        self._cached = lru_cache(maxsize=16)(self._hits)

    def hits(self, message: str) -> list[Hit]:
        """The intents of a message, in order of appearance."""
        return list(self._cached(message))

    def _hits(self, message: str) -> list[Hit]:
        text = normalise(message)
        said = _Clauses(text, clauses(text))
        possible = self._possible(said.searchable)
        found = _hits(said, (intent for intent in possible if intent.careful))
        content = None
        if len(text) <= self._longest:
            beside = _hits(said, (intent for intent in possible if intent.aside))
            content = said.content(self._asides, beside)
            if content:
                possible = self._possible(content.lines)
            about = (intent for intent in possible if not (intent.careful or intent.aside))
            found += _hits(content, about) if content else [*beside, *_hits(said, about)]
        kept = _once(_apart([h for h in found if not h.intent.message_vetoes.against(text)]))
        if self.classifier and self._doubt and len(text) <= _LONGEST_LEARNED:
            kept = _once(self._weighed(kept, joined(text), self.classifier, self._doubt))
        if content is None:
            return kept
        if self.classifier:
            kept = self._with_guess(self.classifier, self._by_id, kept, content)
        if self.by_example and len(text) <= _LONGEST_NARROW and not _settled(kept, content):
            kept = self._with_guess(self.by_example, self._narrow, kept, content)
        return kept

    def harmless(self, message: str) -> tuple[bool, bool]:
        """Whether the classifier finds no danger in a message of more than some words, and is sure of that."""
        text = joined(normalise(message))
        if not self.classifier or not _FEW_WORDS < len(text) <= _LONGEST_LEARNED:
            return False, False
        score = self.classifier.danger_of(text)
        return score < self.classifier.danger, score < self.classifier.harmless

    def _weighed(
        self, hits: list[Hit], text: str, classifier: Classifier, doubt: Intent
    ) -> list[Hit]:
        """The hits, after the classifier has judged how dangerous the message is.

        She only asks where expressions find something grave that the classifier does not think
        dangerous, or where it alone finds danger: if it is certain, or if there is a cue and no veto
        holds. Where it is not sure, a danger of another kind counts more. What it is sure to be harmless
        is dropped. A doubt of expressions that it does not share is not clear.
        """
        score = classifier.danger_of(text)
        if not any(hit.intent.careful for hit in hits):
            clear = score >= classifier.plainly
            if not clear and any(hit.intent.weight >= _URGENT for hit in hits):
                return hits
            asks = score > classifier.certain or (
                score > classifier.danger
                and not (doubt.cue and not doubt.cue.search(text))
                and not _vetoed(doubt, text)
            )
            return [Hit(doubt, 0, len(text), learned=True, clear=clear), *hits] if asks else hits
        grave = any(hit.intent.grave for hit in hits)
        if score < classifier.harmless - (_SURER if grave else 0):
            return [hit for hit in hits if not hit.intent.careful]
        if score < classifier.grave:
            hits = [h._replace(intent=doubt) if h.intent.grave else h for h in hits]
        unsure = score < classifier.grave and len(text) > _FEW_WORDS
        return [h._replace(clear=False) if h.intent.doubt else h for h in hits] if unsure else hits

    def _with_guess(
        self,
        classifier: Classifier,
        known: Container[str | None],
        hits: list[Hit],
        content: _Clauses,
    ) -> list[Hit]:
        """The hits, and which of the `known` intents a classifier is sure of.

        An intent that the content contradicts is replaced, but never a careful one. The main intent
        gives way more easily if another classifier found it than if expressions did.
        """
        main = main_hit(hits)
        if main and main.intent.careful:
            return hits
        found = main.intent.id if main and not main.learned else None
        name, clear = classifier.best(content.lines.replace("\n", "、"), found) or (None, False)
        if name is None or name not in known or any(hit.intent.id == name for hit in hits):
            return hits
        intent = self._by_id[name]
        guess = Hit(intent, *content.span, learned=True, clear=clear or intent.acts)
        return _once([*(hit for hit in hits if hit is not main), guess])

    def _possible(self, lines: str) -> list[Intent]:
        return [self._searched[number] for number in sorted(self._prefilter.possible(lines))]


def _settled(hits: list[Hit], content: _Clauses) -> bool:
    """Whether no narrower intent is looked for: the main one is urgent, or says most of a brief content."""
    main = main_hit(hits)
    if main and main.intent.weight > _FIRM:
        return True
    start, end = content.span
    if end - start > _FEW_WORDS:
        return False
    return main is not None and not main.learned and main.end - main.start >= _MOST * (end - start)


def _vetoed(intent: Intent, text: str) -> bool:
    return intent.vetoes.against(text) or intent.message_vetoes.against(text)


def _hits(said: _Clauses, intents: Iterable[Intent]) -> list[Hit]:
    return [hit for intent in intents for hit in said.hits(intent)]


class _Clauses:
    """The distinct clauses of a normalised message with their offsets, joined to be searched at once."""

    def __init__(self, text: str, parts: Iterable[tuple[int, str]]) -> None:
        places: dict[str, int] = {}
        for place, clause in parts:
            places.setdefault(clause, place)
        self._text = text
        self._whole = joined(text)
        self._folded = in_hiragana(self._whole)
        self._places = list(places.values())
        self._clauses = list(places)
        self.lines = "\n".join(self._clauses)
        lengths = (len(clause) + 1 for clause in self._clauses)
        self._starts = [0, *itertools.accumulate(lengths)]

    @property
    def span(self) -> tuple[int, int]:
        """The offsets of the beginning of the first clause and the end of the last."""
        return self._places[0], self._places[-1] + len(self._clauses[-1])

    @property
    def searchable(self) -> str:
        """The clauses and the whole message, for the prefilter."""
        folded = "" if self._folded == self._whole else self._folded
        return f"{self.lines}\n{self._whole}\n{folded}"

    def content(self, known: Asides | None, beside: Iterable[Hit]) -> _Clauses | None:
        """What the message says besides asides; None if nothing.

        A clause that a hit of an aside covers is no content.
        """
        covered: dict[int, int] = {}
        for hit in beside:
            covered[hit.start] = max(hit.end, covered.get(hit.start, 0))
        if covered.get(0, 0) >= len(self._whole.rstrip(PARTING)):
            return None
        parts = []
        for place, clause in zip(self._places, self._clauses, strict=True):
            letters = len(clause.rstrip(PARTING))
            if covered.get(place, 0) - place < letters:
                skipped, rest = known.content(clause) if known else (0, clause)
                parts.append((place + skipped, rest))
        content = [(place, rest) for place, rest in parts if rest]
        return _Clauses(self._text, content) if content else None

    def hits(self, intent: Intent) -> Iterator[Hit]:
        """The hits of an intent, one for each clause, at most `_HITS`."""
        found = self._found(intent) if intent.expression else ()
        hits = itertools.islice(found, _HITS)
        whole = intent.careful or intent.aside
        return itertools.chain(hits, self._found_whole(intent)) if whole else hits

    def _found_whole(self, intent: Intent) -> Iterator[Hit]:
        # Danger is read in katakana (ｷｴﾀｲ) too.
        for text in {self._whole, self._folded} if intent.careful else {self._whole}:
            match = intent.expression.search(text) if intent.expression else None
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
        for match in intent.expression.finditer(self.lines[offset:]):
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


def _has_branches(expression: str) -> bool:
    """Whether an expression has alternatives outside of its groups."""
    inside = ""
    while inside != expression:
        inside, expression = expression, _GROUP.sub("", expression)
    return "|" in expression


class _Expressions:
    """Compiles expressions with the fragments and shared vetoes of their file."""

    def __init__(
        self, reader: PatternReader, fragments: Mapping[str, str], vetoes: Mapping[str, Any]
    ):
        self.prefilter = Prefilter()
        self._reader = reader
        self._fragments = fragments
        self._shared = vetoes
        self._whole: dict[str, str] = {}

    def filtered(self, value: Any, place: str) -> Expression | None:
        """A list of expressions as one, which finds the longest match; it is in the prefilter."""
        return self._reader.any(self._by_head(value, place), place, self.prefilter.add)

    def any(self, value: Any, place: str) -> Expression | None:
        """The same, without the prefilter."""
        compile_one = functools.partial(compiled, by_line=True)
        return self._reader.any(self._by_head(value, place), place, compile_one)

    def _by_head(self, value: Any, place: str) -> list[str]:
        by_head: dict[str, list[str]] = {}
        for text in self._reader.strings(value, place):
            first = _FRAGMENT.match(text)
            # Of `{{HEAD}}a|b`, b stands alone.
            head = first.group() if first and not _has_branches(text) else ""
            by_head.setdefault(head, []).append(text[len(head) :])
        # Expressions that begin with the same fragment share it: it can be most of the automaton.
        joined = [f"{head}(?:{'|'.join(rests)})" for head, rests in by_head.items()]
        return [self.expanded(text, place) for text in joined]

    def expanded(self, text: str, place: str = "asides") -> str:
        """An expression with its fragments filled in."""
        return self._expand(text, place, 0)

    def vetoes(self, value: Any, place: str) -> Vetoes:
        """Compile a list of vetoes, where `@name` stands for a shared list."""
        plain: list[str] = []
        unless: list[tuple[Expression, Expression]] = []
        for veto in self._listed(value, place):
            if isinstance(veto, str):
                plain.append(self.expanded(veto, place))
            else:
                text, back = (self._reader.member(veto, name, str, place) for name in _VETO)
                unless.append(
                    (
                        self._reader.expression(self.expanded(text, place), place),
                        self._reader.expression(self.expanded(back, place), place),
                    )
                )
        return Vetoes(self._reader.any(plain, place), tuple(unless))

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


def load_intents(folder: Path, by_example: Iterable[ByExample] = ()) -> Intents:
    """Read and check a deck's `intents.json`, and add those by example. Raises DeckError."""
    reader = PatternReader(folder, INTENTS_FILE)
    root = reader.value
    reader.only(root, "", FILE_MEMBERS)
    expressions = _Expressions(reader, root.get("fragments", {}), root.get("vetoes", {}))
    found: dict[str, Intent] = {}
    for number, raw in enumerate(reader.member(root, "intents", list, ""), 1):
        intent = _load_intent(reader, raw, f"intent {number}", expressions)
        if intent.id in found:
            raise reader.fail(f"intent {number}", f"the id {intent.id!r} is taken")
        found[intent.id] = intent
    for one in by_example:
        if one.id in found:
            raise reader.fail(f"intent {one.id}", f"stands in {INTENTS_FOLDER} too")
        found[one.id] = _bare(one)
    if not found:
        raise reader.fail("", "there is no intent")
    expressions.prefilter.finish()
    asides_found = _load_asides(reader, root.get("asides"), expressions)
    return Intents(tuple(found.values()), asides_found, expressions.prefilter)


def _bare(one: ByExample) -> Intent:
    none = Vetoes(None, ())
    return Intent(
        id=one.id,
        name=one.name,
        weight=_BY_EXAMPLE_WEIGHT,
        priority=0,
        grave=False,
        doubt=False,
        aside=False,
        expression=None,
        vetoes=none,
        message_vetoes=none,
        must=None,
        must_not=None,
        example="",
        narrow=True,
        declines=one.declines,
        acts=one.acts,
    )


def _load_asides(reader: PatternReader, raw: Any, expressions: _Expressions) -> Asides | None:
    if raw is None:
        return None
    head, tail, before = (
        reader.strings(reader.member(raw, name, list, "asides"), f"asides {name}")
        for name in ("head", "tail", "before")
    )
    try:
        return asides(map(expressions.expanded, head), tail, before)
    except ExpressionError as error:
        raise reader.fail("asides", str(error)) from None


def _load_intent(reader: PatternReader, raw: Any, place: str, expressions: _Expressions) -> Intent:
    intent_id = reader.member(raw, "id", str, place)
    place = f"intent {intent_id}"
    reader.only(raw, place, MEMBERS)
    return Intent(
        id=intent_id,
        name=str(raw.get("name", intent_id)),
        weight=float(raw.get("weight", 1)),
        priority=int(raw.get("priority", 0)),
        grave=bool(raw.get("grave", False)),
        doubt=bool(raw.get("doubt", False)),
        aside=bool(raw.get("aside", False)),
        expression=expressions.filtered(raw.get("expressions", []), place),
        vetoes=expressions.vetoes(raw.get("not", []), place),
        message_vetoes=expressions.vetoes(raw.get("not_message", []), place),
        must=reader.optional(raw.get("must"), place),
        must_not=reader.optional(raw.get("must_not"), place),
        example=str(raw.get("example", "")),
        cue=expressions.any(raw["cue"], place) if "cue" in raw else None,
    )
