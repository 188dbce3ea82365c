"""Groups of nouns, each with lines that fit whatever is said about them.

Where nothing narrower answers a message, a line about what it speaks of shows more than one that fits any
message: 「反対ホームまだ終電あった」 is answered as one about trains. `noun_groups.json` has for each group

    words   the nouns, each in one group only
    lines   character → lines; the slot `it` is the noun that was found

The lines become the pools `noun_<group>`. A noun is found if it is no part of a longer word: signs of the
same script must not surround it, but for a verb (「弁当作った」) or a word that says when (「昨日電車で」). One that
something is compared with, or that something is not, is none (「本がハリネズミになってます」).

Groups of concrete things suit such lines. Those of people, work and occasions were tried, too: two readers
preferred a line that fits any message, 43 to 15, for what is said of people is hardly ever about them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from app.kinds.chat.lines import LineReader, Pools
from app.kinds.chat.message import normalise
from app.kinds.chat.message_kinds import sentences_of
from app.kinds.lazy_pattern import lazily

NOUN_GROUPS_FILE = "noun_groups.json"
NOUN = "noun_"
_MEMBERS = ("words", "lines")
# Characters of a sentence in which nouns are looked for.
_SEARCHED = 100
_SCRIPTS = tuple(map(lazily, ("[一-龥々]", "[ァ-ヶー]", "[a-z]")))
_HIRAGANA = lazily("[ぁ-ゖ]")
# What may stand before and after a word in hiragana.
_PARTICLES = frozenset("はがをにでともの")
_FOLLOWING = _PARTICLES | frozenset("だやかよっね")
# One kanji of a verb or adjective after a noun: 課題出た, not 電車代が nor 母校は.
_VERB = lazily("[一-龥々](?![はがをにでとものへや])[ぁ-ゖ]")
_VERB_AFTER_ONE = lazily(
    "[飼見買食飲着降行来出作切染洗拾持乗売怒描](?![はがをにでとものへや])[ぁ-ゖ]"
)
_COMPARED = lazily("に(?:な|し)|みたい|のよう|っぽ|じゃ|では?な|より")
_WHEN = lazily("[日朝晩夜昼近度週月年回後今]$")


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
                if group and _starts(sentence, start) and _ends(sentence, start, end):
                    return FoundNoun(noun, NOUN + group)
        return None


def _starts(text: str, start: int) -> bool:
    """Whether a word can start there."""
    if not start:
        return True
    before, first = text[start - 1], text[start]
    if _HIRAGANA.match(first):
        return not _HIRAGANA.match(before) or before in _PARTICLES
    return not _same(before, first) or bool(_WHEN.search(text[:start]))


def _ends(text: str, start: int, end: int) -> bool:
    """Whether a word that starts at `start` can end there."""
    after, last = text[end : end + 1], text[end - 1]
    if not after:
        return True
    if _COMPARED.match(text, end):
        return False
    if _HIRAGANA.match(text[start]) and _HIRAGANA.match(last) and _HIRAGANA.match(after):
        return after in _FOLLOWING
    if not _same(last, after):
        return True
    return bool((_VERB if end - start > 1 else _VERB_AFTER_ONE).match(text, end))


def _same(one: str, other: str) -> bool:
    """Whether two signs are of one script, other than hiragana."""
    return any(script.match(one) and script.match(other) for script in _SCRIPTS)


def load_noun_groups(folder: Path, lines: Mapping[str, Pools], times: Iterable[str]) -> NounGroups:
    """Read and check a deck's `noun_groups.json`, and add its pools to `lines`. Raises DeckError."""
    groups: dict[str, str] = {}
    if not (folder / NOUN_GROUPS_FILE).exists():
        return NounGroups(groups)
    reader = LineReader(folder, NOUN_GROUPS_FILE, times)
    for group, raw in reader.object(reader.value, "").items():
        reader.only(raw, group, _MEMBERS)
        for word in map(normalise, reader.strings(reader.member(raw, "words", list, group), group)):
            if groups.setdefault(word, group) != group:
                raise reader.fail(group, f"{word!r} is in the group {groups[word]!r} too")
        own = reader.member(raw, "lines", dict, group)
        reader.known(own, lines, group)
        for character, value in own.items():
            lines[character][NOUN + group] = reader.pool(value, f"{group} {character}")
    return NounGroups(groups)
