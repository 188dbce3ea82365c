"""A model with all that stands between it and an answer: a place, a rest after failures, a deadline."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from app.errors import ModelFaultError
from app.kinds.refusal import Refusal
from app.providers.guards import Breaker
from app.providers.relay import Ask, ChatModel, Finish, ReplyLimit, relay

# Notes why a tier passed: tier, what stopped it (guard, fault, gate), the reason.
Noter = Callable[[str, str, str], None]
# Judges what is written so far: only what more cannot mend.
Judge = Callable[[str], Refusal | None]


ReturnT = TypeVar("ReturnT")


def hidden(pieces: Generator[str, None, ReturnT]) -> Generator[str, None, ReturnT]:
    """The same with empty pieces: what is written cannot be shown before it is whole."""
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
    """A reply that was written to its end: its text, and its bill."""

    text: str
    finish: Finish


class Engine(NamedTuple):
    """A model and its guards. One for each model and worker."""

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
        """The pieces of a reply; returns it, or None if it failed or was refused, which is noted.

        `judge` is asked after each piece. `billed` is told of what is paid for, cut replies too.
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
