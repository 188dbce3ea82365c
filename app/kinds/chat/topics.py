"""What a character talks about: questions of hers, and lines for each kind of answer.

`topics.json` has a list of topics for each character:

    id        small letters, digits, underscores
    offer     a noun phrase for "I can talk about …"
    opener    lines that open the topic; a topic without any is only led to by other lines
    expects   what its question asks for, see `app.kinds.chat.answers`
    options   for `choice` two texts; further words for an option follow after a `|`
    about     expressions by which users ask her about it: she answers with the lines of `back`
    answers   lines by kind of answer: what it expects (for `yes_no` yes and no, for `choice` a, b,
              both and neither), `no` (nothing), `unknown`, `back` (the user asks the same), and `other`
              (something else was said: she lets the question go); it may have `good` and `bad` for a
              feeling, and `yes` for other questions (「ある」 to "is there one?")

A line that ends in a question names in `asks` the topic in whose light the next message is read.
The lines become the pools `<topic>.opener` and `<topic>.<answer>` of the character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from app.kinds.chat.lines import LineReader, Pools
from app.kinds.chat.message import normalise
from app.kinds.expressions import Expression, any_of, literal

TOPICS_FILE = "topics.json"
YES_NO, CHOICE, FEELING, OPEN = "yes_no", "choice", "feeling", "open"
OPENER = "opener"
OPTIONS = ("a", "b")
NO, UNKNOWN, BACK, OTHER = "no", "unknown", "back", "other"
_MEMBERS = ("id", "offer", "opener", "expects", "options", "about", "answers")
_ID = re.compile(r"[a-z0-9_]{1,40}")


class Topic(NamedTuple):
    """A topic; `key` is a number for its id, `answers` are the kinds of answers that have lines."""

    id: str
    key: int
    offer: str
    expects: str
    options: tuple[Expression, ...]
    opens: bool
    about: Expression | None
    answers: frozenset[str]

    @property
    def needed(self) -> tuple[str, ...]:
        """The kinds of answers that it must have lines for."""
        if self.expects == YES_NO:
            return ("yes", NO, UNKNOWN, BACK, OTHER)
        if self.expects == CHOICE:
            return (*OPTIONS, "both", "neither", UNKNOWN, BACK, OTHER)
        return (self.expects, NO, UNKNOWN, BACK, OTHER)

    @property
    def further(self) -> tuple[str, ...]:
        """The kinds of answers that it has lines for without needing them."""
        found = ("good", "bad") if self.expects == FEELING else ("yes",)
        return tuple(kind for kind in found if kind in self.answers and kind not in self.needed)

    def pool(self, answer: str) -> str:
        """The name of the pool of lines for a kind of answer."""
        return f"{self.id}.{answer}"


Topics = Mapping[str, Mapping[str, Topic]]


def number(name: str) -> int:
    """A number of 32 bits for an id, never 0: it stays the same if a deck gets further topics."""
    return xxhash.xxh32_intdigest(name.encode()) or 1


def load_topics(
    folder: Path, lines: Mapping[str, Pools], expects: Iterable[str], times: Iterable[str]
) -> Topics:
    """Read and check a deck's `topics.json`, and add its pools to `lines`. Raises DeckError."""
    if not (folder / TOPICS_FILE).exists():
        return {character: {} for character in lines}
    reader = LineReader(folder, TOPICS_FILE, times)
    root = reader.object(reader.value, "")
    topics: dict[str, dict[str, Topic]] = {}
    for character, pools in lines.items():
        topics[character] = {}
        for raw in reader.items(root.get(character, []), character):
            topic, own = _load_topic(reader, raw, character, tuple(expects))
            if topic.id in topics[character]:
                raise reader.fail(f"{character} {topic.id}", "the id stands twice")
            topics[character][topic.id] = topic
            pools.update(own)
        for pool, found in pools.items():
            for line in found.asking:
                if line.asks not in topics[character]:
                    place = f"{character} {pool}"
                    raise reader.fail(place, f"asks {line.asks!r}, which is no topic: {line.text}")
    return topics


def _load_topic(
    reader: LineReader, raw: Any, character: str, expects: tuple[str, ...]
) -> tuple[Topic, Pools]:
    name = reader.member(raw, "id", str, character)
    place = f"{character} {name}"
    reader.only(raw, place, _MEMBERS)
    if not _ID.fullmatch(name):
        raise reader.fail(place, "use 1 to 40 small letters, digits and underscores for an id")
    answers = reader.member(raw, "answers", dict, place)
    options = reader.strings(raw.get("options", []), f"{place} options")
    topic = Topic(
        id=name,
        key=number(name),
        offer=str(raw.get("offer", "")),
        expects=reader.member(raw, "expects", str, place),
        options=tuple(_option(text) for text in options),
        opens=bool(raw.get("opener")),
        about=reader.any(reader.strings(raw.get("about", []), f"{place} about"), place),
        answers=frozenset(answers),
    )
    reader.known([topic.expects], expects, f"{place} expects")
    reader.known(answers, (*topic.needed, *topic.further), f"{place} answers")
    if (len(options) == len(OPTIONS)) != (topic.expects == CHOICE):
        raise reader.fail(place, f"a {CHOICE!r} has two options, and nothing else has any")
    pools = {topic.pool(OPENER): reader.lines(raw["opener"], place)} if topic.opens else {}
    for answer, value in answers.items():
        pools[topic.pool(answer)] = reader.lines(value, f"{place} {answer}")
    return topic, pools


def _option(text: str) -> Expression:
    found = any_of(literal(normalise(word)) for word in text.split("|"))
    assert found
    return found
