"""Requests for the same that are made at the same time share one reply ("single flight")."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Hashable
from typing import Generic, NamedTuple, TypeVar

# Seconds between the idle items of a request that waits, by which it notices that its client left.
HEARTBEAT = 0.25

ItemT = TypeVar("ItemT")
ReplyT = TypeVar("ReplyT")


class Work(NamedTuple, Generic[ItemT, ReplyT]):
    """What makes a reply: `items` yields parts of it as they come, and returns the whole.

    `stop` is called from another thread when nobody waits any longer, for work that would not come
    to its next item. `left` gives the seconds for which the reply is still waited for.
    """

    items: Generator[ItemT, None, ReplyT]
    stop: Callable[[], None] = lambda: None
    left: Callable[[], float] = lambda: math.inf


class _Flight(Generic[ItemT, ReplyT]):
    """Work in progress. `end` is the reply, or the error with which the work ended."""

    def __init__(self, work: Work[ItemT, ReplyT]) -> None:
        self.work = work
        self.changed = threading.Condition()
        self.readers = 0
        self.items: list[ItemT] = []
        self.end: ReplyT | Exception | None = None
        self.met = False


class Flights(Generic[ItemT, ReplyT]):
    """The work that is in progress in this process, by key.

    A thread of its own does the work, so that the request that began it may end before the others
    that wait for it. Work is ended when the last of them has gone. `idle` is what a request gets
    every `HEARTBEAT` seconds while it waits; None if it gets nothing.
    """

    def __init__(self, idle: ItemT | None = None) -> None:
        self._idle = idle
        self._lock = threading.Lock()
        self._flying: dict[Hashable, _Flight[ItemT, ReplyT]] = {}

    def share(
        self, key: Hashable, begin: Callable[[], Work[ItemT, ReplyT]]
    ) -> Generator[ItemT, None, tuple[ReplyT | Exception | None, bool]]:
        """The items of the work that is in progress for a key, or else of `begin`'s.

        Returns its end: the reply, the error with which the work ended, or None if no time is left;
        and whether no other request has met an end before. Raises what `begin` raises.
        """
        flight = self._joined(key, begin)
        place, end = 0, None
        try:
            while end is None and (seconds := flight.work.left()) > 0:
                with flight.changed:
                    if place == len(flight.items) and flight.end is None:
                        flight.changed.wait(min(seconds, HEARTBEAT))
                    new, end = flight.items[place:], flight.end
                yield from new
                if not new and self._idle is not None:
                    yield self._idle
                place += len(new)
            with flight.changed:
                first, flight.met = not flight.met, True
            return end, first
        finally:
            self._leave(key, flight)

    def _joined(
        self, key: Hashable, begin: Callable[[], Work[ItemT, ReplyT]]
    ) -> _Flight[ItemT, ReplyT]:
        with self._lock:
            begun = key not in self._flying
            flight = self._flying[key] = self._flying.get(key) or _Flight(begin())
            flight.readers += 1
        if begun:
            threading.Thread(target=self._fly, args=(key, flight), daemon=True).start()
        return flight

    def _leave(self, key: Hashable, flight: _Flight[ItemT, ReplyT]) -> None:
        with self._lock:
            flight.readers -= 1
            if flight.readers:
                return
            self._forget(key, flight)
        flight.work.stop()

    def _fly(self, key: Hashable, flight: _Flight[ItemT, ReplyT]) -> None:
        end: ReplyT | Exception | None = None
        try:
            # Begun in any case: what has not begun cannot clean up when it is closed.
            item = next(flight.work.items)
            while flight.readers:
                with flight.changed:
                    flight.items.append(item)
                    flight.changed.notify_all()
                item = next(flight.work.items)
            flight.work.items.close()
        except StopIteration as stop:
            end = stop.value
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait get it
            end = error
        # First this: who has the reply may ask again at once, which is new work.
        with self._lock:
            self._forget(key, flight)
        with flight.changed:
            flight.end = end
            flight.changed.notify_all()

    def _forget(self, key: Hashable, flight: _Flight[ItemT, ReplyT]) -> None:
        if self._flying.get(key) is flight:
            del self._flying[key]
