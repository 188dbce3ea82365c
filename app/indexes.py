"""The index in force, as a worker sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.core.index import Index, IndexReader
from app.core.log import log_path
from app.errors import IndexUnusableError
from app.settings import Settings

# How often a worker looks whether an index was replaced or has appeared. (What is added to the
# index in force is seen at once.)
LOOK_EVERY = 0.5
# How often it asks whether the index in force has changed, for those who keep what it said.
ASK_EVERY = 0.001


class State:
    """What an index held for a while. Another one is another object, and none equals it."""

    __slots__ = ("stamp",)

    def __init__(self, stamp: int) -> None:
        self.stamp = stamp


class IndexHolder:
    """The index in force of one deck; looks for a newer file now and then, when it is asked."""

    def __init__(self, settings: Settings, deck: str, clock: Callable[[], float]) -> None:
        self._store = settings.store
        self._redis = settings.redis
        self._deck = deck
        self._clock = clock
        self._index: IndexReader | None = None
        self._state: State | None = None
        self._ask_at = 0.0
        self.problem = ""
        self._look_at = 0.0
        self._looking = threading.Lock()
        self._open()

    def __call__(self) -> IndexReader | None:
        """The index, or None where there is none that can be read."""
        if self._clock() >= self._look_at:
            self._look()
        return self._index

    def state(self) -> State | None:
        """The state of the index a moment ago, the same object as long as nothing has changed.

        None where there is no index, and where it cannot tell.
        """
        now = self._clock()
        if now >= self._ask_at:
            self._ask_at = now + ASK_EVERY
            index = self()
            stamp = index.stamp() if index else None
            if stamp is None:
                self._state = None
            elif self._state is None or self._state.stamp != stamp:
                self._state = State(stamp)
        return self._state

    def _found(self) -> IndexReader:
        if self._redis:
            from app.redis_index import RedisIndex

            return RedisIndex(self._redis, self._deck, self._clock)
        return Index(self._store, self._deck)

    def _open(self) -> None:
        self._look_at = self._clock() + LOOK_EVERY
        try:
            # An index that was replaced is left to the garbage collector: another thread may be
            # reading it just now.
            self._index = self._found()
            self._state = None
            self.problem = ""
        except IndexUnusableError as error:
            # What was open before, if anything, goes on answering.
            self.problem = str(error)

    def _look(self) -> None:
        # One thread looks; two would open one file twice, which a process may not.
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._look_at = self._clock() + LOOK_EVERY
            if self._index is None or self._index.outdated():
                self._open()
        finally:
            self._looking.release()


def publish(settings: Settings, deck: str) -> None:
    """Bring what serves from elsewhere up to the local index; nothing where the folder serves itself.

    Raises StoreWriteError, and SettingError where the library is missing.
    """
    if settings.redis and log_path(settings.store, deck).exists():
        from app import redis_index

        redis_index.publish(settings.store, deck, settings.redis)
