"""An index in Redis or Valkey, for several machines that serve: `TSUKURIOKI_STORE=redis://…`.

The log and its index in LMDB remain local files of the machine that builds; `publish` copies the
index to Redis. Because the log is not in Redis, whatever Redis loses can be published again.
Machines that serve need only Redis.

Keys of a deck; `<shelf>` identifies the state from which the index was last built anew:

    tsukurioki:<deck>                     sum + JSON: shelf, and Meta
    tsukurioki:<deck>:<shelf>:<database>  hash: the rows of a database of the index, as in LMDB;
                                          an answer and what is held without its origin: sum + body

A shelf that is replaced is kept for a minute, until every server has noticed. If Redis does not
answer, nothing is found for a second, and tiers that need no store answer. A value whose checksum
does not fit counts as not found: other programs can write to the same Redis.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import xxhash

from app.errors import IndexUnusableError, NothingCookedError, SettingError, StoreWriteError
from app.store.index import Index, IndexReader
from app.store.log import log_digest, log_path
from app.store.rows import SERVED, Meta, answer_name, content_of, position_name, row

if TYPE_CHECKING:
    from redis import Redis

# Seconds: to wait for a reply, between two looks at the state, without asking after a failure, and
# for which a replaced shelf is kept.
_TIMEOUT, _LOOK, _PAUSE, _KEEP = 0.5, 0.25, 1.0, 60
_CHUNK = 1_000
_STATE = b"state"
ItemT = TypeVar("ItemT")


def connect(url: str, timeout: float) -> Redis:
    """A client. Raises SettingError if the library is missing or the address cannot be parsed."""
    try:
        import redis
    except ImportError:
        expected = "a folder, or the library for Redis; run: pip install 'tsukurioki[redis]'"
        raise SettingError("TSUKURIOKI_STORE", url, expected) from None
    try:
        return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)
    except ValueError as error:
        raise SettingError("TSUKURIOKI_STORE", url, f"a folder or redis://… ({error})") from None


def _faults() -> tuple[type[Exception], ...]:
    import redis

    return (redis.RedisError, OSError)


class RedisIndex(IndexReader):
    """A deck's index in Redis.

    Raises NothingCookedError if nothing was published, IndexUnusableError if Redis does not answer
    or holds something else under the deck's name.
    """

    # Asking Redis whether anything has changed costs as much as asking for an answer.
    constant = False

    def __init__(self, url: str, deck: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = connect(url, _TIMEOUT)
        self._name = f"tsukurioki:{deck}"
        self._clock = clock
        self._faults = _faults()
        self._ask_from = 0.0
        self._look_at = 0.0
        self.fault = ""
        found = self._state()
        if found is None:
            if self.fault:
                raise IndexUnusableError(f"{url}: {self.fault}; run: precompute check --repair")
            raise NothingCookedError(
                f"{url}: no index of deck {deck!r}; run: precompute check --repair, or, if nothing "
                f"is cooked yet, precompute build --deck {deck} --n 100"
            )
        self._shelf, self._meta = found

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """The reply of Redis, or None if it does not answer; it is then not asked for a second."""
        if self._clock() < self._ask_from:
            return None
        try:
            found = ask()
        except self._faults as error:
            self._ask_from = self._clock() + _PAUSE
            self.fault = f"Redis does not answer: {error}"
            return None
        self.fault = ""
        return found

    def _proved(self, name: bytes, value: Any) -> bytes | None:
        """The content of a value, None if its checksum does not fit."""
        content = content_of(name, value) if isinstance(value, bytes) else None
        if content is None and value is not None:
            self.fault = "a value is damaged"
        return content

    def _state(self) -> tuple[str, Meta] | None:
        raw = self._asked(lambda: self._redis.get(self._name))
        if raw is None:
            return None
        try:
            return _state_of(self._name, self._proved(_STATE, raw))
        except IndexUnusableError as error:
            self.fault = str(error)
            return None

    def _look(self) -> None:
        """Read the current state now and then: another shelf may have replaced ours."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + _LOOK
        found = self._state()
        if found:
            self._shelf, self._meta = found

    def content(self, database: str, name: bytes) -> bytes | None:
        self._look()
        hashed = f"{self._name}:{self._shelf}:{database}"
        return self._proved(name, self._asked(lambda: self._redis.hget(hashed, name)))

    def stock(self) -> list[list[str]]:
        self._look()
        name = f"{self._name}:{self._shelf}:stock"
        names: list[Any] = [position_name(at) for at in range(self._meta.stocked_hands)]
        hands: list[list[str]] = []
        for some in _chunks(names):
            found = self._asked(partial(self._redis.hmget, name, some)) or [None] * len(some)
            contents = map(self._proved, some, found)
            hands += [orjson.loads(content or b"[]") for content in contents]
        return hands

    def close(self) -> None:
        self._redis.close()

    def meta(self) -> Meta:
        # If Redis does not answer, the last one.
        self._look()
        return self._meta

    def get(self, key: bytes, variant: int = 0) -> bytes | None:
        return self.content("answers", answer_name(key, variant))

    def variants(self, key: bytes, most: int) -> list[bytes]:
        # Looks at variants 0 to 63, or to `most`: a hash cannot be searched by prefix.
        self._look()
        name = f"{self._name}:{self._shelf}:answers"
        fields: list[Any] = [answer_name(key, variant) for variant in range(max(most, 64))]
        found = self._asked(lambda: self._redis.hmget(name, fields)) or ()
        bodies = map(self._proved, fields, found)
        return [body for body in bodies if body is not None][:most]


def publish(store: Path, deck: str, url: str, *, afresh: bool = False) -> int:
    """Bring Redis up to the local index; returns how many answers were sent.

    Sends only what is new, or, if the index was built anew, everything to a new shelf. `afresh`:
    everything in any case, to replace damaged values. Raises StoreWriteError if Redis cannot be
    written, IndexUnusableError if the local index cannot be read.
    """
    index = Index(store, deck)
    client = connect(url, 30.0)
    try:
        return _publish(client, index, log_path(store, deck), f"tsukurioki:{deck}", afresh=afresh)
    except _faults() as error:
        raise StoreWriteError(
            f"{url}: cannot be written: {error}; the log is safe, run: precompute check --repair"
        ) from None
    finally:
        client.close()
        index.close()


def _publish(client: Redis, index: Index, log: Path, name: str, *, afresh: bool) -> int:
    meta = index.meta()
    shelf = _shelf(meta)
    old_shelf, old = _published(client, name)
    since = 0
    known = old_shelf == shelf and old and old.log == log_digest(log, old.offset).hexdigest()
    if old and known and not afresh:
        since = old.offset
    else:
        # The shelf may hold answers of another log.
        client.delete(*(f"{name}:{shelf}:{part}" for part in SERVED))
    sent = 0
    for part, rows in index.rows_since(since):
        for some in _chunks(rows):
            client.hset(f"{name}:{shelf}:{part}", mapping=dict(some))
            sent += len(some) if part == "answers" else 0
    # Last: until then servers use the previous state.
    client.set(name, row(_STATE, orjson.dumps({"shelf": shelf, "meta": asdict(meta)})))
    if old_shelf not in ("", shelf):
        for part in SERVED:
            client.expire(f"{name}:{old_shelf}:{part}", _KEEP)
    return sent


def _published(client: Redis, name: str) -> tuple[str, Meta | None]:
    """The published shelf and Meta; ("", None) if there is none, or something else, to replace."""
    if client.type(name) != b"string":
        client.delete(name)
    value: Any = client.get(name)
    try:
        return _state_of(name, content_of(_STATE, value))
    except IndexUnusableError:
        return "", None


def _state_of(name: str, content: bytes | None) -> tuple[str, Meta]:
    """Parse shelf and Meta. Raises IndexUnusableError."""
    state = orjson.loads(content or b"{}")
    if "shelf" not in state:
        raise IndexUnusableError(f"{name}: is not what was published")
    return state["shelf"], Meta.from_json(orjson.dumps(state["meta"]), name)


def _shelf(meta: Meta) -> str:
    parts = [meta.format, meta.shape, meta.order, meta.radius, meta.approved, meta.built]
    return xxhash.xxh3_64_hexdigest(orjson.dumps(parts))


def _chunks(rows: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    rows = iter(rows)
    while some := list(itertools.islice(rows, _CHUNK)):
        yield some
