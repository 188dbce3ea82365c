"""The things of a character's world, about which she can be asked.

`things.json` has a list of things for each character:

    id       small letters, digits, underscores
    words    texts by which it is called
    shy      whether it has so common a word that naming it is not yet asking about hers
    avoids   whether she does not like it, so that she chooses something else
    lines    lines by kind of question: `plain` for any, and what, who, why, when, where, how, which
             and `yes` (is it so?), as `conversation.json` recognises them

The lines become the pools `thing:<id>.<kind>` of the character. A thing is active after a line of
hers that names it: a short question is then about it, although it does not say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from app.kinds.chat.lines import LineReader, Pools
from app.kinds.chat.message import normalise_all
from app.kinds.chat.topics import number
from app.kinds.chat.word_borders import whole

THINGS_FILE = "things.json"
PLAIN, YES = "plain", "yes"
# In the order in which they are tried: 「〜って名前、誰がつけたの？」 asks who.
QUESTIONS = ("who", "why", "when", "where", "how", "which", "what", YES)
THING = "thing:"
_MEMBERS = ("id", "words", "shy", "avoids", "lines")
_ID = re.compile(r"[a-z0-9_]{1,40}")


class Thing(NamedTuple):
    """A thing; `key` is a number for its id, `kinds` are the kinds of questions that have lines."""

    id: str
    key: int
    words: tuple[str, ...]
    shy: bool
    avoids: bool
    kinds: frozenset[str]

    def pools(self, question: str) -> tuple[str, ...]:
        """The pools of lines for a kind of question, the best first."""
        kinds = dict.fromkeys((question, PLAIN) if question in self.kinds else (PLAIN,))
        return tuple(f"{THING}{self.id}.{kind}" for kind in kinds)


class Things:
    """The things of a character."""

    def __init__(self, things: Iterable[Thing] = ()) -> None:
        self.all = tuple(things)
        words = ((word, thing) for thing in self.all for word in thing.words)
        self._words = sorted(words, key=lambda pair: -len(pair[0]))

    def named(self, text: str) -> list[Thing]:
        """The things that a text names, those with the longest words first."""
        return list(dict.fromkeys(thing for word, thing in self._words if whole(word, text)))


def load_things(folder: Path, lines: Mapping[str, Pools], times: set[str]) -> Mapping[str, Things]:
    """Read and check a deck's `things.json`, and add its pools to `lines`. Raises DeckError."""
    if not (folder / THINGS_FILE).exists():
        return dict.fromkeys(lines, Things())
    reader = LineReader(folder, THINGS_FILE, times)
    root = reader.object(reader.value, "")
    things: dict[str, Things] = {}
    for character, pools in lines.items():
        found: dict[str, Thing] = {}
        for raw in reader.items(root.get(character, []), character):
            name = reader.member(raw, "id", str, character)
            place = f"{character} {name}"
            reader.only(raw, place, _MEMBERS)
            if not _ID.fullmatch(name) or name in found:
                raise reader.fail(place, "use an id of small letters, digits and underscores, once")
            own = reader.member(raw, "lines", dict, place)
            reader.known(own, (PLAIN, *QUESTIONS), place)
            reader.member(own, PLAIN, list, place)
            words = tuple(normalise_all(reader.strings(raw.get("words"), place)))
            if not words:
                raise reader.fail(place, "has no words")
            shy, avoids = bool(raw.get("shy")), bool(raw.get("avoids"))
            found[name] = Thing(name, number(name), words, shy, avoids, frozenset(own))
            for kind, value in own.items():
                pools[f"{THING}{name}.{kind}"] = reader.lines(value, f"{place} {kind}")
        things[character] = Things(found.values())
    return things
