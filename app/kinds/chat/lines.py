"""The vetted lines of a deck's characters.

`lines.json` has, for each character and each pool, a list of lines. A pool is named after the
intent that its lines answer. The lines of the pool `fallback` are for messages that nothing else
answers, and those of a pool `fallback_<kind>` for messages of one kind. Lines of a pool `told_<what>` answer
what users tell of themselves, and with `recall_<what>` a character comes back to it. `tone_<tone>` has
lines for messages of a tone that nothing narrower answers, `long_<feeling>` for long ones; those of `echo` are said
before others, see `app.kinds.chat.nouns`, and those of `retold` and `retold_<name>` in their place, see `app.kinds.chat.retelling`. The pools `<topic>.opener` and
`<topic>.<answer>` are those of `topics.json`, see `app.kinds.chat.topics`. The pools in `ASIDES` answer no
message, see `ServedChat.aside`; they need not be there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from app.kinds.chat.care import POOLS, Care, Step
from app.kinds.chat.files import ExpressionReader
from app.kinds.chat.retelling import REPEATING

LINES_FILE = "lines.json"
FALLBACK = "fallback"
# Said while a model writes; for a sticker; for a picture, sound, film, file or place; to a new
# friend; to a group that she has joined.
ASIDES = ("filler", "sticker", "image", "follow", "join")
PLAIN, ANY = "plain", "any"
RECALL, TOLD, TONE, LONG = "recall_", "told_", "tone_", "long_"
KIND = f"{FALLBACK}_"
FREE = (RECALL, TOLD, KIND, TONE, LONG, *REPEATING)
NAME_SLOT = "{name}"
# The words that a line can be given: the user's name, the noun of the message or of what was told (or what
# was asked for directly), what else there is beside it, and what two topics are about.
SLOTS = ("name", "it", "other", "offer_a", "offer_b")
# Those that a message need not have.
_UNSURE = {"name", "it", "other"}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEASONS = ("winter", "spring", "summer", "autumn")


_SLOT = re.compile(r"\{(\w+)\}")
# Between the texts of a pool; a line has no such sign.
_END = "\0"
_ALWAYS: Mapping[str, tuple[str, ...]] = MappingProxyType({})
_NONE: Mapping[int, Line] = MappingProxyType({})


class Moment(NamedTuple):
    """The attributes of a time that lines can depend on: time of day (an id), weekday, season."""

    time: str
    weekday: str
    season: str


class Line(NamedTuple):
    """A line. `when` has the allowed values of attributes of `Moment`; empty if it always fits.

    `asks` is the topic in whose light the answer to the line is read, empty if it asks nothing.
    """

    text: str
    when: Mapping[str, tuple[str, ...]] = _ALWAYS
    asks: str = ""

    @property
    def named(self) -> bool:
        """Whether it contains the user's name."""
        return NAME_SLOT in self.text

    @property
    def slots(self) -> list[str]:
        """The names of its slots."""
        return _SLOT.findall(self.text) if "{" in self.text else []

    @property
    def always(self) -> bool:
        """Whether it always fits, whatever is known of the user and of the message."""
        return not self.when and not _UNSURE & set(self.slots)

    def fits(self, moment: Moment, words: Mapping[str, str]) -> bool:
        """Whether it can be said at this moment, with words for all its slots."""
        if not all(map(words.get, self.slots)):
            return False
        return all(getattr(moment, what) in allowed for what, allowed in self.when.items())


def filled(text: str, words: Mapping[str, str]) -> str:
    """A line's text with words in its slots."""
    for slot, word in words.items():
        text = text.replace(f"{{{slot}}}", word)
    return text


class Lines(Collection[Line]):
    """The lines of a pool, kept as one text and made when they are asked for.

    A deck has 25,000, of which few are said. As objects they took 3 MB more, and a worker that looks at an
    object counts a reference to it, which is to write: after 300 messages it had copied 4 MB more of them.

    `apart` are the lines, by their places, that are more than a text.
    """

    __slots__ = ("_apart", "_texts")

    def __init__(self, texts: Iterable[str] = (), apart: Mapping[int, Line] = _NONE) -> None:
        self._texts = _END.join(texts)
        self._apart = apart

    def __len__(self) -> int:
        return self._texts.count(_END) + 1 if self._texts else 0

    def __iter__(self) -> Iterator[Line]:
        for place, text in enumerate(self._texts.split(_END) if self._texts else ()):
            yield self._apart.get(place) or Line(text)

    def __contains__(self, line: object) -> bool:
        return any(line == own for own in self)

    @property
    def asking(self) -> Iterator[Line]:
        """Those that ask about a topic."""
        return (line for line in self._apart.values() if line.asks)


Pools = dict[str, Lines]


class LineReader(ExpressionReader):
    """Reads lines in a file. `times` are the ids of the times of day."""

    def __init__(self, folder: Path, name: str, times: Iterable[str]) -> None:
        super().__init__(folder, name)
        self._known = {"time": set(times), "weekday": set(WEEKDAYS), "season": set(SEASONS)}

    def lines(self, value: Any, place: str) -> Lines:
        """A list of lines: texts, or objects with the members `text`, `when` and `asks`."""
        texts, apart = list[str](), dict[int, Line]()
        for number, raw in enumerate(self.items(value, place)):
            # Nearly all are plain texts.
            if isinstance(raw, str):
                texts.append(self._checked(raw, place))
            else:
                apart[number] = self._detailed(raw, place)
                texts.append(apart[number].text)
        return Lines(texts, apart or _NONE)

    def pool(self, value: Any, place: str) -> Lines:
        """The lines of a pool, of which one must fit always."""
        found = self.lines(value, place)
        if not any(line.always for line in found):
            raise self.fail(place, "needs a line that fits always, without a name")
        return found

    def _detailed(self, raw: Any, place: str) -> Line:
        text = self.member(raw, "text", str, place)
        self.known(raw, ("text", "when", "asks"), place)
        fits = self._fits(self.object(raw.get("when", {}), f"{place} when"), place)
        return Line(self._checked(text, place), fits or _ALWAYS, str(raw.get("asks", "")))

    def _checked(self, text: str, place: str) -> str:
        if not text.strip() or _END in text:
            raise self.fail(place, "'text' is empty, or has the sign U+0000")
        if "{" in text:
            self.known(_SLOT.findall(text), SLOTS, f"{place}: {text}")
        return self.nfc(text)

    def _fits(self, when: Mapping[str, Any], place: str) -> dict[str, tuple[str, ...]]:
        self.known(when, self._known, f"{place} when")
        return {
            what: tuple(
                sorted(self.known([v] if isinstance(v, str) else v, self._known[what], place))
            )
            for what, v in when.items()
        }


def load_lines(
    folder: Path, characters: Iterable[str], intents: set[str], times: set[str], care: Care | None
) -> dict[str, Pools]:
    """Read and check a deck's `lines.json`. Raises DeckError."""
    reader = LineReader(folder, LINES_FILE, times)
    if FALLBACK in intents:
        raise reader.fail("", f"the id {FALLBACK!r} is no intent's")
    needed = {FALLBACK, *((*POOLS, Step.CRISIS, Step.DOUBT) if care else ())}
    lines: dict[str, Pools] = {}
    characters = list(characters)
    root = reader.object(reader.value, "")
    reader.known(root, characters, "")
    if care and any(isinstance(own, dict) and Step.UNEASY in own for own in root.values()):
        needed.add(Step.UNEASY)
    for character in characters:
        own = reader.member(root, character, dict, "")
        free = {pool for pool in own if pool.startswith(FREE)}
        reader.known(own, intents | needed | free | set(ASIDES), character)
        # An intent without lines is answered as if it were not recognised, and `precompute check`
        # finds it.
        lines[character] = dict.fromkeys((*intents, *ASIDES), Lines())
        for pool in sorted(needed | set(own)):
            value = reader.member(own, pool, list, character)
            read = reader.lines if pool.startswith(REPEATING) else reader.pool
            lines[character][pool] = read(value, f"{character} {pool}")
    return lines
