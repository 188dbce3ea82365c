"""A model with its guards: a limit of replies at a time, a circuit breaker, a deadline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Hashable
from typing import NamedTuple, TypeVar

from app.errors import ModelFaultError
from app.kinds.refusal import Refusal
from app.providers.guards import Breaker
from app.providers.relay import Ask, ChatModel, Finish, ReplyLimit, SharedReplies

log = logging.getLogger(__name__)

# Notes why a tier gave no answer: tier, what stopped it (guard, fault, gate), the reason.
Noter = Callable[[str, str, str], None]
# The first refusal of a text, None if there is none.
Judge = Callable[[str], Refusal | None]


ReturnT = TypeVar("ReturnT")


def hidden(chunks: Generator[str, None, ReturnT]) -> Generator[str, None, ReturnT]:
    """The same with each chunk empty, for a text that must not be shown before it is complete."""
    try:
        while True:
            next(chunks)
            yield ""
    except StopIteration as stop:
        returned: ReturnT = stop.value
        return returned
    finally:
        chunks.close()


class Judges(NamedTuple):
    """Judge a reply: `part` while it is written, for what later text cannot correct; `whole`."""

    part: Judge = lambda _: None
    whole: Judge = lambda _: None


NO_JUDGES = Judges()


class Written(NamedTuple):
    """A complete reply: its text, and the model and tokens to bill."""

    text: str
    finish: Finish


class Engine(NamedTuple):
    """A model and its guards. `clock` gives seconds.

    `replies` are those that are being written: requests with the same key share one.
    """

    model: ChatModel
    limit: ReplyLimit
    breaker: Breaker
    replies: SharedReplies
    note: Noter
    clock: Callable[[], float]

    def write(
        self,
        tier: str,
        ask: Ask,
        key: Hashable,
        judges: Judges = NO_JUDGES,
        billed: Callable[[Finish], None] | None = None,
    ) -> Generator[str, None, Written | None]:
        """The chunks of a reply; returns the reply, or None if it failed or was refused.

        The reason for None is noted under `tier`. `key` is what makes two requests the same: they
        get one reply if they are asked at the same time, and none if the gate refused it a short
        time ago. `billed` is called with the tokens of a finished reply, even if it was cut at the
        limit, once for all requests that share it.
        """
        if self.breaker.open:
            self.note(tier, "guard", "resting")
            return None
        if self.refused_before(tier, key):
            return None
        text = ""
        chunks = self.replies.relay(self.model, ask, self.limit, key)
        try:
            for chunk in chunks:
                if isinstance(chunk, Finish):
                    return self._whole(tier, key, Written(text.strip(), chunk), judges, billed)
                text += chunk
                if chunk and self._refused(tier, key, judges.part, text.strip()):
                    return None
                yield chunk
        except ModelFaultError as fault:
            self._faulted(tier, fault)
        finally:
            chunks.close()
        return None

    def refused_before(self, tier: str, key: Hashable) -> bool:
        """Whether the gate refused the reply to a request a short time ago, as noted."""
        check = self.replies.refused.get(key)
        if check:
            self.note(tier, "gate", check)
        return check is not None

    def refuse(self, tier: str, key: Hashable, check: str) -> None:
        """Note that the gate refused a reply, so that it is not asked for again at once."""
        self.note(tier, "gate", check)
        self.replies.refused.put(key, check)

    def _whole(
        self,
        tier: str,
        key: Hashable,
        written: Written,
        judges: Judges,
        billed: Callable[[Finish], None] | None,
    ) -> Written | None:
        self.breaker.worked()
        if billed and not written.finish.shared:
            billed(written.finish)
        if written.finish.cut:
            self.refuse(tier, key, "cut_short")
            return None
        return None if self._refused(tier, key, judges.whole, written.text) else written

    def _refused(self, tier: str, key: Hashable, judge: Judge, text: str) -> bool:
        """Whether a text is refused, as noted; one that cannot be judged is refused too."""
        try:
            refusal = judge(text)
        except Exception:  # a fault of the gate must not end the answer: the next tier gives one
            log.exception("the gate failed")
            self.note(tier, "fault", "gate")
            return True
        if refusal:
            self.refuse(tier, key, refusal.check)
        return bool(refusal)

    def _faulted(self, tier: str, fault: ModelFaultError) -> None:
        guarded = fault.reason in ("busy", "no_memory")
        self.note(tier, "guard" if guarded else "fault", fault.reason)
        if not guarded and not fault.shared:
            self.breaker.failed()
