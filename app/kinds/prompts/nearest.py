"""The recorded prompt that is most like another, and the field in which they differ.

Recorded prompts are read from the logs of the store and of the recordings, when they are first
wanted, and then as the logs grow. Of each, hashes of its fields and of its words are kept.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import xxhash

from app.kinds.lazy_pattern import lazily
from app.normal_form import nfkc
from app.store.key import PROMPT
from app.store.log import LogFollower

# Prompts that are compared, and the bytes at the end of a log that are read for them: enough for
# what one application asks, and found in some hundredths of a second.
MOST_PROMPTS, MOST_BYTES = 20_000, 64 << 20
# Characters of a prompt whose words and numbers are compared; what follows must be the same.
MOST_TEXT = 1 << 16
# Scripts that put no spaces between words: there, two characters are a word.
_WORD = lazily(r"[぀-ヿ㐀-鿿々]|[^\W_]+")
# Words that turn a sentence into its opposite.
_NEGATION = lazily(
    r"\b(?:no|not|never|without|neither|nor|none|nobody|nothing|cannot|can|except|less|least|hardly|"
    r"\w+n['’]t)\b"
)
_JAPANESE_NEGATION = lazily(r"な[いくかけ]|ませ?ん|[ぬず](?![ぁ-ん])|不|無|非|以外|禁止|反対")

_NUMBER = lazily(r"#?\d+(?:[.,]\d+)*(?: ?[A-Za-zµΩ]{1,3}\b| ?[%‰]|[!~〜])?")


# How the names of the fields begin that have texts.
_TEXTS = ("messages", "inputs")


class Outline(NamedTuple):
    """A prompt: hashes of its fields by name, its words, and what must be the same in a near one.

    `guard` are its numbers, negations and signs: the answer to "with nuts" is none to "without nuts".
    """

    fields: Mapping[str, int]
    words: frozenset[int]
    guard: tuple[str, ...]


class Neighbour(NamedTuple):
    """A recorded prompt.

    `distance` is 1 less the share of words that it has in common with the one asked (Jaccard's), and
    `differs` the fields in which they differ, messages first if these do. `may_answer`: they differ in words of the last
    message alone, and not in numbers or negations.
    """

    key: str
    distance: float
    differs: tuple[str, ...]
    may_answer: bool


def outline(canonical: str) -> Outline:
    """The outline of a prompt in its canonical form."""
    fields = dict(_fields(orjson.loads(canonical)))
    texts = [text for name, value in fields.items() if (text := _text(name, value))]
    joined = "\n".join(texts)
    head, rest = joined[:MOST_TEXT], joined[MOST_TEXT:]
    guard = _guard(head)
    return Outline(
        {name: _hash(orjson.dumps(value)) for name, value in fields.items()},
        frozenset(_hash(word.encode()) for word in _words(head)),
        (*guard, str(_hash(rest.encode()))) if rest else guard,
    )


def fields_of(canonical: str) -> dict[str, Any]:
    """The fields of a prompt by name, as in `messages[0]`, `options.seed`."""
    return dict(_fields(orjson.loads(canonical)))


def _fields(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in ("operation", "model", "format", "tools", "tool_choice"):
        if name in value:
            yield name, value[name]
    for name, option in sorted(value.get("options", {}).items()):
        yield f"options.{name}", option
    for name in ("messages", "inputs"):
        for place, one in enumerate(value.get(name, ())):
            yield f"{name}[{place}]", one


def _text(name: str, value: Any) -> str:
    if name.startswith("inputs"):
        return str(value)
    if name.startswith("messages"):
        return "\n".join(part for part in value.get("parts", ()) if isinstance(part, str))
    return ""


def _hash(raw: bytes) -> int:
    return xxhash.xxh3_64_intdigest(raw)


def _words(text: str) -> Iterator[str]:
    words = _WORD.findall(nfkc(text).casefold())
    for word, after in zip_longest(words, words[1:], fillvalue=""):
        # A pair of characters says more than one of them.
        yield word + after if len(word) == 1 and len(after) == 1 else word


def _guard(text: str) -> tuple[str, ...]:
    wide = nfkc(text)
    plain = wide.casefold()
    # With what stands at them: 8 GB is not 8 Gb, 20 % not 20 ‰, and #1 not 1.
    numbers = _NUMBER.findall(wide)
    return (
        *sorted(_NEGATION.findall(plain)),
        *sorted(_JAPANESE_NEGATION.findall(plain)),
        *sorted(numbers),
        *sorted(sign for sign in text if _is_sign(sign)),
    )


def _is_sign(sign: str) -> bool:
    """Whether a character means something beside words: ? and symbols, raised digits, emoji."""
    return sign in "?？؟" or unicodedata.category(sign) in ("No", "Sc", "Sm", "So")


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the fields in which two prompts differ, in the order of `one`."""
    names = [*one, *(name for name in other if name not in one)]
    return [name for name in names if one.get(name) != other.get(name)]


class Nearest:
    """Finds the recorded prompt that is most like another, in the logs at `paths`."""

    def __init__(self, *paths: Path) -> None:
        self._logs = [LogFollower(path, MOST_BYTES) for path in paths]
        self._known: dict[str, Outline] = {}
        self._models: dict[str, None] = {}
        self._lock = threading.Lock()

    def models(self) -> list[str]:
        """The names of the models that are asked in what is recorded."""
        with self._lock:
            self._catch_up()
            return [name for name in self._models if name]

    def _catch_up(self) -> None:
        for log in self._logs:
            for _, entry in log.news()[1]:
                if entry.query.kind == PROMPT:
                    canonical = entry.query.picks[0][1]
                    self._known.setdefault(entry.query.key, outline(canonical))
                    self._models[orjson.loads(canonical).get("model", "")] = None
        while len(self._known) > MOST_PROMPTS:
            del self._known[next(iter(self._known))]

    def find(self, canonical: str) -> Neighbour | None:
        """The most similar one; None if nothing is recorded."""
        # One at a time: it is all computing, so that more at once would only keep others from theirs.
        with self._lock:
            self._catch_up()
            asked = outline(canonical)
            found = [(_distance(asked, one), key, one) for key, one in self._known.items()]
        if not found:
            return None
        (distance, _), key, one = min(found, key=lambda item: item[:2])
        differs = differing(asked.fields, one.fields)
        messages = [name for name in asked.fields if name.startswith(_TEXTS)]
        alike = differs == messages[-1:] and asked.guard == one.guard
        # Who asked something else is not helped by being told of an option.
        ordered = sorted(differs, key=lambda name: not name.startswith(_TEXTS))
        return Neighbour(key, distance, tuple(ordered), alike)


def _distance(one: Outline, other: Outline) -> tuple[float, int]:
    """How unlike two prompts are: in words first, then in the number of other fields."""
    # Of the smaller set's words only: the union of a long prompt with each of thousands takes minutes.
    common = len(one.words & other.words)
    union = len(one.words) + len(other.words) - common
    share = common / union if union else 1.0
    return 1 - share, len(differing(one.fields, other.fields))
