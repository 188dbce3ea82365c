"""The current index of a deck, which a worker reopens when a new one is published."""

from __future__ import annotations

import threading
from collections.abc import Callable

from app.errors import IndexHarmedError, IndexUnusableError, NothingCookedError, StoreError
from app.store.index import Index, IndexReader
from app.store.index_writer import IndexedDeck, IndexWriter, is_current
from app.store.log import LogWriter, log_path
from app.store.options import StoreOptions
from app.store.proof import Identity, identity
from app.store.rows import index_path

# Seconds between two checks for a newly published index; a check costs 2 µs.
LOOK_EVERY = 0.1
# The same if Redis has no index or does not answer, which can take half a second to find out.
ASK_REDIS_EVERY = 1.0


class IndexState:
    """Stands for the contents of one opened index; compared by identity."""

    __slots__ = ()


class IndexHolder:
    """The current index of one deck.

    If a newly published index cannot be read, the one that is open stays in use, unless somebody wrote
    to its file.
    """

    def __init__(self, options: StoreOptions, deck: str, clock: Callable[[], float]) -> None:
        self._options = options
        self._store = options.folder
        self._redis = options.redis
        self._deck = deck
        self._clock = clock
        self._index: IndexReader | None = None
        self._state: IndexState | None = None
        self._seen: Identity | None = None
        self._harmed = False
        self._problem = ""
        self._look_at = 0.0
        self._looking = threading.Lock()
        self._open()

    def __call__(self) -> IndexReader | None:
        """The index, or None if no readable index was ever found."""
        if self._clock() >= self._look_at:
            self._look()
        return self._index

    def state(self) -> IndexState | None:
        """The same object for as long as the contents of the index are the same.

        None if there is no index, or if the index cannot know whether it has changed (Redis).
        """
        self()
        return self._state

    @property
    def problem(self) -> str:
        """What is wrong with the index, for a person; empty if nothing is."""
        index = self._index
        return self._problem or (index.fault if index else "")

    def bring_up(self, deck: IndexedDeck) -> list[str]:
        """Bring the index up to the log before serving; returns notes for the operator."""
        notes = bring_up(self._options, deck, self._index)
        self._look()
        return notes

    def forked(self, *, suspect: bool = False) -> None:
        """To be called in a process that was forked after this was made, before it is used.

        `suspect`: a process like this one was killed, as by a harmed page of an index. A file is then
        read whole before it is used.
        """
        if isinstance(self._index, Index):
            if suspect:
                self._index = self._state = None
                self._open(whole=True)
            else:
                self._index.reopen()

    def _found(self, *, whole: bool) -> IndexReader:
        if self._redis:
            from app.store.redis import RedisIndex

            return RedisIndex(self._redis, self._deck, self._clock)
        return Index(self._store, self._deck, whole=whole)

    def _open(self, *, whole: bool = False) -> None:
        self._look_at = self._clock() + (ASK_REDIS_EVERY if self._redis else LOOK_EVERY)
        self._seen = self._identity()
        try:
            # An index that was replaced is left to the garbage collector: another thread may be
            # reading it just now.
            index = self._found(whole=whole)
            self._check(index)
            self._index, self._state = index, IndexState() if index.constant else None
            self._problem, self._harmed = "", False
        except NothingCookedError:
            self._problem, self._harmed = "", False
        except IndexUnusableError as error:
            self._problem, self._harmed = str(error), isinstance(error, IndexHarmedError)
            if isinstance(self._index, Index) and not self._index.intact():
                self._index = self._state = None

    def _check(self, index: IndexReader) -> None:
        """Raise IndexUnusableError for an index with more than may be served."""
        if self._options.approved and not index.meta().approved:
            raise IndexUnusableError(
                f"the index of deck {self._deck!r} has answers that nobody approved; set "
                "TSUKURIOKI_APPROVED for precompute too, and run: precompute check --repair"
            )

    def _identity(self) -> Identity | None:
        return None if self._redis else identity(index_path(self._store, self._deck))

    def _look(self) -> None:
        # Only one thread checks, so that a published file is copied once.
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._look_at = self._clock() + LOOK_EVERY
            now = self._identity()
            # If the file was deleted, the open copy is still good. What is harmed stays so, and may
            # have gigabytes to read.
            another = now is not None and now != self._seen
            if another or (self._index is None and not self._harmed):
                self._open()
        finally:
            self._looking.release()


def bring_up(
    options: StoreOptions, deck: IndexedDeck, served: IndexReader | None = None
) -> list[str]:
    """Bring the index up to the log before serving; returns notes for the operator.

    If a build is writing, or the folder cannot be written, the index is served as it is. If the index
    that is `served` has the whole log, none is opened to be written, which takes a copy.
    """
    try:
        if not log_path(options.folder, deck.id).exists():
            return []
        if isinstance(served, Index) and is_current(options, deck, served.meta()):
            return []
        with LogWriter(options.folder, deck.id), IndexWriter.at(options, deck) as index:
            index.catch_up()
            notes = index.notes
        publish(options, deck.id)
    except StoreError as error:
        return [f"served as it is: {error}"]
    except OSError as error:
        return [f"served as it is: {error.filename}: {error.strerror}"]
    return notes


def publish(options: StoreOptions, deck: str, *, afresh: bool = False) -> None:
    """Bring Redis up to the local index, if the store is served from Redis.

    `afresh`: send everything, to replace values that were damaged there. Raises StoreWriteError,
    and SettingError if the library is missing.
    """
    if options.redis and log_path(options.folder, deck).exists():
        from app.store import redis as redis_index

        redis_index.publish(options.folder, deck, options.redis, afresh=afresh)
