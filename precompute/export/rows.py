"""Rows of a data set, before they are written in the form of a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from app.store.key import Query

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"


class Message(NamedTuple):
    """One message of a conversation; `role` is one of system, user and assistant."""

    role: str
    content: str

    def message(self) -> dict[str, str]:
        """The message as chat templates expect it."""
        return {"role": self.role, "content": self.content}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text came from: an entry's source and model, its licence, its votes up and down.

    `edited_from` is the source of the text that a reviewer edited, empty if nobody did.
    """

    source: str
    model: str
    licence: str
    votes: tuple[int, int] = (0, 0)
    edited_from: str = ""

    def metadata(self) -> dict[str, Any]:
        """For a row's metadata."""
        up, down = self.votes
        return {
            "source": self.source,
            **({"edited_from": self.edited_from} if self.edited_from else {}),
            "model": self.model,
            "licence": self.licence,
            "votes": {"up": up, "down": down},
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation whose last turn is to be learned.

    Rows of one `group` (the plays of a hand, the variants of a query, the answers to a message) stay
    on one side of a split. `query` and `response` are what the gate judges; a `vetted` text is part
    of the deck, and `precompute check` judges it. `about` is further metadata: topics, emotions,
    affection_level.
    """

    id: str
    group: str
    turns: tuple[Message, ...]
    query: Query
    response: Mapping[str, str]
    origin: Origin
    about: Mapping[str, Any] = field(default_factory=dict)
    vetted: bool = False

    @property
    def prompt(self) -> tuple[Message, ...]:
        """All turns but the last."""
        return self.turns[:-1]

    @property
    def earlier(self) -> tuple[Message, ...]:
        """What was said before the last message."""
        return tuple(turn for turn in self.turns[:-2] if turn.role != SYSTEM)

    @property
    def answer(self) -> str:
        """The text to be learned."""
        return self.turns[-1].content

    def metadata(self) -> dict[str, Any]:
        """Source, licence, votes and topics; the query, by which the gate judges other answers."""
        about = {**self.origin.metadata(), **self.about}
        return {"id": self.id, **about, "query": self.query.to_json()}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt, of which `chosen` is preferred.

    `because` is why: "votes", "edited", "refused: <checks>" or "judge".
    """

    id: str
    group: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    because: str
    origin: Origin

    def metadata(self) -> dict[str, Any]:
        return {"id": self.id, "because": self.because, **self.origin.metadata()}


Item = Row | Pair
