"""Intents that are recognised by examples alone, and their lines.

Expressions suit what people say in few ways. What they tell of their day has thousands of wordings. The
files of a deck's folder `intents` have `FILE_MEMBERS`; an intent has `MEMBERS`. `python -m precompute.learn.classifier` learns from them; serving needs ids and lines only, so that
patterns are not read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.lines import LineReader, Lines

INTENTS_FOLDER = "intents"
# The members of a file of the folder and of an intent in it, with what they mean.
FILE_MEMBERS: Mapping[str, str] = {
    "blocks": "names → words, parted by `|`, that patterns name as `{NAME}`",
    "acts": "`true`: what they say does something (asks, answers, takes leave), and no tone takes its place",
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
    """An intent with its examples, and its lines by character."""

    id: str
    name: str
    said: tuple[str, ...]
    not_said: tuple[str, ...]
    declines: bool
    acts: bool
    lines: Mapping[str, Lines]


def load_by_example(folder: Path, times: Iterable[str]) -> Mapping[str, ByExample]:
    """The intents of a deck's folder `intents` by id; none if there is no folder.

    `times` are the ids of the times of day. Raises DeckError.
    """
    found: dict[str, ByExample] = {}
    for path in sorted((folder / INTENTS_FOLDER).glob("*.json")):
        reader = LineReader(folder, f"{INTENTS_FOLDER}/{path.name}", times)
        reader.only(reader.value, "", FILE_MEMBERS)
        for number, raw in enumerate(reader.member(reader.value, "intents", list, ""), 1):
            intent = _load(reader, raw, f"intent {number}", acts=bool(reader.value.get("acts")))
            if intent.id in found:
                raise reader.fail(f"intent {number}", f"the id {intent.id!r} is taken")
            found[intent.id] = intent
    return found


def _load(reader: LineReader, raw: Any, place: str, *, acts: bool) -> ByExample:
    reader.only(raw, place, MEMBERS)
    name = reader.member(raw, "id", str, place)
    return ByExample(
        id=name,
        name=str(raw.get("name", name)),
        said=reader.strings(reader.member(raw, "said", list, place), f"{place} said"),
        not_said=reader.strings(raw.get("not_said", []), f"{place} not_said"),
        declines=bool(raw.get("declines")),
        acts=acts,
        lines=_lines(reader, reader.member(raw, "lines", dict, place), name),
    )


def _lines(reader: LineReader, raw: Any, place: str) -> dict[str, Lines]:
    return {
        character: reader.pool(value, f"{place} {character}") for character, value in raw.items()
    }
