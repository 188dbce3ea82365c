"""Decisions about stored answers: those of reviewers, and what a deck's own file says of its texts.

A decision is a line of the log like any other: the entry of the answer that it is about (its key,
variant, source, model and time of creation), with the member `decision`. The log stays append-only,
and whoever follows it sees decisions in their order.

    approved   read and found good: no build replaces it
    reopened   an earlier decision about the text is taken back
    edited     a new text, of the source "edited", in the place of another
    rejected   not served; the next build asks for another text
    deleted    not served, and no build asks again; the line has no text, so that `precompute compact`
               leaves none in the log
    withdrawn  not served: a text of the deck's own that its file no longer has; a build may cook another

What is in force for a key and variant follows from its lines in order: a text replaces another if
its source is as good; a text that is approved or edited is better than all that are not; a text that
is rejected, deleted or withdrawn is taken away if it is the one in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from app.store.sources import EDITED

APPROVED, REOPENED = "approved", "reopened"
REJECTED, DELETED, WITHDRAWN = "rejected", "deleted", "withdrawn"
VERDICTS = (APPROVED, REOPENED, EDITED, REJECTED, DELETED, WITHDRAWN)
# The verdicts that take a text away.
GONE = frozenset({REJECTED, DELETED, WITHDRAWN})
# The verdicts after which a text counts as approved.
GOOD = frozenset({APPROVED, EDITED})


class Decision(NamedTuple):
    """What was decided, when (UTC, ISO 8601), and the reviewer's note.

    Of an edited text: `writer` is the source that wrote the text before all edits, `written` when
    that was created; `forced` is the gate's refusal that the owner set aside, empty if there was none.
    """

    verdict: str
    at: str
    note: str = ""
    writer: str = ""
    written: str = ""
    forced: str = ""

    def to_json(self) -> dict[str, str]:
        """The members that are not empty."""
        return {name: value for name, value in self._asdict().items() if value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Decision | None:
        """Parse what `to_json` made, None for None. Raises TypeError and ValueError otherwise."""
        if value is None:
            return None
        decision = cls(**value)
        if decision.verdict not in VERDICTS or not all(isinstance(part, str) for part in decision):
            raise ValueError("the decision is none")
        return decision
