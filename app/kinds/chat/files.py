"""Reading a deck's files that have expressions in them, with errors that name file and place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.kinds.expressions import Expression, ExpressionError, compiled, either
from app.kinds.reading import Reader, nearest, shorten

# Bytes for the automata of an expression for short texts. With RE2's usual room each worker grew by 7 MB
# under messages of all kinds; short texts are searched no slower with this.
MEMORY = 1 << 18


class ExpressionReader(Reader):
    """Reads one file of a deck of characters. All methods raise DeckError."""

    def part(self, root: Any, name: str) -> dict[str, Any]:
        """A member of an object that must be an object itself; empty if it is missing."""
        return self.object(self.object(root, name).get(name, {}), name)

    def known(self, values: Iterable[str], known: Iterable[str], place: str) -> frozenset[str]:
        """Names that must be among the known ones."""
        listed = list(values) if isinstance(values, Iterable) else [values]
        if isinstance(values, str) or not all(isinstance(value, str) for value in listed):
            raise self.fail(place, f"expected names, not {shorten(repr(values))}")
        found = frozenset(listed)
        if strange := found.difference(known):
            first, names = min(strange), sorted(map(str, known))
            hint = nearest(first, names) or f"; known: {', '.join(names)}"
            raise self.fail(place, f"unknown {first!r}{hint}")
        return found

    def expression(self, text: str, place: str) -> Expression:
        """One expression, compiled."""
        try:
            return compiled(text)
        except ExpressionError as error:
            raise self.fail(place, f"{error}: {text[:200]}") from None

    def any(
        self,
        texts: Sequence[str],
        place: str,
        compile_one: Callable[[str], Expression] = compiled,
    ) -> Expression | None:
        """One expression that matches if any of `texts` does; None if there are none."""
        try:
            return compile_one(either(texts)) if texts else None
        except ExpressionError as error:
            for text in texts:
                # Compiled one by one, so that the error names the faulty one.
                self.expression(text, place)
            raise self.fail(place, str(error)) from None

    def expressions(self, value: Any, place: str) -> tuple[Expression, ...]:
        """A list of expressions, compiled."""
        return tuple(self.expression(text, place) for text in self.strings(value, place))

    def any_of(self, value: Any, place: str) -> Expression | None:
        """A list of expressions as one for short texts; None if the list is empty."""
        compile_one = functools.partial(compiled, memory=MEMORY)
        return self.any(self.strings(value, place), place, compile_one)

    def optional(self, value: Any, place: str) -> Expression | None:
        """An expression that may be missing or empty."""
        return self.expression(str(value), place) if value else None
