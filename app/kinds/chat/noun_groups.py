"""Groups of nouns, each with lines that fit whatever is said about them.

Where nothing narrower answers a message, a line about what it speaks of shows more than one that fits any
message: 「反対ホームまだ終電あった」 is answered as one about trains. `noun_groups.json` has for each group

    words   the nouns, each in one group only
    lines   character → lines; the slot `it` is the noun that was found

The lines become the pools `noun_<group>`. A noun is found if it is no part of a longer word: signs of the
same script must not surround it, but for a verb (「弁当作った」) or a word that says when (「昨日電車で」). One that
something is compared with, or that something is not, is none (「本がハリネズミになってます」).

Groups of concrete things suit such lines. Those of people, work and occasions were tried, too: readers
preferred a line that fits any message, for what is said of people is hardly ever about them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from app.kinds.chat.lines import LineReader, Pools
from app.kinds.chat.message import normalise_all
from app.kinds.chat.message_kinds import sentences_of
from app.kinds.chat.word_borders import ends, starts
from app.kinds.lazy_pattern import lazily

NOUN_GROUPS_FILE = "noun_groups.json"
NOUN = "noun_"
_MEMBERS = ("words", "lines")
# Characters of a sentence in which nouns are looked for.
_SEARCHED = 100
_COMPARED = lazily("に(?:な|し)|みたい|のよう|っぽ|じゃ|では?な|より")


class FoundNoun(NamedTuple):
    """A noun of a message, and the pool of lines about it."""

    noun: str
    pool: str


class NounGroups:
    """The nouns of a deck by group."""

    def __init__(self, groups: Mapping[str, str]) -> None:
        self._groups = groups
        self._longest = max(map(len, groups), default=0)

    def found(self, text: str) -> FoundNoun | None:
        """The last noun of the last sentence that has one; `text` is as `Hearing.text` gives it."""
        sentences = reversed(sentences_of(text))
        return next(filter(None, map(self._last, sentences)), None)

    def _last(self, sentence: str) -> FoundNoun | None:
        sentence = sentence[-_SEARCHED:]
        for end in range(len(sentence), 0, -1):
            for start in range(max(0, end - self._longest), end):
                noun = sentence[start:end]
                group = self._groups.get(noun)
                if group and _is_noun(sentence, start, end):
                    return FoundNoun(noun, NOUN + group)
        return None


def _is_noun(text: str, start: int, end: int) -> bool:
    return starts(text, start) and ends(text, start, end) and not _COMPARED.match(text, end)


def load_noun_groups(folder: Path, lines: Mapping[str, Pools], times: Iterable[str]) -> NounGroups:
    """Read and check a deck's `noun_groups.json`, and add its pools to `lines`. Raises DeckError."""
    groups: dict[str, str] = {}
    if not (folder / NOUN_GROUPS_FILE).exists():
        return NounGroups(groups)
    reader = LineReader(folder, NOUN_GROUPS_FILE, times)
    for group, raw in reader.object(reader.value, "").items():
        reader.only(raw, group, _MEMBERS)
        for word in normalise_all(reader.strings(reader.member(raw, "words", list, group), group)):
            if groups.setdefault(word, group) != group:
                raise reader.fail(group, f"{word!r} is in the group {groups[word]!r} too")
        own = reader.member(raw, "lines", dict, group)
        reader.known(own, lines, group)
        for character, value in own.items():
            lines[character][NOUN + group] = reader.pool(value, f"{group} {character}")
    return NounGroups(groups)
