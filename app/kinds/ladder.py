"""The ladder, the same for every kind of deck: tiers asked in order, the first that can answers.

A tier is a generator: it yields the pieces of its answer as a model writes them (empty ones while it
waits) and returns the answer, or None to pass. What is stored, or made at once, yields nothing: that
is all in which answers that stream and answers that do not differ here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

RequestT = TypeVar("RequestT")
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
AnswerT = TypeVar("AnswerT")
AnswerT_co = TypeVar("AnswerT_co", covariant=True)


class Piece(NamedTuple):
    """Some of a model's answer as it is written; empty while it is waited for."""

    text: str


class Discard(NamedTuple):
    """What was shown of a tier's answer is not the answer: it was refused, or its model failed."""

    tier: str


class Tier(Protocol[RequestT_contra, AnswerT_co]):
    """One step of the ladder. `slow`: it asks a model, which takes seconds."""

    name: str
    slow: bool

    def reply(self, request: RequestT_contra) -> Generator[str, None, AnswerT_co | None]:
        """Pieces as they come; returns the answer, or None to pass."""


class Ladder(Generic[RequestT, AnswerT]):
    """The tiers of one deck, in order."""

    def __init__(self, tiers: Iterable[Tier[RequestT, AnswerT]]) -> None:
        self.tiers = tuple(tiers)

    def climb(self, request: RequestT) -> Generator[Piece | Discard, None, AnswerT | None]:
        """The events of an answer; returns it, or None if every tier passes.

        Closing it stops a model that writes.
        """
        for tier in self.tiers:
            shown = False
            pieces = tier.reply(request)
            try:
                while True:
                    piece = next(pieces)
                    shown = shown or bool(piece)
                    yield Piece(piece)
            except StopIteration as stop:
                answer: AnswerT | None = stop.value
            finally:
                pieces.close()
            if answer is not None:
                return answer
            if shown:
                yield Discard(tier.name)
        return None

    def answer(self, request: RequestT) -> AnswerT | None:
        """The answer when it is whole; None if every tier passes."""
        for tier in self.tiers:
            pieces = tier.reply(request)
            try:
                while True:
                    next(pieces)
            except StopIteration as stop:
                if stop.value is not None:
                    found: AnswerT = stop.value
                    return found
        return None

    def quick(self) -> Ladder[RequestT, AnswerT]:
        """The tiers that answer at once."""
        return Ladder(tier for tier in self.tiers if not tier.slow)

    def before_slow(self) -> Ladder[RequestT, AnswerT]:
        """The tiers before the first that asks a model: what an event loop may ask."""
        slow = next((n for n, tier in enumerate(self.tiers) if tier.slow), len(self.tiers))
        return Ladder(self.tiers[:slow])
