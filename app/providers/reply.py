"""Reading what a model wrote: JSON that may be fenced, wrapped, slightly broken or cut short.

Nothing is taken on trust: the libraries' own parse is silently None on a mismatch. What is meant is
recovered only if it can mean one thing: prose around the JSON, a list without its object, one object
for one task, a comma before a closing bracket, a raw line break in a text. Of a reply that was cut,
the answers that are whole are kept, because they are paid for.

Texts come out in Unicode's normalisation form C, halves of surrogate pairs as U+FFFD (which no gate
lets pass), so that whatever a model wrote can be measured, compared and stored.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

_BARE_LIST = re.compile(r"\[\s*(?=\{)")
_BETWEEN = re.compile(r"[\s,]*")
_LONE = re.compile(r"[\ud800-\udfff]")
# A whole string, or a comma that only a closing bracket follows.
_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
# No answer of ours is as deep; what is deeper can be parsed and not be written again.
_DEEPEST = 16


def _number(digits: str) -> int | float:
    """Integers beyond 64 bits cannot be stored; they are answers to nothing."""
    return int(digits) if len(digits) < 19 else float(digits)


# Not strict: a raw line break in a string is taken for what it is.
_decoder = json.JSONDecoder(strict=False, parse_int=_number, parse_constant=lambda _: None)


class UnreadableError(ValueError):
    """There is no JSON in the reply, or not the kind that was asked for."""


def read_object(text: str) -> dict[str, Any]:
    """The first JSON object of a reply. Raises UnreadableError."""
    start = text.find("{")
    if start < 0:
        raise UnreadableError("the reply has no JSON object")
    value = next(_items(text, start), None)
    if not isinstance(value, dict):
        raise UnreadableError("the reply is not JSON")
    return value


def read_answers(text: str, asked: int = 0, member: str = "answers") -> list[dict[str, Any]]:
    """The objects of the list `member`, as many as are whole.

    `asked`: how many answers were asked for; of one, the object itself will do. Raises
    UnreadableError if there is no list.
    """
    found = re.search(rf'"{member}"\s*:\s*\[', text) or _BARE_LIST.search(text)
    start = text.find("{")
    if asked == 1 and start >= 0 and (not found or found[0] == text[found.start()] == "["):
        one = next(_items(text, start), None)
        if isinstance(one, dict) and member not in one:
            return [one]
    if found is None:
        raise UnreadableError(f"the reply has no list of {member}")
    return [item for item in _items(text, found.end()) if isinstance(item, dict)]


def _items(text: str, at: int) -> Iterator[Any]:
    """The JSON values that follow one another from a place on, until one is not whole."""
    mended = False
    while True:
        between = _BETWEEN.match(text, at)
        at = between.end() if between else at
        if at >= len(text) or text[at] == "]":
            return
        try:
            item, at = _decoder.raw_decode(text, at)
            yield _cleaned(item, 0)
        except (ValueError, RecursionError):
            if mended:
                return
            mended = True
            text, at = _STRING_OR_COMMA.sub(lambda m: m[1] or "", text[at:]), 0


def _cleaned(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise UnreadableError("the reply is nested too deeply")
    if isinstance(value, str):
        return cleaned_text(value).strip()
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {cleaned_text(name): _cleaned(item, depth + 1) for name, item in value.items()}
    return value


def cleaned_text(text: str) -> str:
    """A text in normalisation form C, halves of surrogate pairs replaced by U+FFFD."""
    return unicodedata.normalize("NFC", _LONE.sub("\ufffd", text))
