"""The order of sources: which of two entries of the same key is served."""

from __future__ import annotations

from collections.abc import Sequence

# Sources, best first.
DEFAULT_ORDER = ("gemini", "gemini-legacy", "openai", "written", "ollama", "composer")


def rank(order: Sequence[str], source: str) -> int:
    """The place of a source, from 0, the best; one that is not in the order comes after all."""
    return order.index(source) if source in order else len(order)


def is_as_good(order: Sequence[str], source: str, other: str) -> bool:
    """Whether an entry of a source replaces an older one of `other`."""
    return rank(order, source) <= rank(order, other)
