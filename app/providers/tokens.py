"""Estimates how many tokens a text has, for planning; services report what was really used.

Tokenisers differ and are not available offline. With the vocabularies of today, Japanese has about
three tokens in four characters, other text three in ten.
"""

from __future__ import annotations

PER_CHARACTER = 0.75
PER_ASCII_CHARACTER = 0.3


def estimate_tokens(text: str) -> int:
    """The approximate number of tokens of a text."""
    if text.isascii():
        return round(PER_ASCII_CHARACTER * len(text))
    narrow = sum(character < "\x80" for character in text)
    return round(PER_CHARACTER * (len(text) - narrow) + PER_ASCII_CHARACTER * narrow)
