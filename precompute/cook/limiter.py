"""Rate limits: requests and tokens in any minute (a sliding window).

The limits hold exactly over every interval of a minute, computed from the times of the requests of
the last minute. (A leaky bucket of a minute's size allows twice the rate in its first minute; a
smaller one wastes what slow replies leave unused.) Callers sleep until their reserved time.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from precompute.cook.clock import Clock

# Seconds. Services count requests when they arrive, we when they leave: a little more than a minute
# allows for delays in the network. 60/60.5 is 99.2 % of the rate.
WINDOW = 60.5


@dataclass
class Reservation:
    """A request in the window: when it may begin, and its tokens, estimated or known."""

    start: float
    tokens: float


# Limits for a minute without --rpm and --tpm. They are low, because those of services differ by
# tier, and a service shows its own only by refusing.
REQUESTS, TOKENS = 60, 250_000


class Limiter:
    """Limits requests and tokens in `window` seconds. For use by several threads."""

    def __init__(
        self, clock: Clock, requests: float, tokens: float, window: float = WINDOW
    ) -> None:
        self._clock = clock
        self._requests = int(requests)
        self._tokens = tokens
        self._window = window
        self._lock = threading.Lock()
        self._reserved: deque[Reservation] = deque()
        self._held_until = float("-inf")

    def acquire(self, tokens: float = 0.0) -> Reservation:
        """Wait until a request may begin; one above the limit of tokens needs an empty window."""
        with self._lock:
            now = self._clock.now()
            self._forget(now)
            last = self._reserved[-1].start if self._reserved else now
            start = max(now, last, self._held_until, self._free_at(tokens))
            reservation = Reservation(start, tokens)
            self._reserved.append(reservation)
        self._wait(reservation)
        return reservation

    def _forget(self, now: float) -> None:
        while self._reserved and self._reserved[0].start <= now - self._window:
            self._reserved.popleft()

    def _free_at(self, tokens: float) -> float:
        """The time at which enough reservations have left the window."""
        requests = len(self._reserved)
        used = sum(one.tokens for one in self._reserved)
        free = float("-inf")
        for one in self._reserved:
            if requests < self._requests and (used + tokens <= self._tokens or not used):
                break
            free = one.start + self._window
            requests -= 1
            used -= one.tokens
        return free

    def _wait(self, reservation: Reservation) -> None:
        while True:
            with self._lock:
                # `hold` may have changed it during the sleep.
                left = reservation.start - self._clock.now()
            if left <= 0:
                return
            before = self._clock.now()
            self._clock.sleep(left)
            if self._clock.now() - before < left / 2:
                return  # Woken, because the run is over; the caller notices.

    def settle(self, reservation: Reservation, tokens: float) -> None:
        """Replace the estimated tokens of a request by the real number."""
        with self._lock:
            reservation.tokens = tokens

    def hold(self, seconds: float) -> None:
        """Let no request begin for some seconds, because the service asked for a pause.

        All waiting requests are put off by as much as the first of them: if all began at the end of
        the pause, they would exceed the limit.
        """
        with self._lock:
            now = self._clock.now()
            self._held_until = max(self._held_until, now + seconds)
            waiting = [one for one in self._reserved if one.start > now]
            late = self._held_until - waiting[0].start if waiting else 0.0
            for one in waiting:
                one.start += max(0.0, late)
