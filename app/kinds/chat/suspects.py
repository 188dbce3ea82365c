"""The sentences of a long message in which an expression of an intent may show danger."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from app.kinds.chat.intents import Intent, Possible, Searched
from app.kinds.chat.message import closed_up, in_hiragana, pieces
from app.kinds.expressions import Expression

# Sentences that are searched at once. A message that is full of danger, or of what sounds like it, is known
# after the first of them; the automata of the prefilter and of the expressions cost most in such messages.
_AT_ONCE = 16


class Suspect(NamedTuple):
    """A sentence in which an expression of an intent matches; `possible` is what can match in it at all."""

    intent: Intent
    sentence: str
    possible: Possible


class Suspects:
    """Finds such sentences with the expressions of the careful intents."""

    def __init__(self, careful: Searched) -> None:
        self._careful = careful

    def of(self, text: str) -> Iterator[Suspect]:
        """The suspect sentences of a normalised text: of grave intents in its order, then of others."""
        # Danger is read in katakana (ｷｴﾀｲ) too.
        forms: dict[str, str] = {}
        possible: dict[str, frozenset[int]] = {}
        others: dict[int, list[str]] = {}
        parts = self._careful.parts
        found = pieces(closed_up(text))
        while some := {one: in_hiragana(one) for one in itertools.islice(found, _AT_ONCE)}:
            forms |= some
            grave: dict[int, list[str]] = {}
            for line in itertools.chain.from_iterable(some.items()):
                if line not in possible:
                    possible[line] = self._careful.prefilter.possible(line)
                    for number in possible[line]:
                        of = grave if parts[number][0].grave else others
                        of.setdefault(number, []).append(line)
            yield from self._matching(grave, possible, forms)
        yield from self._matching(others, possible, forms)

    def _matching(
        self,
        lines_of: dict[int, list[str]],
        possible: dict[str, frozenset[int]],
        forms: dict[str, str],
    ) -> Iterator[Suspect]:
        for number in sorted(lines_of):
            intent, part = self._careful.parts[number]
            for line in _matching(part, "\n".join(lines_of[number])):
                numbers = possible[line] | possible.get(forms.get(line, line), frozenset())
                yield Suspect(intent, line, self._careful.grouped(numbers))


def _matching(part: Expression, lines: str) -> Iterator[str]:
    """The lines in which an expression matches."""
    end = -1
    for found in part.finditer(lines):
        begin = found.span()[0]
        if begin > end:
            end = (lines + "\n").find("\n", begin)
            yield lines[lines.rfind("\n", 0, begin) + 1 : end]
