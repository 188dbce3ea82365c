"""Takes out of people's messages what may say who they are.

Only patterns are found: addresses, numbers, links, handles, and names before an honorific. A name that
stands alone is not; read the rows before you give them to others. Every replacement is listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_HONORIFIC = "(?:さん|ちゃん|くん|君|さま|様|先輩|先生|たん|っち)"
# In this order: what is found first is not looked at again.
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("link", re.compile(r"https?://[^\s「」、。]+")),
    ("email", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("handle", re.compile(r"(?<![\w@])@\w{2,}")),
    ("phone", re.compile(r"(?<!\d)0\d{1,4}[-(（ ]?\d{1,4}[-)） ]?\d{3,4}(?!\d)")),
    ("postcode", re.compile(r"〒?\d{3}-\d{4}(?!\d)")),
    ("number", re.compile(r"\d{5,}")),
    ("name", re.compile(rf"[一-龥々]{{1,4}}(?={_HONORIFIC})|[ァ-ヺー]{{2,8}}(?={_HONORIFIC})")),
)


class Replaced(NamedTuple):
    """One replacement: the row's id, what it was, and the text that is gone."""

    row: str
    kind: str
    text: str


class Anonymiser:
    """Replaces what may say who somebody is; `known` are names that stay, those of the characters."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        self.replaced: list[Replaced] = []

    def __call__(self, text: str, row: str) -> str:
        """The text with `<kind>` in the place of each find."""
        for kind, pattern in _PATTERNS:
            text = pattern.sub(lambda found, kind=kind: self._instead(found[0], kind, row), text)  # type: ignore[misc]
        return text

    def _instead(self, found: str, kind: str, row: str) -> str:
        if found in self._known:
            return found
        self.replaced.append(Replaced(row, kind, found))
        return f"<{kind}>"
