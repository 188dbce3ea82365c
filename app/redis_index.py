"""An index in Redis or Valkey, for those who run one already: `TSUKURIOKI_STORE=redis://…`.

The log stays a local file of the machine that builds, and the truth; its index is made in LMDB as
ever, and `publish` brings Redis up to it. (Writing the log to Redis too was turned down: whatever
Redis loses can then be published again.) Machines that serve need nothing but Redis.

Keys of a deck, `<shelf>` being its state, which changes where the index is built anew:

    tsukurioki:<deck>                     JSON: shelf, and Meta
    tsukurioki:<deck>:<shelf>:answers     hash: key (16 bytes) + variant (u16)  →  body
    tsukurioki:<deck>:<shelf>:hands       hash: hand key (16)  →  records, as in LMDB
    tsukurioki:<deck>:<shelf>:stock       hash: position (u32)  →  JSON list of card ids
    tsukurioki:<deck>:<shelf>:stocked     hash: hand key (16)  →  position

A shelf that is replaced is kept for a minute, until every server has looked again. Where Redis does
not answer, nothing is found for a second, and the ladder goes on to what needs no store.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import xxhash

from app.core.index import Index, Meta, nearest_records, records_of
from app.errors import IndexUnusableError, SettingError, StoreWriteError

if TYPE_CHECKING:
    from redis import Redis

_PARTS = ("answers", "hands", "stock", "stocked")
_VARIANT = struct.Struct(">H")
_POSITION = struct.Struct(">I")
# Seconds: for an answer of Redis, between two looks at its state, without asking after a failure,
# and for which a replaced shelf is kept.
_TIMEOUT, _LOOK, _PAUSE, _KEEP = 0.5, 0.25, 1.0, 60
_CHUNK = 1_000


def connect(url: str, timeout: float) -> Redis:
    """A client. Raises SettingError where the library is missing or the address means nothing."""
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


class RedisIndex:
    """A reader's view of a deck's index in Redis. Asks what an `Index` can be asked.

    Raises IndexUnusableError where there is none or Redis does not answer.
    """

    def __init__(self, url: str, deck: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = connect(url, _TIMEOUT)
        self._name = f"tsukurioki:{deck}"
        self._clock = clock
        self._faults = _faults()
        self._ask_from = 0.0
        self._look_at = 0.0
        found = self._state()
        if found is None:
            raise IndexUnusableError(
                f"{url}: no index of deck {deck!r}, or no answer; run: precompute check --repair"
            )
        self._shelf, self._meta = found

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """What Redis says, or None where it does not answer; then it is left alone for a second."""
        if self._clock() < self._ask_from:
            return None
        try:
            return ask()
        except self._faults:
            self._ask_from = self._clock() + _PAUSE
            return None

    def _state(self) -> tuple[str, Meta] | None:
        raw = self._asked(lambda: self._redis.get(self._name))
        if raw is None:
            return None
        told = orjson.loads(raw)
        return told["shelf"], Meta(**told["meta"])

    def _look(self) -> None:
        """A shelf that was put in place of ours is ours, from now on."""
        if self._clock() < self._look_at:
            return
        self._look_at = self._clock() + _LOOK
        found = self._state()
        if found:
            self._shelf, self._meta = found

    def _of(self, part: str, field: bytes) -> bytes | None:
        self._look()
        value = self._asked(lambda: self._redis.hget(f"{self._name}:{self._shelf}:{part}", field))
        return None if value is None else bytes(value)

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def meta(self) -> Meta:
        """What the index says of itself; what it said last, where Redis does not answer."""
        self._look()
        return self._meta

    def get(self, key: bytes, variant: int = 0) -> bytes | None:
        """The finished body for a key of 16 bytes, or None."""
        return self._of("answers", key + _VARIANT.pack(variant))

    def variants(self, key: bytes, most: int) -> list[bytes]:
        """The finished bodies of a key's variants in order, at most so many; of the first 64."""
        self._look()
        name = f"{self._name}:{self._shelf}:answers"
        fields: list[Any] = [key + _VARIANT.pack(variant) for variant in range(max(most, 64))]
        found = self._asked(lambda: self._redis.hmget(name, fields)) or ()
        return [bytes(body) for body in found if body is not None][:most]

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether there is an entry for this key."""
        return self.get(bytes.fromhex(key), variant) is not None

    def same_hand(self, hand_key: bytes) -> list[tuple[bytes, bytes]]:
        """The entries of a hand: key of 16 bytes, and the phrase hashes in canonical order."""
        joined = self._of("hands", hand_key) or b""
        return [(record[:16], record[16:]) for record in records_of(joined)]

    def nearest(self, hand_key: bytes, digests: bytes, radius: int) -> list[tuple[int, bytes]]:
        """The entries of a hand that differ in 1 to `radius` phrases, the nearest first."""
        return nearest_records(self._of("hands", hand_key) or b"", digests, radius)

    def stocked(self, position: int) -> list[str]:
        """The cards of a stocked hand by its position; none where Redis does not answer."""
        value = self._of("stock", _POSITION.pack(position))
        cards: list[str] = orjson.loads(value) if value else []
        return cards

    def is_stocked(self, hand_key: str) -> bool:
        """Whether every play of this hand is within the radius of an entry."""
        return self._of("stocked", bytes.fromhex(hand_key)) is not None

    def keys(self) -> Iterator[tuple[str, int]]:
        """Every key and variant in force, in the order of the keys."""
        self._look()
        name = f"{self._name}:{self._shelf}:answers"
        for key in sorted(self._asked(lambda: self._redis.hkeys(name)) or ()):
            yield key[:16].hex(), _VARIANT.unpack(key[16:])[0]

    def stamp(self) -> None:
        """None: to know whether it has changed costs as much as an answer."""

    def outdated(self) -> bool:
        """Never: it follows what is published by itself."""
        return False


def publish(store: Path, deck: str, url: str) -> int:
    """Bring Redis up to a local index; returns how many answers were sent.

    Sends what the log has beyond what Redis knows, and all of it to a shelf of its own where the
    index was built anew. Raises StoreWriteError where Redis does not take it.
    """
    index = Index(store, deck)
    client = connect(url, 30.0)
    try:
        return _publish(client, index, f"tsukurioki:{deck}")
    except _faults() as error:
        raise StoreWriteError(
            f"{url}: cannot be written: {error}; the log is safe, run: precompute check --repair"
        ) from None
    finally:
        client.close()
        index.close()


def _publish(client: Redis, index: Index, name: str) -> int:
    meta = index.meta()
    shelf = _shelf(meta)
    old: Any = orjson.loads(client.get(name) or b"{}")
    known = old.get("shelf") == shelf and old["meta"]["offset"] <= meta.offset
    since = old["meta"]["offset"] if known else 0
    if not known:
        # Another log under the same shelf would leave its own answers there.
        client.delete(*(f"{name}:{shelf}:{part}" for part in _PARTS))
    sent = 0
    for part, rows in index.since(since):
        for some in _chunks(rows):
            client.hset(f"{name}:{shelf}:{part}", mapping=dict(some))
            sent += len(some) if part == "answers" else 0
    # Last of all: a server that looks meanwhile sees the state before.
    client.set(name, orjson.dumps({"shelf": shelf, "meta": asdict(meta)}))
    if not known and old.get("shelf") not in (None, shelf):
        for part in _PARTS:
            client.expire(f"{name}:{old['shelf']}:{part}", _KEEP)
    return sent


def _shelf(meta: Meta) -> str:
    parts = [meta.format, meta.shape, meta.order, meta.radius, meta.first]
    return xxhash.xxh3_64_hexdigest(orjson.dumps(parts))


def _chunks(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    rows = iter(rows)
    while some := list(itertools.islice(rows, _CHUNK)):
        yield some
