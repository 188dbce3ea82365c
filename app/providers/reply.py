"""Reading a model's reply: keyed answers out of JSON that may be fenced, wrapped or cut short.

Nothing is taken on trust: the libraries' own parse is silently None on a mismatch. Of a reply that
was cut, the answers that are whole are kept: they are paid for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_LIST = re.compile(r'"answers"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")
_decoder = json.JSONDecoder()


class UnreadableError(ValueError):
    """There is no JSON in the reply, or not the kind that was asked for."""


def read_object(text: str) -> dict[str, Any]:
    """The first JSON object of a reply. Raises UnreadableError."""
    start = text.find("{")
    try:
        value, _ = _decoder.raw_decode(text, max(start, 0))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UnreadableError(f"the reply is not JSON ({type(error).__name__})") from None
    if not isinstance(value, dict):
        raise UnreadableError("the reply is not a JSON object")
    return value


def read_answers(text: str) -> list[dict[str, Any]]:
    """The objects of `answers`, as many as are whole. Raises UnreadableError where there is no list."""
    found = _LIST.search(text)
    if found is None:
        raise UnreadableError("the reply has no list of answers")
    return [item for item in _items(text, found.end()) if isinstance(item, dict)]


def _items(text: str, at: int) -> Iterator[Any]:
    while True:
        between = _BETWEEN.match(text, at)
        at = between.end() if between else at
        if at >= len(text) or text[at] == "]":
            return
        try:
            item, at = _decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            return
        yield item
