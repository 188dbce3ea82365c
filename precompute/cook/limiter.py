"""Rate limits: so many requests and so many tokens in any minute, no more, and hardly fewer.

The limit is kept exactly, over every stretch of a minute, from the times of the requests of the last
minute. (A leaky bucket of a minute's size lets twice the rate through in its first minute; one
that is small enough not to wastes what a slow reply leaves unused.) Nothing ticks: whoever asks is
told when it is its turn and sleeps until then.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from precompute.cook.clock import Clock

# The service counts when a request arrives, we when it leaves: a little more than a minute keeps
# requests that the network has pushed together within the limit. 60/60.5 is 99.2 % of the rate.
WINDOW = 60.5


@dataclass
class Slot:
    """A place in the minute: when it begins, and the tokens that it is thought, or known, to take."""

    start: float
    tokens: float


# In a minute, if --rpm and --tpm say nothing. Careful rather than fast: what a service allows differs by
# tier, and it tells by refusing.
REQUESTS, TOKENS = 60, 250_000


class Limiter:
    """Gives out turns. For use by several threads."""

    def __init__(
        self, clock: Clock, requests: float, tokens: float, window: float = WINDOW
    ) -> None:
        self._clock = clock
        self._requests = int(requests)
        self._tokens = tokens
        self._window = window
        self._lock = threading.Lock()
        self._slots: deque[Slot] = deque()
        self._held_until = float("-inf")

    def acquire(self, tokens: float = 0.0) -> Slot:
        """Wait for a turn. A request that is larger than a minute's tokens waits for an empty one."""
        with self._lock:
            now = self._clock.now()
            self._forget(now)
            last = self._slots[-1].start if self._slots else now
            slot = Slot(max(now, last, self._held_until, self._free_at(tokens)), tokens)
            self._slots.append(slot)
        self._wait(slot)
        return slot

    def _forget(self, now: float) -> None:
        while self._slots and self._slots[0].start <= now - self._window:
            self._slots.popleft()

    def _free_at(self, tokens: float) -> float:
        """When enough of the slots are a minute old."""
        requests = len(self._slots)
        used = sum(slot.tokens for slot in self._slots)
        free = float("-inf")
        for slot in self._slots:
            if requests < self._requests and (used + tokens <= self._tokens or not used):
                break
            free = slot.start + self._window
            requests -= 1
            used -= slot.tokens
        return free

    def _wait(self, slot: Slot) -> None:
        while True:
            with self._lock:
                # A hold that came while it slept has put its turn off.
                left = slot.start - self._clock.now()
            if left <= 0:
                return
            before = self._clock.now()
            self._clock.sleep(left)
            if self._clock.now() - before < left / 2:
                return  # Woken: the run is over, and whoever asked looks after that.

    def settle(self, slot: Slot, tokens: float) -> None:
        """Say what a request really took."""
        with self._lock:
            slot.tokens = tokens

    def hold(self, seconds: float) -> None:
        """The service asked for a pause: no turn begins before it is over.

        All turns that are waited for are put off by as much as the first of them: if each began when
        the pause is over, more would begin at once than a minute allows.
        """
        with self._lock:
            now = self._clock.now()
            self._held_until = max(self._held_until, now + seconds)
            waiting = [slot for slot in self._slots if slot.start > now]
            late = self._held_until - waiting[0].start if waiting else 0.0
            for slot in waiting:
                slot.start += max(0.0, late)
