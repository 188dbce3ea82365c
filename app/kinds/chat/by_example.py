"""Intents that are recognised by examples alone, and their lines.

Expressions find what is said in few ways; what people tell of their day is said in thousands. Each
file of a deck's folder `intents` is a domain of life, see `FILE_MEMBERS`; an intent has `MEMBERS`.
`python -m precompute.learn.classifier` learns from them; serving needs ids and lines only, so that
patterns are not read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.lines import MORE, Line, LineReader

INTENTS_FOLDER = "intents"
# The members of a file of the folder and of an intent in it, with what they mean.
FILE_MEMBERS: Mapping[str, str] = {
    "blocks": "names → words, parted by `|`, that patterns name as `{NAME}`",
    "more": "character → lines for a message that goes on about the domain and has no intent",
    "intents": "the intents, see below",
}
MEMBERS: Mapping[str, str] = {
    "id": "its name; none of `intents.json`",
    "name": "what such a message says, for people",
    "said": "messages that mean it",
    "not_said": "messages that sound like it and mean something else",
    "patterns": "patterns of further messages: `(a|b)` is one of them, `{NAME}` a word of a block",
    "declines": "`true`: the lines only decline; where a model is asked, it is asked first",
    "lines": "character → lines, as in `lines.json`",
}


class ByExample(NamedTuple):
    """An intent with its examples, and its lines by character. `domain` is the name of its file."""

    domain: str
    id: str
    name: str
    said: tuple[str, ...]
    not_said: tuple[str, ...]
    declines: bool
    lines: Mapping[str, tuple[Line, ...]]


class Domains(NamedTuple):
    """What a deck's folder `intents` has: intents by id, further lines by domain and character."""

    intents: Mapping[str, ByExample]
    more: Mapping[str, Mapping[str, tuple[Line, ...]]]

    def pools(self) -> Iterator[tuple[str, str, tuple[Line, ...]]]:
        """Every character, name of a pool, and its lines."""
        for intent in self.intents.values():
            for character, lines in intent.lines.items():
                yield character, intent.id, lines
        for domain, more in self.more.items():
            for character, lines in more.items():
                yield character, MORE + domain, lines


def load_by_example(folder: Path, times: Iterable[str]) -> Domains:
    """What the files of a deck's folder `intents` have; nothing if there is no folder.

    `times` are the ids of the times of day. Raises DeckError.
    """
    found: dict[str, ByExample] = {}
    more = {}
    for path in sorted((folder / INTENTS_FOLDER).glob("*.json")):
        reader = LineReader(folder, f"{INTENTS_FOLDER}/{path.name}", times)
        reader.only(reader.value, "", FILE_MEMBERS)
        further = reader.member({"more": {}, **reader.value}, "more", dict, "")
        more[path.stem] = _lines(reader, further, "more")
        for number, raw in enumerate(reader.member(reader.value, "intents", list, ""), 1):
            intent = _load(reader, raw, path.stem, f"intent {number}")
            if intent.id in found:
                raise reader.fail(f"intent {number}", f"the id {intent.id!r} is taken")
            found[intent.id] = intent
    return Domains(found, more)


def _load(reader: LineReader, raw: Any, domain: str, place: str) -> ByExample:
    reader.only(raw, place, MEMBERS)
    name = reader.member(raw, "id", str, place)
    return ByExample(
        domain=domain,
        id=name,
        name=str(raw.get("name", name)),
        said=reader.strings(reader.member(raw, "said", list, place), f"{place} said"),
        not_said=reader.strings(raw.get("not_said", []), f"{place} not_said"),
        declines=bool(raw.get("declines")),
        lines=_lines(reader, reader.member(raw, "lines", dict, place), name),
    )


def _lines(reader: LineReader, raw: Any, place: str) -> dict[str, tuple[Line, ...]]:
    return {
        character: reader.pool(value, f"{place} {character}") for character, value in raw.items()
    }
