"""Parses the JSON that a model wrote, which may be wrapped, slightly broken or cut short.

(The libraries' own parsers silently return None on a mismatch.) Deviations with one possible
meaning are accepted: prose around the JSON, a list without its object, one object for one task, a
comma before a closing bracket, a raw line break in a text. Of a reply that was cut, the complete
answers are kept, because they are paid for.

Texts are returned in Unicode's normalisation form C, with U+FFFD (which every gate refuses) for
lone surrogates, so that they can be measured, compared and stored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from app.normal_form import nfc
from app.providers import Completion

_BARE_LIST = re.compile(r"\[\s*(?=\{)")
_BETWEEN = re.compile(r"[\s,]*")
_LONE = re.compile(r"[\ud800-\udfff]")
# A string, also one that is cut at the end of the text (else each quotation mark within it would be
# tried as the beginning of another), or a comma that only a closing bracket follows.
_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*"?)|,(?=\s*[}\]])', re.DOTALL)
# No answer is nested as deeply; deeper JSON can be parsed but not serialised again.
_DEEPEST = 16


def _number(digits: str) -> int | float:
    """Integers of more than 64 bits, which cannot be stored, become floats."""
    return int(digits) if len(digits) < 19 else float(digits)


# Not strict: accepts raw line breaks in strings.
_decoder = json.JSONDecoder(strict=False, parse_int=_number, parse_constant=lambda _: None)


class UnreadableError(ValueError):
    """There is no JSON in the reply, or not in the form that was asked for."""


def read_object(text: str) -> dict[str, Any]:
    """The first JSON object of a reply. Raises UnreadableError."""
    start = text.find("{")
    if start < 0:
        raise UnreadableError("the reply has no JSON object")
    value = next(_items(text, start), None)
    if not isinstance(value, dict):
        raise UnreadableError("the reply is not JSON")
    return value


def answers_in(
    completion: Completion, asked: int, member: str = "answers"
) -> tuple[list[dict[str, Any]], str]:
    """The answers in a reply (see `read_answers`), and its fault; empty if it has none."""
    try:
        return read_answers(completion.text, asked, member), completion.fault
    except UnreadableError:
        return [], completion.fault or "unreadable"


def read_answers(text: str, asked: int = 0, member: str = "answers") -> list[dict[str, Any]]:
    """The complete objects of the list `member`.

    `asked` is the number of answers asked for; if it is 1, an object without a list is accepted.
    Raises UnreadableError if there is no list.
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
    """The JSON values that follow each other from `at` on, up to the first incomplete one."""
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
    """A text in normalisation form C, with lone surrogates replaced by U+FFFD."""
    return nfc(_LONE.sub("\ufffd", text))
