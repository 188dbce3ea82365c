"""Unicode's normal forms C and KC of any text, in linear time.

`unicodedata.normalize` sorts each run of combining marks by insertion: one of 32,000 marks costs 1.5 s,
in which no other thread of the process runs. A real text has a few in a row. So longer runs are cut as
in Unicode's stream-safe format (UAX #15, section 13): after every 30 marks stands a combining grapheme
joiner (U+034F), over which marks are not sorted.
"""

from __future__ import annotations

import re
import unicodedata

_MOST_MARKS, _JOINER = 30, "\u034f"
# No mark is a letter or a digit, so that most texts are not looked at further. A mark can stand for
# two.
_NO_LETTERS = re.compile(rf"\W{{{_MOST_MARKS // 2 + 1},}}")


def nfc(text: str) -> str:
    """A text in normal form C."""
    return text if text.isascii() else unicodedata.normalize("NFC", _stream_safe(text))


def is_nfc(text: str) -> bool:
    """Whether a text is in normal form C already; its runs of marks are not looked at."""
    return unicodedata.is_normalized("NFC", text)


def nfkc(text: str) -> str:
    """A text in normal form KC."""
    return text if text.isascii() else unicodedata.normalize("NFKC", _stream_safe(text))


def _stream_safe(text: str) -> str:
    return _NO_LETTERS.sub(_cut, text)


def _cut(found: re.Match[str]) -> str:
    signs: list[str] = []
    marks = 0
    for sign in found.group():
        new = len(unicodedata.normalize("NFD", sign)) if unicodedata.combining(sign) else 0
        if marks + new > _MOST_MARKS:
            signs.append(_JOINER)
            marks = 0
        marks = marks + new if new else 0
        signs.append(sign)
    return "".join(signs)
