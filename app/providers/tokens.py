"""How many tokens a text has, near enough to plan with. What was used comes back from the service.

Tokenisers differ and none of theirs is at hand offline; Japanese has about three tokens to four
characters with the vocabularies of today, other text about three to ten.
"""

from __future__ import annotations

PER_CHARACTER = 0.75
PER_ASCII_CHARACTER = 0.3


def estimate_tokens(text: str) -> int:
    """About so many tokens."""
    if text.isascii():
        return round(PER_ASCII_CHARACTER * len(text))
    narrow = sum(character < "\x80" for character in text)
    return round(PER_CHARACTER * (len(text) - narrow) + PER_ASCII_CHARACTER * narrow)
