"""Finding quickly which of many expressions can match a text at all, without searching for them.

From an expression follow literals of which every match contains one: of `(?:眠い|ねむい)(?:よ|な)*$` 眠い or
ねむい. So do those of RE2's own filter. But its automaton has a state for each set of literals that a text
had up to a character, and nearly every message makes new ones: they took 9 MB of a worker after 300
messages, and a search took six times as long as in a table of literals, which stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from app.kinds.expressions import Expression

# Characters of a literal that are looked up: the first ones of a longer literal.
_GRAM = 3
# Literals that are told apart; more are as good as unknown.
_MOST = 32
# Members of a character class that are told apart.
_MEMBERS = 8
_ITEM = re.compile(
    r"""
    \((?:\?:)?[^][\\(){}*+?.^$]*\)                # a group of literals
    | \(\?P?<\w+> | \(\?[\w-]*[:)] | [()|]
    | [*+?]\?? | \{\d+(?:,\d*)?\}\??
    | \[\^?\]?(?:\[:\^?\w+:\]|[^]\\]|\\.)*\]      # a class
    | \\(?:[pP]\{\^?\w+\}|[pP]\w|x\{\w+\}|x\w\w|[0-7]{1,3}|.)
    | [^][\\(){}|*+?.^$]+(?![*+?{])               # a literal, but for a last character that is repeated
    | .
    """,
    re.DOTALL | re.VERBOSE,
)
# Flags that make literals match other texts, and quoting, which no deck of ours has.
_UNREAD = re.compile(r"\(\?[\w-]*i|\\Q")

_Literals = frozenset[str]


class _Matches(NamedTuple):
    """What is known of the matches of a part of an expression.

    `all` are the texts that match, None if there are too many. Every match contains one of `some`; None if
    no such literals are known.
    """

    all: _Literals | None
    some: _Literals | None


_EMPTY = frozenset([""])
_NOTHING = _Matches(_EMPTY, None)
_ANYTHING = _Matches(None, None)


class _Reading:
    """Reads an expression from left to right."""

    def __init__(self, expression: str, known: dict[str, _Matches]) -> None:
        self._items = [*_ITEM.findall(expression), ""]
        self._next = 0
        self._known = known
        self._closing: dict[int, int] = {}
        opened: list[int] = []
        for place, item in enumerate(self._items):
            if item == ")":
                self._closing[opened.pop()] = place
            elif item[:1] == "(" and item[-1] != ")":
                opened.append(place)

    def branches(self) -> _Matches:
        """What is known of alternatives, up to a bracket that is not theirs or the end."""
        found = [self._sequence()]
        while self._items[self._next] == "|":
            self._next += 1
            found.append(self._sequence())
        return _either(found) if len(found) > 1 else found[0]

    def _sequence(self) -> _Matches:
        """One part after another: texts that follow each other are one, as long as they are few."""
        texts, best, whole = _EMPTY, None, True
        while (item := self._items[self._next]) not in "|)":
            if len(item) > 1 and item[0] not in "([\\":
                # Most parts are literals, which are not repeated if they have two characters.
                self._next += 1
                texts = frozenset([text + item for text in texts])
                continue
            part = self._part()
            if part.all and len(texts) * len(part.all) <= _MOST:
                texts = frozenset([text + other for text in texts for other in part.all])
                continue
            best, whole = _better(_better(best, _literals(texts)), part.some), False
            texts = part.all or _EMPTY
        if whole:
            return _Matches(texts, _literals(texts))
        return _Matches(None, _better(best, _literals(texts)))

    def _part(self) -> _Matches:
        """A character, class or group, with what says how often it comes."""
        item = self._items[self._next]
        self._next += 1
        if item[0] == "(" and item[-1] != ")":
            found = self._group()
        else:
            found = self._known.get(item) or self._known.setdefault(item, _single(item))
        while (often := self._items[self._next]) and (
            often[0] in "*+?" or often[0] == "{" != often
        ):
            self._next += 1
            found = _repeated(found, often)
        return found

    def _group(self) -> _Matches:
        """What is known of a group, to whose end it goes."""
        end = self._closing[self._next - 1]
        if self._items[end + 1][:1] == "*":
            # Nothing follows from what need not be there.
            self._next = end + 1
            return _ANYTHING
        text = "".join(self._items[self._next : end])
        if text not in self._known:
            self._known[text] = self.branches()
        self._next = end + 1
        return self._known[text]


def _single(item: str) -> _Matches:
    """A literal, a group of some, a class, an escape, flags, the beginning or end of a line."""
    if item in "^$" or (item[:2] == "(?" and item[2] != ":"):
        return _NOTHING
    if item[0] == "(":
        texts = frozenset(item[1:-1].removeprefix("?:").split("|"))
        return _Matches(texts if len(texts) <= _MOST else None, _literals(texts))
    if item[0] == "[" != item:
        texts = frozenset(item[1:-1])
        known = len(texts) <= _MEMBERS and texts.isdisjoint("^-\\[")
    else:
        texts = frozenset([item[-1] if item[0] == "\\" else item])
        known = item != "." and not (item[0] == "\\" and item[1:2].isalnum())
    return _Matches(texts, texts) if known else _ANYTHING


def _repeated(one: _Matches, often: str) -> _Matches:
    if often[0] == "?":
        return _Matches(one.all and one.all | {""}, None)
    if often[0] == "*" or often.startswith(("{0,", "{0}")):
        return _ANYTHING
    return _Matches(None, one.some)


def _either(found: list[_Matches]) -> _Matches:
    every, some = [one.all for one in found], [one.some for one in found]
    texts = frozenset[str]().union(*filter(None, every)) if all(every) else frozenset()
    literals = frozenset[str]().union(*filter(None, some)) if all(some) else None
    return _Matches(texts if 0 < len(texts) <= _MOST else None, literals)


def _literals(texts: _Literals | None) -> _Literals | None:
    return texts if texts and "" not in texts else None


def _better(one: _Literals | None, other: _Literals | None) -> _Literals | None:
    """The literals of two that fewer texts have: the longer ones, or the fewer."""
    if one and other:
        return max(one, other, key=_rarity)
    return one or other


def _rarity(literals: _Literals) -> tuple[int, int]:
    return min(_GRAM, *map(len, literals)), -len(literals)


class Prefilter:
    """Knows the literals of many expressions."""

    def __init__(self, expressions: Iterable[Expression]) -> None:
        by_gram: dict[str, list[int]] = {}
        always: list[int] = []
        known: dict[str, _Matches] = {}
        for number, expression in enumerate(expressions):
            text = expression.pattern
            literals = None if _UNREAD.search(text) else _Reading(text, known).branches().some
            if literals is None:
                always.append(number)
            for gram in {literal[:_GRAM] for literal in literals or ()}:
                by_gram.setdefault(gram, []).append(number)
        self._always = frozenset(always)
        # Many have the same numbers.
        shared: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._by_gram = {
            gram: shared.setdefault(tuple(numbers), tuple(numbers))
            for gram, numbers in by_gram.items()
        }

    def possible(self, text: str) -> frozenset[int]:
        """The numbers of the expressions that may match; others do not."""
        grams = {text[at : at + size] for size in range(1, _GRAM + 1) for at in range(len(text))}
        found = (self._by_gram[gram] for gram in self._by_gram.keys() & grams)
        return self._always.union(*found)
