"""The words of the pages: a file for each language in `words/`, and a deck's own in `words.json`.

    words.json    language → name → text, list of texts, or object of texts

A deck's words replace those of the same name. Its pages are shown in its own language and in the
others that its file has. `{at}` and the like are places; `{at:kanji}` is a number in kanji.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from app.kinds.language import ENGLISH, LANGUAGES
from app.kinds.reading import Reader

WORDS_FILE = "words.json"
_FOLDER = Path(__file__).parent / "words"
_PLACE = re.compile(r"\{([a-z]+)(?::kanji)?\}")

Words = Mapping[str, Any]


def known_words(language: str) -> Words | None:
    """The words of the pages in a language; None if there are none."""
    path = _FOLDER / f"{language}.json"
    return _read(path) if path.is_file() else None


@lru_cache(maxsize=16)
def _read(path: Path) -> Words:
    words: Words = orjson.loads(path.read_bytes())
    return words


def page_words(language: str, own: Mapping[str, Words]) -> dict[str, Words]:
    """All words of a deck's pages by language, the deck's own language first.

    A language for which we have no words gets the English ones.
    """
    english = known_words(ENGLISH.id) or {}
    found: dict[str, Words] = {}
    for name in dict.fromkeys((language, *own)):
        base = known_words(name) or {**english, "language": LANGUAGES[name].name}
        found[name] = {**base, **own.get(name, {})}
    return found


def load_words(folder: Path) -> dict[str, Words]:
    """A deck's own words by language; empty if it has no file. Raises DeckError."""
    if not (folder / WORDS_FILE).exists():
        return {}
    reader = Reader(folder, WORDS_FILE)
    reader.only(reader.value, "", LANGUAGES, "language")
    known = known_words(ENGLISH.id) or {}
    for language, words in reader.value.items():
        reader.only(words, language, known, "word")
        for name, value in words.items():
            _check(reader, f"{language} {name}", value, known[name])
    words_by_language: dict[str, Words] = reader.value
    return words_by_language


def _check(reader: Reader, place: str, value: Any, example: Any) -> None:
    """A word has the shape of the English one, and its places."""
    if isinstance(example, str):
        if not isinstance(value, str) or not value.strip():
            raise reader.fail(place, "expected a text")
        strange = set(_PLACE.findall(value)) - set(_PLACE.findall(example))
        if strange:
            raise reader.fail(place, f"has no place {{{min(strange)}}}")
    elif isinstance(example, list):
        if not reader.strings(value, place):
            raise reader.fail(place, "there is none")
    else:
        reader.only(value, place, example, "word")
        for name, text in value.items():
            _check(reader, f"{place} {name}", text, example[name])
