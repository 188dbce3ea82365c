"""Requests for the same at the same time: one piece of work, whose items and end all of them get."""

from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.providers.flights import Flights, Work
from tests.making import wait_for


class WentWrongError(Exception):
    """The error with which work ends."""


@dataclass
class Making:
    """Work that yields numbers, each when it may, and then ends well or badly."""

    items: int
    fails: bool = False
    begun: int = 0
    may: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    over: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> Work[int, str]:
        """Begin it."""
        self.begun += 1
        return Work(self._made(), self._stop)

    def _stop(self) -> None:
        self.stopped.set()
        self.may.release()

    def _made(self) -> Generator[int, None, str]:
        try:
            for number in range(self.items):
                assert self.may.acquire(timeout=30)
                yield number
            assert self.may.acquire(timeout=30)
            if self.fails:
                raise WentWrongError
            return "whole"
        finally:
            self.over.set()


def readers(flights: Flights[int, str]) -> int:
    """How many requests share the work for the key."""
    return sum(flight.readers for flight in flights._flying.values())


@given(
    st.integers(0, 4),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_all_who_ask_for_the_same_share_one_piece_of_work(
    items: int, patience: list[int], fails: bool
) -> None:
    """Who stays gets every item and the end; one is the first to have it; who leaves changes nothing."""
    flights: Flights[int, str] = Flights()
    making = Making(items, fails)

    def ask(most: int) -> tuple[list[int], object, bool]:
        """What a request gets that leaves after `most` items, unless that is all of them."""
        got: list[int] = []
        shared = flights.share("key", making.begin)
        while True:
            if len(got) == most < items:
                shared.close()
                return got, None, False
            try:
                got.append(next(shared))
            except StopIteration as ended:
                return got, *ended.value

    with ThreadPoolExecutor(len(patience)) as pool:
        asked = [pool.submit(ask, most) for most in patience]
        waiting = sum(most > 0 or not items for most in patience)
        wait_for(lambda: readers(flights) == waiting or making.over.is_set(), "all to wait")
        for _ in range(items + 1):
            making.may.release()
        ended = [one.result(30) for one in asked]
    for most, (got, end, _) in zip(patience, ended, strict=True):
        assert got == list(range(min(most, items)))
        if most >= items:
            assert isinstance(end, WentWrongError) if fails else end == "whole"
    assert sum(first for *_, first in ended) == any(most >= items for most in patience)
    assert making.begun == bool(waiting)
    assert making.stopped.is_set() == bool(waiting)
    assert not waiting or making.over.wait(30)
    assert readers(flights) == 0


def test_another_key_or_a_later_request_is_other_work() -> None:
    """Only requests that wait at the same time share."""
    flights: Flights[int, str] = Flights()
    making = Making(0)
    for key in ("one", "one", "two"):
        making.may.release()
        with pytest.raises(StopIteration) as ended:
            next(flights.share(key, making.begin))
        assert ended.value.value == ("whole", True)
    assert making.begun == 3


def test_a_request_that_waits_is_idle_and_ends_when_its_time_is_over() -> None:
    """It gets the idle item again and again, then no reply, and the work is stopped."""
    flights: Flights[int, str] = Flights(idle=-1)
    making = Making(0)
    left = iter([1.0, 0.01, 0.0])
    shared = flights.share("key", lambda: making.begin()._replace(left=lambda: next(left)))
    assert [next(shared), next(shared)] == [-1, -1]
    with pytest.raises(StopIteration) as ended:
        next(shared)
    assert ended.value.value == (None, True)
    assert making.stopped.is_set()
    assert making.over.wait(30)


def test_work_that_everybody_left_before_it_began_cleans_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was taken for the work, a place in a limit, is given back however early they leave."""
    late: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        late.append(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    flights: Flights[int, str] = Flights(idle=-1)
    making = Making(1)
    shared = flights.share("key", making.begin)
    assert next(shared) == -1
    shared.close()
    late[0].run()
    assert making.over.is_set()
