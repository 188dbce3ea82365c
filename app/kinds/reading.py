"""Reading the JSON files of a deck of any kind, with errors that name file and place."""

from __future__ import annotations

import difflib
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from app.errors import DeckError
from app.kinds.language import JAPANESE, LANGUAGES, Language
from app.normal_form import is_nfc, nfc

DECK_FILE = "deck.json"
ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")

_KINDS: Mapping[type[Any], str] = {
    str: "a text",
    int: "a whole number",
    list: "a list",
    dict: "an object",
    bool: "true or false",
}


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is most like one that is not known; empty if none is like it."""
    found = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {found[0]!r}?" if found else ""


def shorten(text: str, limit: int = 60) -> str:
    """A text, cut to `limit` characters, for an error message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def text_of(path: Path) -> str:
    """The text of a file that a person wrote, without a byte-order mark. Raises DeckError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DeckError(str(path), "", "the file is missing") from None
    except OSError as error:
        raise DeckError(str(path), "", f"cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = "UTF-16" if data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "not UTF-8"
        line = data.count(b"\n", 0, error.start) + 1
        raise DeckError(str(path), f"line {line}", f"is {what}: save it as UTF-8") from None


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The values of a file with one JSON value on each line, each with the number of its line.

    Empty lines are left out. Raises DeckError.
    """
    for number, line in enumerate(text_of(path).split("\n"), 1):
        if line.strip():
            try:
                yield number, orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DeckError(str(path), f"line {number}", f"not JSON: {error.msg}") from None


class Reader:
    """Reads one JSON file of a deck; `value` is its content. All methods raise DeckError."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = str(folder / name)
        text = text_of(folder / name)
        # Then all texts in it are in normal form C, and none need be looked at by itself.
        self._normal = "\\u" not in text and is_nfc(text)
        try:
            self.value: Any = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise DeckError(self.file, f"line {error.lineno}", f"not JSON: {error.msg}") from None

    def fail(self, place: str, fault: str) -> DeckError:
        """Make the error to raise for a place in this file."""
        return DeckError(self.file, place, fault)

    def nfc(self, text: str) -> str:
        """A text of this file in normal form C."""
        return text if self._normal else nfc(text)

    def only(self, value: Any, place: str, known: Iterable[str], what: str = "member") -> None:
        """Refuse other members than the known ones: a misspelt one would have no effect."""
        if not isinstance(value, dict):
            raise self.fail(place, "expected an object")
        names = list(known)
        for name in value:
            if name not in names:
                hint = nearest(name, names) or f"; there is {', '.join(names)}"
                raise self.fail(place, f"no such {what}: {name!r}{hint}")

    def language(self, root: Mapping[str, Any]) -> Language:
        """The language that a deck's file names; Japanese if it names none."""
        name = root.get("language", JAPANESE.id)
        if not isinstance(name, str) or name not in LANGUAGES:
            fault = f"expected one of {', '.join(LANGUAGES)}, not {name!r}"
            raise self.fail("language", f"{fault}{nearest(str(name), LANGUAGES)}")
        return LANGUAGES[name]

    def object(self, value: Any, place: str) -> dict[str, Any]:
        """A value that must be an object."""
        if not isinstance(value, dict):
            raise self.fail(place, f"expected an object, not {shorten(repr(value))}")
        return value

    def number(self, value: Any, place: str) -> float:
        """A value that must be a number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(place, f"expected a number, not {shorten(repr(value))}")
        return float(value)

    def whole(self, value: Any, place: str) -> int:
        """A value that must be a whole number."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.fail(place, f"expected a whole number, not {shorten(repr(value))}")
        return value

    def items(self, value: Any, place: str) -> list[Any]:
        """A value that must be a list."""
        if not isinstance(value, list):
            raise self.fail(place, "expected a list")
        return value

    def member(self, value: Any, name: str, kind: type[Any], place: str) -> Any:
        """A member of an object, which must be of a type; a text must not be empty."""
        if not isinstance(value, dict):
            raise self.fail(place, "expected an object")
        if name not in value:
            raise self.fail(place, f"member {str(name)!r} is missing")
        found = value[name]
        if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
            raise self.fail(place, f"{name!r} must be {_KINDS[kind]}, not {shorten(repr(found))}")
        if kind is str and not found.strip():
            raise self.fail(place, f"{name!r} is empty")
        return found

    def given(self, value: Any, name: str, kind: type[Any], default: Any, place: str = "") -> Any:
        """The same for a member that may be missing."""
        return self.member(value, name, kind, place) if name in value else default

    def one_of(self, value: Any, known: Iterable[Any], place: str) -> Any:
        """A value that must be one of the known ones."""
        names = list(known)
        if isinstance(value, bool) or value not in names:
            said = ", ".join(map(str, names))
            raise self.fail(place, f"expected one of {said}, not {shorten(repr(value))}")
        return value

    def deck_id(self, root: Any) -> str:
        """The id of a deck, from the object in its file."""
        found: str = self.member(root, "id", str, "")
        if not ID_PATTERN.fullmatch(found):
            raise self.fail("id", "use 1 to 40 small letters, digits and hyphens")
        return found

    def strings(self, value: Any, place: str) -> tuple[str, ...]:
        """A list of texts that are not empty."""
        texts = self.items(value, place)
        for number, text in enumerate(texts, 1):
            if not isinstance(text, str) or not text.strip():
                raise self.fail(f"{place} {number}".strip(), "expected a text")
        return tuple(texts)

    def range(self, value: Any, place: str) -> tuple[int, int]:
        """A list of two positive whole numbers, least and greatest."""
        numbers = self.items(value, place)
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
        if len(numbers) != 2 or not whole or not 1 <= numbers[0] <= numbers[1]:
            raise self.fail(place, "expected [least, most]")
        return numbers[0], numbers[1]
