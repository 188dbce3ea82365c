"""API keys, which only the service may see."""

from __future__ import annotations

from collections.abc import Iterable

MASK = "***"
# Shorter keys (local servers accept anything, say `x`) would mask half of every sentence.
_LEAST = 4


class Secret:
    """A key that `repr` and formatting do not show."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the client library."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return MASK if self._value else "Secret('')"

    def scrub(self, text: str) -> str:
        """A text without this key."""
        return scrub(text, (self,))


def scrub(text: str, secrets: Iterable[Secret]) -> str:
    """A text without these keys."""
    for secret in secrets:
        value = secret.reveal()
        if len(value) >= _LEAST:
            text = text.replace(value, MASK)
    return text
