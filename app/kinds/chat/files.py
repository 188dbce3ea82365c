"""Reading a deck's files that have expressions in them, with errors that name file and place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.kinds.chat.expressions import Expression, ExpressionError, compiled
from app.kinds.reading import Reader


class PatternReader(Reader):
    """Reads one file of a deck of patterns. All methods raise DeckError."""

    def known(self, values: Iterable[str], known: Iterable[str], place: str) -> frozenset[str]:
        """Names that must be among the known ones."""
        strange = sorted(set(values) - set(known))
        if strange:
            raise self.fail(place, f"unknown {strange[0]!r}; known: {sorted(known)}")
        return frozenset(values)

    def expression(self, text: str, place: str) -> Expression:
        """One expression, compiled."""
        try:
            return compiled(text)
        except ExpressionError as error:
            raise self.fail(place, f"{error}: {text[:200]}") from None

    def expressions(self, value: Any, place: str) -> tuple[Expression, ...]:
        """A list of expressions, compiled."""
        return tuple(self.expression(text, place) for text in self.strings(value, place))

    def optional(self, value: Any, place: str) -> Expression | None:
        """An expression that may be missing or empty."""
        return self.expression(str(value), place) if value else None
