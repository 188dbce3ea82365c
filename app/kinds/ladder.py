"""The ladder: tiers are asked in order until one answers, in the same way for every kind of deck.

A tier's `reply` is a generator: it yields the chunks of its answer as a model writes them (empty
ones while it waits) and returns the answer, or None if it has none. Tiers that do not ask a model
yield nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

RequestT = TypeVar("RequestT")
RequestT_contra = TypeVar("RequestT_contra", contravariant=True)
AnswerT = TypeVar("AnswerT")
AnswerT_co = TypeVar("AnswerT_co", covariant=True)


ReturnT = TypeVar("ReturnT")


def returned(generator: Generator[object, None, ReturnT]) -> ReturnT:
    """What a generator returns when it has ended; what it yields is dropped."""
    try:
        while True:
            next(generator)
    except StopIteration as stop:
        value: ReturnT = stop.value
        return value


class Delta(NamedTuple):
    """A chunk of a model's answer; empty while the model is waited for."""

    text: str


class Discard(NamedTuple):
    """Takes back the chunks of a tier's answer: it was refused, or its model failed."""

    tier: str


class Tier(Protocol[RequestT_contra, AnswerT_co]):
    """One step of the ladder. `slow` is whether it asks a model, which takes seconds."""

    name: str
    slow: bool

    def reply(self, request: RequestT_contra) -> Generator[str, None, AnswerT_co | None]:
        """The chunks of an answer; returns the answer, or None if this tier has none."""


class Ladder(Generic[RequestT, AnswerT]):
    """The tiers of one deck, in order."""

    def __init__(self, tiers: Iterable[Tier[RequestT, AnswerT]]) -> None:
        self.tiers = tuple(tiers)

    def climb(self, request: RequestT) -> Generator[Delta | Discard, None, AnswerT | None]:
        """The events of an answer; returns the answer, or None if no tier has one.

        Closing the generator stops the model.
        """
        for tier in self.tiers:
            shown = False
            chunks = tier.reply(request)
            try:
                while True:
                    chunk = next(chunks)
                    shown = shown or bool(chunk)
                    yield Delta(chunk)
            except StopIteration as stop:
                answer: AnswerT | None = stop.value
            finally:
                chunks.close()
            if answer is not None:
                return answer
            if shown:
                yield Discard(tier.name)
        return None

    def answer(self, request: RequestT) -> AnswerT | None:
        """The answer, once it is complete; None if no tier has one."""
        return returned(self.climb(request))

    def quick(self) -> Ladder[RequestT, AnswerT]:
        """A ladder of the tiers that ask no model."""
        return Ladder(tier for tier in self.tiers if not tier.slow)
