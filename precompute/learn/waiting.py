"""Answers that models gave at the event and that wait in the ledger: a build takes them into the store,
and a review shows them before.

What a kind of deck has left in the ledger, `Cooking.learned` says.
"""

from __future__ import annotations

from collections.abc import Iterable

from app.store.entry import Entry

# The member of a learned answer of a chat with the message in the user's spelling, which is no part
# of the text.
ASKED = "asked"


def is_waiting(entry: Entry, rejected: Iterable[Entry], *, stored: bool) -> bool:
    """Whether a learned answer waits for a build or a reviewer.

    `rejected` are the texts that a reviewer rejected for the same name, `stored` says whether the
    store has a text for it that no build need cook.
    """
    return not stored and _texts(entry) not in map(_texts, rejected)


def _texts(entry: Entry) -> dict[str, str]:
    return {name: text for name, text in entry.response.items() if name != ASKED}
