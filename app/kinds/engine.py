"""A model with its guards: a limit of replies at a time, a circuit breaker, a deadline."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from app.errors import ModelFaultError
from app.kinds.refusal import Refusal
from app.providers.guards import Breaker
from app.providers.relay import Ask, ChatModel, Finish, ReplyLimit, relay

# Notes why a tier gave no answer: tier, what stopped it (guard, fault, gate), the reason.
Noter = Callable[[str, str, str], None]
# Judges an incomplete text: refuses it only for what later text cannot correct.
Judge = Callable[[str], Refusal | None]


ReturnT = TypeVar("ReturnT")


def hidden(pieces: Generator[str, None, ReturnT]) -> Generator[str, None, ReturnT]:
    """The same with each piece empty, for a text that must not be shown before it is complete."""
    try:
        while True:
            next(pieces)
            yield ""
    except StopIteration as stop:
        returned: ReturnT = stop.value
        return returned
    finally:
        pieces.close()


class Written(NamedTuple):
    """A complete reply: its text, and the model and tokens to bill."""

    text: str
    finish: Finish


class Engine(NamedTuple):
    """A model and its guards. `clock` gives seconds."""

    model: ChatModel
    limit: ReplyLimit
    breaker: Breaker
    note: Noter
    clock: Callable[[], float]

    def write(
        self,
        tier: str,
        ask: Ask,
        judge: Judge | None = None,
        billed: Callable[[Finish], None] | None = None,
    ) -> Generator[str, None, Written | None]:
        """The pieces of a reply; returns the reply, or None if it failed or was refused.

        The reason for None is noted under `tier`. `judge` judges the text after each piece.
        `billed` is called with the tokens of a finished reply, even if it was cut at the limit.
        """
        if self.breaker.open:
            self.note(tier, "guard", "resting")
            return None
        text = ""
        pieces = relay(self.model, ask, self.limit, self.clock)
        try:
            for piece in pieces:
                if isinstance(piece, Finish):
                    self.breaker.worked()
                    if billed:
                        billed(piece)
                    return self._whole(tier, text.strip(), piece)
                text += piece
                refusal = judge(text.strip()) if judge and piece else None
                if refusal:
                    self.note(tier, "gate", refusal.check)
                    return None
                yield piece
        except ModelFaultError as fault:
            self._faulted(tier, fault)
        finally:
            pieces.close()
        return None

    def _whole(self, tier: str, text: str, finish: Finish) -> Written | None:
        if finish.cut:
            self.note(tier, "gate", "cut_short")
            return None
        return Written(text, finish)

    def _faulted(self, tier: str, fault: ModelFaultError) -> None:
        guarded = fault.reason in ("busy", "no_memory")
        self.note(tier, "guard" if guarded else "fault", fault.reason)
        if not guarded:
            self.breaker.failed()
