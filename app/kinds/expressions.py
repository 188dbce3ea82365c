"""Regular expressions that a deck's author writes, searched in time linear in the text.

They are searched with RE2 (https://github.com/google/re2). Python's engine backtracks: if a
fragment can match the same characters in two ways, a message of sixty characters can take minutes.
RE2 has no look-around; the forms that authors need are translated into plain expressions:

    (?=x) (?<=x)        x itself, which then belongs to the match
    (?!ab|c) (?<!ab|c)  not followed by, not preceded by literal texts: one or a few other characters,
                        which then belong to the match, or the end or beginning of the text

So a look-around may be used only if nothing else has to match the same characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import re2

# Bytes of memory for the automata of one expression, beyond which RE2 builds them anew. The 6,365 messages of
# `python -m bench.messages 12000 --everyday` make a worker grow by 19 MB, with 2 MiB by 42 and with 16 by 73,
# in no less time; with 512 KiB by 13, but messages of 4,000 characters then take 1.4 times as long.
_MEMORY = 1 << 20
# Characters of an expression with its fragments expanded; the longest in our decks has 6,500.
_LONGEST = 20_000
_LOOK = re.compile(r"\(\?(<?)([=!])")
_CLASS = re.compile(r"\\.|\[\^?\]?(?:[^]\\]|\\.)*\]", re.DOTALL)
_BRACKET = re.compile(r"[()]")
_SPECIAL = frozenset("()[]{}*+?.^$\\|")


class Found(Protocol):
    """A match."""

    def group(self) -> str:
        """The matching text."""

    def span(self) -> tuple[int, int]:
        """The offsets of its beginning and end."""


class Expression(Protocol):
    """A compiled expression."""

    pattern: str
    options: Any
    groups: int

    def search(self, text: str) -> Found | None:
        """The first match in a text."""

    def finditer(self, text: str) -> Iterator[Found]:
        """The matches in a text, without overlaps."""

    def sub(self, repl: str | Callable[[Found], str], text: str) -> str:
        """The text with every match replaced; google-re2 spoils a `repl` that is not ASCII."""


class ExpressionError(ValueError):
    """An expression that RE2 cannot search; the message says why."""


def compiled(expression: str, *, by_line: bool = False, memory: int = 0) -> Expression:
    """Compile an expression. Raises ExpressionError. `memory` are the bytes for its automata.

    With `by_line`, `^` and `$` are the ends of a line, matches do not cross lines, and the longest
    of the leftmost matches is found.
    """
    if len(expression) > _LONGEST:
        raise ExpressionError(f"{len(expression):,} signs with its fragments, {_LONGEST:,} at most")
    options = re2.Options()
    options.max_mem = memory or _MEMORY
    options.log_errors = False
    options.longest_match = options.never_nl = by_line
    text = translated(expression)
    text = f"(?m:{text})" if by_line else text
    try:
        found: Expression = re2.compile(text, options)  # type: ignore[no-untyped-call]
    except re2.error as error:
        cause = error.args[0] if error.args else error
        why = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else str(cause)
        raise ExpressionError(f"not an expression of RE2: {why}") from None
    return found


def either(expressions: Iterable[str]) -> str:
    """An expression that matches if any of `expressions` does; empty if there are none."""
    return "|".join(f"(?:{expression})" for expression in expressions)


def any_of(
    expressions: Iterable[str], *, by_line: bool = False, memory: int = 0
) -> Expression | None:
    """The same, compiled; None if there are none."""
    joined = either(expressions)
    return compiled(joined, by_line=by_line, memory=memory) if joined else None


def literal(text: str) -> str:
    """An expression that matches exactly `text`."""
    found: str = re2.escape(text)  # type: ignore[no-untyped-call]
    return found


def translated(expression: str) -> str:
    """The expression without look-around. Raises ExpressionError if it cannot be translated."""
    if not _LOOK.search(expression):
        return expression
    parts, at = [], 0
    # A bracket that is escaped, or in a character class, opens no group.
    bare = _CLASS.sub(lambda found: "_" * len(found.group()), expression)
    for found in _LOOK.finditer(bare):
        if found.start() < at:
            # Nested in the one before.
            continue
        end = _closing(bare, found.end())
        inner = expression[found.end() : end]
        parts.append(expression[at : found.start()])
        behind, kind = found.groups()
        parts.append(f"(?:{translated(inner)})" if kind == "=" else _not(_literals(inner), behind))
        at = end + 1
    return "".join([*parts, expression[at:]])


def _closing(bare: str, start: int) -> int:
    """The offset of the bracket that closes the group whose content begins at `start`."""
    depth = 1
    for found in _BRACKET.finditer(bare, start):
        depth += 1 if found.group() == "(" else -1
        if not depth:
            return found.start()
    raise ExpressionError("a bracket is not closed")


def _literals(inner: str) -> list[str]:
    """The literal texts of a negative look-around. Raises ExpressionError for anything else."""
    texts = [re.sub(r"\\(\W)", r"\1", text) for text in inner.split("|")]
    if not all(texts) or not _SPECIAL.isdisjoint(inner.replace("|", "").replace("\\?", "")):
        raise ExpressionError(
            f"(?!…) and (?<!…) take plain texts, as (?!ab|c); this has {inner[:40]!r}. Write what may "
            "follow instead, or use a veto with `unless`"
        )
    return texts


def _not(texts: list[str], behind: str) -> str:
    """An expression for what does not begin (with `behind`: does not end) with one of `texts`."""
    if behind:
        return f"(?:{'|'.join(['^', *_others([text[::-1] for text in texts], behind=True)])})"
    return f"(?:{'|'.join(['$', *_others(texts, behind=False)])})"


def _others(texts: list[str], *, behind: bool) -> Iterator[str]:
    # Walks a tree of the texts by their characters: leaves it at a branch, or ends within it.
    first = sorted({text[0] for text in texts})
    yield f"[^{''.join(map(re.escape, first))}]"
    for sign in first:
        rests = [text[1:] for text in texts if text[0] == sign]
        if all(rests):
            own, edge = re.escape(sign), "^" if behind else "$"
            below = f"(?:{'|'.join([edge, *_others(rests, behind=behind)])})"
            yield below + own if behind else own + below
