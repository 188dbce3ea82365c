"""Searches many short texts at once, because starting a search takes longer than the search."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

_CONTENT = r"[一-龥々]{2,}|[ァ-ヺー]{2,}"
# The same, and single characters that stand for an image.
CONTENT_WORD = re.compile(
    _CONTENT + "|[光影風空雨水音夜朝街窓扉鍵灯星月土花樹海湯声人夢旅地図足指手椅子]"
)
_SEVERAL = re.compile(_CONTENT)


class Texts:
    """Distinct texts, joined to be searched at once."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = list(dict.fromkeys(texts))
        self._ends = list(itertools.accumulate(len(text) + 1 for text in self._texts))
        self._joined = "\0".join([*self._texts, ""])

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def holding(self, words: Iterable[str]) -> set[str]:
        """The texts that contain one of these words."""
        return {self._texts[number] for word in words if word for number in self._holding(word)}

    def _holding(self, word: str) -> Iterator[int]:
        # Most words are in no text; the vocabulary of the texts can be searched much faster.
        if word not in self._vocabulary and _SEVERAL.fullmatch(word):
            return
        at = self._joined.find(word)
        while at >= 0:
            number = bisect.bisect_right(self._ends, at)
            yield number
            at = self._joined.find(word, self._ends[number])

    def found(self, pattern: re.Pattern[str]) -> Mapping[str, list[str]]:
        """The matches of a pattern, by text."""
        found: dict[str, list[str]] = {text: [] for text in self._texts}
        for match in pattern.finditer(self._joined):
            number = bisect.bisect_right(self._ends, match.start())
            found[self._texts[number]].append(match[0])
        return found

    @cached_property
    def content(self) -> Mapping[str, list[str]]:
        """The content words of each text."""
        return self.found(CONTENT_WORD)

    @cached_property
    def _vocabulary(self) -> str:
        return "\0".join(set(itertools.chain.from_iterable(self.content.values())))
