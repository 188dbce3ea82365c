"""What a message asks for that a character can do at once: choose, calculate, say something after the user.

`direct` in a deck's `conversation.json` has

    either  `expressions` whose groups are the things of which she is to choose one; `not`
    sum     `plus`, `minus`, `times`, `over`: words for the signs; `asked`: how a message asks for a sum,
            which is a `#` in it
    say     `expressions` whose group is what she is to say; `not`
    never   expressions of what she neither chooses nor says after anybody

Sums are calculated with whole numbers, few and of few digits, so that no message costs much.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.lines import KIND
from app.kinds.expressions import Expression

EITHER, SUM, REMAINDER, SAY = (f"{KIND}{name}" for name in ("either", "sum", "remainder", "say"))
POOLS = (EITHER, SUM, REMAINDER, SAY)
_MEMBERS = ("either", "sum", "say", "never")
_SIGNS = {"plus": "+", "minus": "-", "times": "*", "over": "/"}
_ALWAYS = {"×": "*", "÷": "/", "−": "-"}
# Characters of a thing to choose and of what she says after the user.
_LONGEST_THING, _LONGEST_SAID = 16, 24
_DIGITS = "0-9〇一二三四五六七八九十百千万"
_NUMBER = rf"0|[1-9][0-9,]*|[{_DIGITS[3:]}]+"
_SUM = re.compile(
    rf"(?<![{_DIGITS}.,])(?:{_NUMBER})(?: ?[-+*/x] ?(?:{_NUMBER}))+(?![{_DIGITS}]|[.,/-][0-9])"
)
_PART = re.compile(rf"({_NUMBER})|[-+*/x]")
# Numbers of a sum, and the least number that is too large.
_MOST_NUMBERS, _TOO_LARGE = 8, 10**12


class Sum(NamedTuple):
    """The result of a sum, and what remains of a division; both empty if it is none that she can do."""

    result: str = ""
    remainder: str = ""


class Direct:
    """Reads such requests. Every text is one that `Hearing.text` gives."""

    def __init__(self, reader: ExpressionReader, raw: Mapping[str, Any]) -> None:
        reader.known(raw, _MEMBERS, "direct")
        either, say, sums = (reader.part(raw, name) for name in ("either", "say", "sum"))
        self._either, self._not_either = _found(reader, either, "either")
        self._say, self._not_say = _found(reader, say, "say")
        reader.known(sums, (*_SIGNS, "asked"), "direct sum")
        words = {
            word: sign
            for name, sign in _SIGNS.items()
            for word in reader.strings(sums.get(name, []), f"direct sum {name}")
        }
        self._signs = {**_ALWAYS, **words} if sums else {}
        self._sign = re.compile("|".join(map(re.escape, self._signs)))
        self._asked = reader.any_of(sums.get("asked", []), "direct sum asked")
        self._never = reader.any_of(raw.get("never", []), "direct never")

    @property
    def pools(self) -> list[str]:
        """The pools of lines that a character needs for them."""
        wanted = (self._either, self._asked, self._asked, self._say)
        return [pool for pool, there in zip(POOLS, wanted, strict=True) if there]

    def things(self, text: str) -> tuple[str, ...]:
        """The things of which she is to choose one; empty if the text asks for no choice."""
        found = self._either.search(text) if self._either else None
        if not found or (self._not_either and self._not_either.search(text)):
            return ()
        things = tuple(thing.strip() for thing in found.groups() if thing)  # type: ignore[attr-defined]
        return things if all(map(self._may_say, things)) and len({*things}) > 1 else ()

    def _may_say(self, text: str) -> bool:
        return 0 < len(text) <= _LONGEST_THING and not (self._never and self._never.search(text))

    def said(self, text: str) -> str | None:
        """What she is to say: empty if she rather does not, None if the text asks for nothing."""
        found = self._say.search(text) if self._say else None
        if not found or (self._not_say and self._not_say.search(text)):
            return None
        wanted = next((part for part in found.groups() if part), "").strip()  # type: ignore[attr-defined]
        unsaid = len(wanted) > _LONGEST_SAID or (self._never and self._never.search(wanted))
        return "" if unsaid else wanted

    def sum(self, text: str) -> Sum | None:
        """The result of the sum that a text asks for, None if it asks for none."""
        if not self._asked or not any(sign.isnumeric() for sign in text):
            return None
        written = self._sign.sub(lambda found: self._signs[found.group()], text)
        found = _SUM.search(written)
        if not found or not self._asked.search(
            f"{written[: found.start()]}#{written[found.end() :]}"
        ):
            return None
        return _calculated(found.group())


def _calculated(text: str) -> Sum:
    parts = [part.group() for part in _PART.finditer(text)]
    numbers = [_whole(part) for part in parts[::2]]
    signs = parts[1::2]
    if len(numbers) > _MOST_NUMBERS or max(numbers) >= _TOO_LARGE:
        return Sum()
    if signs == ["/"] and numbers[1] and numbers[0] % numbers[1]:
        result, remainder = divmod(numbers[0], numbers[1])
        return Sum(str(result), str(remainder))
    try:
        return Sum(str(sum(_terms(numbers, signs))))
    except ArithmeticError:
        return Sum()


def _terms(numbers: list[int], signs: list[str]) -> Iterator[int]:
    """What is to be added. Raises ArithmeticError if a division leaves something, or a term is too large."""
    term = numbers[0]
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign in "+-":
            yield term
            term = number if sign == "+" else -number
        elif sign == "/":
            if term % number:
                raise ArithmeticError("a remainder")
            term //= number
        else:
            term *= number
        if abs(term) >= _TOO_LARGE**2:
            raise OverflowError
    yield term


def _whole(text: str) -> int:
    """The number of digits, or of kanji: 二十三 and 二三 are 23."""
    if text[0].isascii():
        return int(text.replace(",", ""))
    values = [int(unicodedata.numeric(sign)) for sign in text]
    if max(values) < 10:
        return int("".join(map(str, values)))
    total = section = digit = 0
    for value in values:
        if value < 10:
            digit = value
        elif value < 10_000:
            section, digit = section + (digit or 1) * value, 0
        else:
            total, section, digit = total + (section + digit or 1) * value, 0, 0
    return total + section + digit


def _found(
    reader: ExpressionReader, raw: Mapping[str, Any], place: str
) -> tuple[Expression | None, Expression | None]:
    reader.known(raw, ("expressions", "not"), f"direct {place}")
    found = reader.any_of(raw.get("expressions", []), f"direct {place}")
    return found, reader.any_of(raw.get("not", []), f"direct {place} not")
