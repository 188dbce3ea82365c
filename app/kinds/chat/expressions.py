"""Expressions that a deck's author writes, searched in time linear in the text.

RE2 (https://github.com/google/re2) searches them. Python's engine backtracks: of a fragment that can
match the same signs in two ways, sixty signs of a client's message cost minutes. RE2 knows no
look-around; what our authors need of it is translated into plain expressions:

    (?=x) (?<=x)        x itself, which then belongs to the match
    (?!ab|c) (?<!ab|c)  not followed, not preceded by one of some literal texts: one or a few signs
                        of another kind, which then belong to the match, or the end or the beginning

So a look-around may stand only where nothing else must match the same signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import re2

# Bytes that the automata of one expression may take before RE2 drops them and begins anew.
_MEMORY = 2 << 20
# Signs of an expression with its fragments written out; the longest in the box has 4,000.
_LONGEST = 20_000
_LOOK = re.compile(r"\(\?(<?)([=!])")
_CLASS = re.compile(r"\\.|\[\^?\]?(?:[^]\\]|\\.)*\]", re.DOTALL)
_SPECIAL = frozenset("()[]{}*+?.^$\\|")


class Found(Protocol):
    """A match."""

    def group(self) -> str:
        """What matched."""

    def span(self) -> tuple[int, int]:
        """Where it stands: offsets into the text."""


class Expression(Protocol):
    """A compiled expression."""

    pattern: str
    options: Any

    def search(self, text: str) -> Found | None:
        """The first match in a text."""

    def finditer(self, text: str) -> Iterator[Found]:
        """Every match in a text, none of which overlap."""

    def sub(self, repl: str, text: str) -> str:
        """The text with every match replaced."""


class ExpressionError(ValueError):
    """An expression that cannot be searched in linear time; the message says what to write instead."""


def compiled(expression: str, *, by_line: bool = False) -> Expression:
    """Compile. Raises ExpressionError.

    With `by_line`, `^` and `$` are the ends of a line, no match goes over one, and of the matches
    that begin first the longest is found.
    """
    if len(expression) > _LONGEST:
        raise ExpressionError(f"{len(expression):,} signs with its fragments, {_LONGEST:,} at most")
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.longest_match = options.never_nl = by_line
    text = translated(expression)
    try:
        found: Expression = re2.compile(f"(?m:{text})" if by_line else text, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        told = error.args[0] if error.args else error
        why = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise ExpressionError(f"not an expression of RE2: {why}") from None
    return found


def any_of(expressions: Iterable[str], *, by_line: bool = False) -> Expression | None:
    """One expression that finds what any of some finds; None if there are none."""
    joined = "|".join(f"(?:{expression})" for expression in expressions)
    return compiled(joined, by_line=by_line) if joined else None


class Prefilter:
    """Tells quickly which of some expressions can match a text at all, by literals that each needs."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._filter = re2.Filter()  # type: ignore[no-untyped-call]
        for expression in expressions:
            self._filter.Add(expression.pattern, expression.options)  # type: ignore[no-untyped-call]
        self._empty = not expressions
        if expressions:
            self._filter.Compile()  # type: ignore[no-untyped-call]

    def possible(self, text: str) -> frozenset[int]:
        """The numbers of the expressions that may match; no other one does."""
        if self._empty:
            return frozenset()
        return frozenset(self._filter.Match(text, True))  # type: ignore[no-untyped-call]


def literal(text: str) -> str:
    """An expression that matches just a text."""
    found: str = re2.escape(text)  # type: ignore[no-untyped-call]
    return found


def translated(expression: str) -> str:
    """An expression without look-around. Raises ExpressionError for one that has no translation."""
    parts, at = [], 0
    # A bracket that is escaped, or in a class, begins nothing.
    for found in _LOOK.finditer(_without_classes(expression)):
        if found.start() < at:
            # Within the one before.
            continue
        end = _closing(expression, found.end())
        inner = expression[found.end() : end]
        parts.append(expression[at : found.start()])
        behind, kind = found.groups()
        parts.append(f"(?:{translated(inner)})" if kind == "=" else _not(_literals(inner), behind))
        at = end + 1
    return "".join([*parts, expression[at:]])


def _without_classes(expression: str) -> str:
    """The same in length, with escapes and what stands in classes blotted out."""
    return _CLASS.sub(lambda found: "_" * len(found.group()), expression)


def _closing(expression: str, start: int) -> int:
    """Where the bracket closes that is open at a place."""
    depth = 1
    for at, sign in enumerate(_without_classes(expression)[start:], start):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return at
    raise ExpressionError("a bracket is not closed")


def _literals(inner: str) -> list[str]:
    """The texts of a negative look-around."""
    texts = [re.sub(r"\\(\W)", r"\1", text) for text in inner.split("|")]
    if not all(texts) or not _SPECIAL.isdisjoint(inner.replace("|", "").replace("\\?", "")):
        raise ExpressionError(
            f"(?!…) and (?<!…) take plain texts, as (?!ab|c); this has {inner[:40]!r}. Write what may "
            "follow instead, or use a veto with `unless`"
        )
    return texts


def _not(texts: list[str], behind: str) -> str:
    """What does not begin with one of some texts; with `behind`, does not end with one."""
    if behind:
        return f"(?:{'|'.join(['^', *_others([text[::-1] for text in texts], behind=True)])})"
    return f"(?:{'|'.join(['$', *_others(texts, behind=False)])})"


def _others(texts: list[str], *, behind: bool) -> Iterator[str]:
    # A tree of the texts by their first signs: leave it at any branch, or end within it.
    first = sorted({text[0] for text in texts})
    yield f"[^{''.join(map(re.escape, first))}]"
    for sign in first:
        rests = [text[1:] for text in texts if text[0] == sign]
        if all(rests):
            own, edge = re.escape(sign), "^" if behind else "$"
            below = f"(?:{'|'.join([edge, *_others(rests, behind=behind)])})"
            yield below + own if behind else own + below
