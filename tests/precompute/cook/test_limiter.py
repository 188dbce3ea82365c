"""The limiter: never more than the limit, hardly less, and no thread that ticks."""

from __future__ import annotations

import heapq
import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from precompute.cook.limiter import Limiter
from tests.kit import FakeClock


def starts(limiter: Limiter, clock: FakeClock, tokens: list[float]) -> list[tuple[float, float]]:
    """When each of these requests may start, asked one after another as fast as can be."""
    return [(limiter.acquire(count).start, count) for count in tokens]


def most_in_a_minute(turns: list[tuple[float, float]]) -> tuple[int, float]:
    """The most requests and tokens that started within any 60 seconds."""
    requests, used = 0, 0.0
    for first, _ in turns:
        within = [count for start, count in turns if first <= start < first + 60]
        requests, used = max(requests, len(within)), max(used, sum(within))
    return requests, used


def test_at_least_98_percent_of_the_requests_allowed_are_used() -> None:
    """Over an hour at 60 a minute, at least 3,528 of 3,600 requests start, and never 61 in one."""
    clock = FakeClock()
    turns = starts(Limiter(clock, 60, 1e9), clock, [1.0] * 4000)
    within_the_hour = [turn for turn in turns if turn[0] < 3600]
    assert len(within_the_hour) >= 0.98 * 3600
    assert most_in_a_minute(turns[:400])[0] == 60


def test_at_least_98_percent_of_the_tokens_allowed_are_used() -> None:
    """The same for tokens a minute, where requests divide the limit."""
    clock = FakeClock()
    turns = starts(Limiter(clock, 1000, 250_000), clock, [5_000.0] * 4000)
    used = sum(count for start, count in turns if start < 3600)
    assert used >= 0.98 * 60 * 250_000
    assert most_in_a_minute(turns[:300])[1] <= 250_000


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(100, 2000),
    st.lists(st.tuples(st.integers(1, 100), st.floats(0, 20)), min_size=1, max_size=80),
)
def test_no_minute_has_more_than_is_allowed(
    requests: int, tokens: int, asked: list[tuple[int, float]]
) -> None:
    """Whatever is asked for and whenever, no stretch of 60 seconds passes either limit."""
    clock = FakeClock()
    limiter = Limiter(clock, requests, tokens)
    turns = []
    for count, pause in asked:
        clock.sleep(pause)
        turns.append((limiter.acquire(count).start, float(count)))
    most = most_in_a_minute(turns)
    assert most[0] <= requests
    assert most[1] <= tokens
    assert turns == sorted(turns, key=lambda turn: turn[0])


def test_what_was_really_used_counts() -> None:
    """A request that took less than thought makes room, one that took more takes it."""
    clock = FakeClock()
    limiter = Limiter(clock, 100, 1000)
    limiter.settle(limiter.acquire(900), 100)
    assert limiter.acquire(900).start == 0
    limiter = Limiter(clock, 100, 1000)
    limiter.settle(limiter.acquire(100), 950)
    assert limiter.acquire(100).start > 60


def test_a_request_larger_than_a_minute_is_let_through_alone() -> None:
    """It would wait for ever otherwise."""
    clock = FakeClock()
    limiter = Limiter(clock, 100, 1000)
    assert limiter.acquire(5000).start == 0
    assert limiter.acquire(10).start > 60


def test_a_pause_holds_everybody_up() -> None:
    """After a service asked for 17 s, no turn begins earlier."""
    clock = FakeClock()
    limiter = Limiter(clock, 100, 1000)
    limiter.hold(17)
    assert limiter.acquire().start == 17


def test_it_has_no_thread() -> None:
    """Waiting is done by whoever asks."""
    before = threading.active_count()
    limiter = Limiter(FakeClock(), 1, 1000)
    for _ in range(5):
        limiter.acquire()
    assert threading.active_count() == before


class SharedClock(FakeClock):
    """Time that passes when all of so many threads sleep, up to the first that wakes."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self._changed = threading.Condition(threading.RLock())
        self._awake = threads
        self._alarms: list[float] = []

    def now(self) -> float:
        """Seconds."""
        with self._changed:
            return self.time

    def sleep(self, seconds: float) -> None:
        """Wait until the others have brought the time so far."""
        with self._changed:
            alarm = self.time + seconds
            heapq.heappush(self._alarms, alarm)
            self.leave()
            self._changed.wait_for(lambda: self.time >= alarm)

    def leave(self) -> None:
        """This thread needs not be waited for any longer."""
        with self._changed:
            self._awake -= 1
            if not self._awake and self._alarms:
                self.time = self._alarms[0]
                while self._alarms and self._alarms[0] <= self.time:
                    heapq.heappop(self._alarms)
                    self._awake += 1
                self._changed.notify_all()


# How long a request takes, and for how long the service then asks everybody to pause.
REQUEST = st.tuples(
    st.sampled_from([0.1, 1.0, 7.0, 90.0]), st.sampled_from([0.0] * 4 + [5.0, 200.0])
)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.lists(st.lists(REQUEST, max_size=12), min_size=4, max_size=4))
def test_four_at_a_time_keep_the_rate(
    allowed: int, threads: list[list[tuple[float, float]]]
) -> None:
    """Four threads that ask as fast as they may never start more in any minute than is allowed.

    However long replies take, and whatever pauses the service asks for meanwhile.
    """
    clock = SharedClock(len(threads))
    limiter = Limiter(clock, allowed, 1e9)
    sent: list[tuple[float, float]] = []
    held: list[tuple[float, float]] = []

    def work(requests: list[tuple[float, float]]) -> None:
        for takes, pause in requests:
            limiter.acquire()
            sent.append((clock.now(), 0.0))
            clock.sleep(takes)
            if pause:
                held.append((clock.now(), clock.now() + pause))
                limiter.hold(pause)
        clock.leave()

    with ThreadPoolExecutor(len(threads)) as pool:
        list(pool.map(work, threads))
    assert len(sent) == sum(map(len, threads))
    assert most_in_a_minute(sent)[0] <= allowed
    assert not [at for at, _ in sent for begun, over in held if begun < at < over]
