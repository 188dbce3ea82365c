"""The order of sources, which decides which of two entries of one key is served."""

from __future__ import annotations

from collections.abc import Sequence

# Sources, best first.
DEFAULT_ORDER = ("gemini", "gemini-legacy", "openai", "written", "ollama", "composer")


# The source of texts that a reviewer wrote, and the word for those that one approved: whatever the
# order, no other source is as good.
EDITED, REVIEWED = "edited", "reviewed"


def rank(order: Sequence[str], source: str) -> int:
    """The place of a source in the order, 0 the best; a source that is not in it comes last."""
    if source in (EDITED, REVIEWED):
        return -1
    return order.index(source) if source in order else len(order)


def is_as_good(order: Sequence[str], source: str, other: str) -> bool:
    """Whether an entry of a source replaces an older one of `other`."""
    return rank(order, source) <= rank(order, other)
