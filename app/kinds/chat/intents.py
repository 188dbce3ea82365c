"""The intents of a deck: what users may mean, and the expressions that show it (`intents.json`).

A veto excludes an intent where its expression matches. A veto `{"text": …, "unless": …}` does not
hold where the second expression matches too. How all of this is searched in a message is in
`app.kinds.chat.recognition`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.by_example import INTENTS_FOLDER, ByExample
from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.message import Asides, asides
from app.kinds.expressions import Expression, ExpressionError, compiled
from app.kinds.prefilter import Prefilter

INTENTS_FILE = "intents.json"
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
# The weight of an intent by example: as much as most of those that tell something.
_BY_EXAMPLE_WEIGHT = 3.0
# Bytes for the automata of one of the expressions of a careful intent, of which a deck has dozens.
_PART_MEMORY = 1 << 19
# The members of a veto with an exception.
_VETO = ("text", "unless")
# An escaped sign, a class, a group without another in it.
_GROUP = re.compile(r"\\.|\[\^?\]?(?:[^]\\]|\\.)*\]|\([^()]*\)")
_FRAGMENT = re.compile(r"\{\{([A-Z_]+)\}\}")
_LAST_FRAGMENT = re.compile(r"\{\{[A-Z_]+\}\}$")


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
    that is asked before the last tier may do better. `parts` are its expressions, of which the leftmost
    longest match counts.
    """

    id: str
    name: str
    weight: float
    priority: int
    grave: bool
    doubt: bool
    aside: bool
    parts: tuple[Expression, ...]
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


Possible = Iterable[tuple[Intent, tuple[Expression, ...]]]


class Searched(NamedTuple):
    """The expressions of intents, each with its intent, and a prefilter of them in this order."""

    parts: tuple[tuple[Intent, Expression], ...]
    prefilter: Prefilter

    @classmethod
    def of(cls, intents: Iterable[Intent]) -> Searched:
        """The expressions of these intents."""
        parts = tuple((intent, part) for intent in intents for part in intent.parts)
        return cls(parts, Prefilter(part for _, part in parts))

    def possible(self, lines: str) -> Possible:
        """The intents with those of their expressions that may match in a line; others do not."""
        return self.grouped(self.prefilter.possible(lines))

    def grouped(self, numbers: Iterable[int]) -> Possible:
        """The expressions of these numbers by their intents."""
        by_id: dict[str, tuple[Intent, tuple[Expression, ...]]] = {}
        for number in sorted(numbers):
            intent, part = self.parts[number]
            _, before = by_id.get(intent.id, (intent, ()))
            by_id[intent.id] = intent, (*before, part)
        return by_id.values()


class Intents(NamedTuple):
    """What `intents.json` has; `asides` is None if it names none.

    The careful intents have a prefilter of their own: in long messages only these intents are searched.
    """

    all: tuple[Intent, ...]
    asides: Asides | None
    careful: Searched
    others: Searched


def _has_branches(expression: str) -> bool:
    """Whether an expression has alternatives outside of its groups."""
    inside = ""
    while inside != expression:
        inside, expression = expression, _GROUP.sub("", expression)
    return "|" in expression


def _by_tail(texts: Iterable[str]) -> list[str]:
    """The alternatives `texts`, of which those that end with the same fragments share them."""
    by_tail: dict[str, list[str]] = {}
    for text in texts:
        last = None if _has_branches(text) else _LAST_FRAGMENT.search(text)
        tail = last.group() if last else ""
        by_tail.setdefault(tail, []).append(text.removesuffix(tail))
    joined = by_tail.pop("", [])
    joined += [f"(?:{'|'.join(_by_tail(rests))}){tail}" for tail, rests in by_tail.items()]
    return joined


class _Expressions:
    """Compiles expressions with the fragments and shared vetoes of their file."""

    def __init__(
        self, reader: ExpressionReader, fragments: Mapping[str, str], vetoes: Mapping[str, Any]
    ):
        self._reader = reader
        self._fragments = fragments
        self._shared = vetoes
        self._whole: dict[str, str] = {}

    def parts(self, value: Any, place: str, *, apart: bool) -> tuple[Expression, ...]:
        """A list of expressions that find the longest match.

        They are joined to one unless they are to be searched `apart`. Of many long ones each costs as
        much as the part of them that is possible in a text; joined, their automaton has a state for each
        combination of what they are in the middle of, and nearly all are new in a new text.
        """
        if apart:
            texts = self._reader.strings(value, place)
            groups = [[self.expanded(text, place)] for text in texts]
        else:
            groups = [self._by_ends(value, place)]
        memory = _PART_MEMORY if apart else 0
        compile_one = functools.partial(compiled, by_line=True, memory=memory)
        found = (self._reader.any(group, place, compile_one) for group in groups)
        return tuple(expression for expression in found if expression)

    def any(self, value: Any, place: str) -> Expression | None:
        """The same as one expression; None if the list is empty."""
        compile_one = functools.partial(compiled, by_line=True)
        return self._reader.any(self._by_ends(value, place), place, compile_one)

    def _by_ends(self, value: Any, place: str) -> list[str]:
        by_head: dict[str, list[str]] = {}
        for text in self._reader.strings(value, place):
            first = _FRAGMENT.match(text)
            # Of `{{HEAD}}a|b`, b stands alone.
            head = first.group() if first and not _has_branches(text) else ""
            by_head.setdefault(head, []).append(text[len(head) :])
        # Expressions that begin or end with the same fragment share it: those are most of an automaton.
        joined = [f"{head}(?:{'|'.join(_by_tail(rests))})" for head, rests in by_head.items()]
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
            text = self._reader.member(self._fragments, name, str, "fragments")
            self._whole[name] = self._expand(text, place, depth + 1)
        return self._whole[name]


def load_intents(folder: Path, by_example: Iterable[ByExample] = ()) -> Intents:
    """Read and check a deck's `intents.json`, and add those by example. Raises DeckError."""
    reader = ExpressionReader(folder, INTENTS_FILE)
    root = reader.value
    reader.only(root, "", FILE_MEMBERS)
    expressions = _Expressions(
        reader,
        reader.part(root, "fragments"),
        reader.part(root, "vetoes"),
    )
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
    return Intents(
        tuple(found.values()),
        _load_asides(reader, root.get("asides"), expressions),
        Searched.of(intent for intent in found.values() if intent.careful),
        Searched.of(intent for intent in found.values() if not intent.careful),
    )


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
        parts=(),
        vetoes=none,
        message_vetoes=none,
        must=None,
        must_not=None,
        example="",
        narrow=True,
        declines=one.declines,
        acts=one.acts,
    )


def _load_asides(reader: ExpressionReader, raw: Any, expressions: _Expressions) -> Asides | None:
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


def _load_intent(
    reader: ExpressionReader, raw: Any, place: str, expressions: _Expressions
) -> Intent:
    intent_id = reader.member(raw, "id", str, place)
    place = f"intent {intent_id}"
    reader.only(raw, place, MEMBERS)
    apart = bool(raw.get("grave") or raw.get("doubt"))
    return Intent(
        id=intent_id,
        name=str(raw.get("name", intent_id)),
        weight=reader.number(raw.get("weight", 1), f"{place} weight"),
        priority=reader.whole(raw.get("priority", 0), f"{place} priority"),
        grave=bool(raw.get("grave", False)),
        doubt=bool(raw.get("doubt", False)),
        aside=bool(raw.get("aside", False)),
        parts=expressions.parts(raw.get("expressions", []), place, apart=apart),
        vetoes=expressions.vetoes(raw.get("not", []), place),
        message_vetoes=expressions.vetoes(raw.get("not_message", []), place),
        must=reader.optional(raw.get("must"), place),
        must_not=reader.optional(raw.get("must_not"), place),
        example=str(raw.get("example", "")),
        cue=expressions.any(raw["cue"], place) if "cue" in raw else None,
    )
