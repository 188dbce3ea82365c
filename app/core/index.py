"""The index: an LMDB file derived from the log, in which an exact hit is one lookup.

Files: `<deck>.<six digits>.lmdb` in the store's folder; the highest number is in force. New entries
go into the file in force by a transaction, which running readers see at once: appending costs what
is new, not what is there. (Building a second file for every build was tried first: it costs the
whole store each time.) Where the file does not fit the log or the settings (another deck, another
order of sources, a replaced log), it is built anew beside the old one and put in place by a rename.

Databases of the file:

    answers   key (16 bytes) + variant (u16, big endian)  →  origin (u16) + offset (u64) + body
    hands     hand key (16)  →  many of: key (16) + 8 bytes a card, the hash of its phrase
    stock     position (u32, big endian)  →  JSON list of card ids
    stocked   hand key (16)  →  position in `stock`
    meta      b"meta"        →  JSON, see `Meta`

`origin` is a number into Meta.origins; `offset` is where the entry's line begins in the log.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb
import orjson
import xxhash

from app.core.answer import exact_body
from app.core.coverage import Word, is_stocked
from app.core.deck import Deck
from app.core.entry import Entry
from app.core.key import HAND, Query
from app.core.log import Damage, Record, log_path, read_log
from app.errors import DamagedLineError, IndexUnusableError, KeyCollisionError, StoreWriteError

FORMAT = 2
# Sources, best first: an entry replaces another of its key where its source is as good or better.
DEFAULT_ORDER = ("gemini", "gemini-legacy", "openai", "ollama", "composer")
# The map is address space, not memory: reserving much once spares every reader a remapping.
MAP_SIZE = 1 << 36
MAX_VARIANT = 0xFFFF

_PREFIX = struct.Struct("<HQ")
_VARIANT = struct.Struct(">H")
_POSITION = struct.Struct(">I")
_META = b"meta"
_DATABASES = ("answers", "hands", "stock", "stocked", "meta")
_BATCH = 20_000


@dataclass
class Meta:
    """What the index says of itself.

    `offset` is how much of the log it holds, `first` the checksum of the log's first bytes,
    `origins` are [source, model, entries in force].
    """

    deck: str
    order: list[str]
    radius: int
    format: int = FORMAT
    first: str = ""
    offset: int = 0
    lines: int = 0
    damaged: int = 0
    entries: int = 0
    generation: int = 0
    origins: list[list[object]] = field(default_factory=list)
    cost_usd: float = 0.0
    tokens: float = 0.0
    newest: str = ""
    stocked_hands: int = 0
    stocked_plays: int = 0


def index_paths(store: Path, deck: str) -> list[Path]:
    """The index files of a deck, the one in force last."""
    pattern = re.compile(re.escape(deck) + r"\.\d{6}\.lmdb")
    try:
        return sorted(path for path in store.iterdir() if pattern.fullmatch(path.name))
    except FileNotFoundError:
        return []


def phrase_hash(phrase: str) -> bytes:
    """Eight bytes that stand for a phrase within its card."""
    return xxhash.xxh3_64_digest(phrase.encode("utf-8", "surrogatepass"))


def _open(path: Path, *, write: bool, lock: bool = True, sync: bool = True) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        subdir=False,
        readonly=not write,
        lock=lock,
        sync=sync,
        map_size=MAP_SIZE,
        max_dbs=len(_DATABASES),
        max_readers=1024,
        readahead=False,
    )


def _first_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return ""
    return xxhash.xxh3_64_hexdigest(line) if line.endswith(b"\n") else ""


class Index:
    """A reader's view of a deck's index. Sees what a writer commits without being told.

    Raises IndexUnusableError where there is none, or where it is another deck's or broken.
    """

    def __init__(self, store: Path, deck: str) -> None:
        paths = index_paths(store, deck)
        if not paths:
            raise IndexUnusableError(
                f"{store}: no index of deck {deck!r}; run: precompute check --repair"
            )
        self.path = paths[-1]
        self._open(deck)

    def _open(self, deck: str) -> None:
        # Without the right to write beside the file there can be no reader table; nobody who could
        # reuse a page under us can write there either, as far as this account knows.
        lock = os.access(self.path.parent, os.W_OK)
        try:
            self._env = _open(self.path, write=False, lock=lock)
            handles = [
                self._env.open_db(name.encode(), create=False, dupsort=name == "hands")
                for name in _DATABASES
            ]
        except lmdb.Error as error:
            raise IndexUnusableError(f"{self.path}: cannot be read: {error}") from None
        self._answers, self._hands, self._stock, self._stocked, self._meta = handles
        if self.meta().deck != deck:
            self.close()
            raise IndexUnusableError(f"{self.path}: belongs to deck {self.meta().deck!r}")

    def close(self) -> None:
        """Give the map back."""
        self._env.close()

    def meta(self) -> Meta:
        """What the index says of itself."""
        with self._env.begin() as txn:
            return _read_meta(txn, self._meta, self.path)

    def get(self, key: bytes, variant: int = 0) -> bytes | None:
        """The finished body for a key of 16 bytes, or None."""
        with self._env.begin(buffers=True) as txn:
            value = txn.get(key + _VARIANT.pack(variant), db=self._answers)
            return None if value is None else bytes(value[_PREFIX.size :])

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether there is an entry for this key."""
        with self._env.begin(buffers=True) as txn:
            found = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return found is not None

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of the entry in force for this key."""
        with self._env.begin() as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return None if value is None else _source(txn, self._meta, self.path, value)

    def offset(self, key: str, variant: int = 0) -> int | None:
        """Where the line of the entry in force begins in the log."""
        with self._env.begin(buffers=True) as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return None if value is None else int(_PREFIX.unpack_from(value)[1])

    def same_hand(self, hand_key: bytes) -> list[tuple[bytes, bytes]]:
        """The entries of a hand: key of 16 bytes, and the phrase hashes in canonical order."""
        with self._env.begin() as txn, txn.cursor(self._hands) as cursor:
            if not cursor.set_key(hand_key):
                return []
            return [(bytes(v[:16]), bytes(v[16:])) for v in cursor.iternext_dup()]

    def stocked(self, position: int) -> list[str]:
        """The cards of a stocked hand by its position."""
        with self._env.begin() as txn:
            value = txn.get(_POSITION.pack(position), db=self._stock)
        if value is None:
            raise IndexError(position)
        cards: list[str] = orjson.loads(value)
        return cards

    def is_stocked(self, hand_key: str) -> bool:
        """Whether every play of this hand is within the radius of an entry."""
        with self._env.begin() as txn:
            return txn.get(bytes.fromhex(hand_key), db=self._stocked) is not None

    def keys(self) -> Iterator[tuple[str, int]]:
        """Every key and variant in force, in the order of the keys."""
        with self._env.begin() as txn, txn.cursor(self._answers) as cursor:
            for key in cursor.iternext(values=False):
                yield key[:16].hex(), _VARIANT.unpack(key[16:])[0]

    def outdated(self) -> bool:
        """Whether a newer file has been put in place."""
        paths = index_paths(self.path.parent, self.path.name.split(".")[0])
        return bool(paths) and paths[-1] != self.path


def _read_meta(txn: lmdb.Transaction, database: Any, path: Path) -> Meta:
    raw = txn.get(_META, db=database)
    if raw is None:
        raise IndexUnusableError(f"{path}: not an index of ours")
    fields = orjson.loads(bytes(raw))
    if fields.get("format") != FORMAT:
        raise IndexUnusableError(f"{path}: has format {fields.get('format')}, this is {FORMAT}")
    return Meta(**fields)


def _source(txn: lmdb.Transaction, database: Any, path: Path, value: bytes) -> str:
    origin = _PREFIX.unpack_from(value)[0]
    return str(_read_meta(txn, database, path).origins[origin][0])


class IndexWriter:
    """Brings the index up to the log. Whoever makes one holds the log's lock.

    `why_rebuilt` says why the file in force could not be continued, or is empty. Raises
    StoreWriteError where the folder cannot be written, KeyCollisionError where two different
    queries share a key.
    """

    def __init__(
        self, store: Path, deck: Deck, order: Sequence[str] = DEFAULT_ORDER, radius: int = 1
    ) -> None:
        self._store = store
        self._deck = deck
        self._log = log_path(store, deck.id)
        self._fresh = Meta(deck=deck.id, order=list(order), radius=radius)
        self.why_rebuilt = ""
        try:
            store.mkdir(parents=True, exist_ok=True)
            self._path = self._usable_path() or self._rebuild()
            self._env = self._opened(self._path, sync=True)
        except (OSError, lmdb.Error) as error:
            raise StoreWriteError(f"{store}: the index cannot be written: {error}") from None

    def _opened(self, path: Path, *, sync: bool) -> lmdb.Environment:
        env = _open(path, write=True, sync=sync)
        env.reader_check()
        handles = [env.open_db(name.encode(), dupsort=name == "hands") for name in _DATABASES]
        self._answers, self._hands, self._stock, self._stocked, self._meta_db = handles
        return env

    def _usable_path(self) -> Path | None:
        paths = index_paths(self._store, self._deck.id)
        if not paths:
            self.why_rebuilt = "there was none" if self._log.exists() else ""
            return None
        try:
            index = Index(self._store, self._deck.id)
        except IndexUnusableError as error:
            self.why_rebuilt = str(error)
            return None
        meta = index.meta()
        index.close()
        self.why_rebuilt = self._misfit(meta)
        return None if self.why_rebuilt else paths[-1]

    def _misfit(self, meta: Meta) -> str:
        size = self._log.stat().st_size if self._log.exists() else 0
        if meta.order != self._fresh.order:
            return "the order of sources has changed"
        if meta.radius != self._fresh.radius:
            return "the radius has changed"
        if size < meta.offset or (meta.lines and meta.first != _first_of(self._log)):
            return "the log is not the one it was built from"
        return ""

    def _rebuild(self) -> Path:
        paths = index_paths(self._store, self._deck.id)
        number = int(paths[-1].name.split(".")[1]) + 1 if paths else 1
        path = self._store / f"{self._deck.id}.{number:06}.lmdb"
        scratch = self._store / f"{self._deck.id}.new"
        _remove(scratch)
        self._env = self._opened(scratch, sync=False)
        with self._env.begin(write=True) as txn:
            self._write_meta(txn, self._fresh)
        self.catch_up()
        self._env.sync(True)
        self._env.close()
        Path(f"{scratch}-lock").unlink(missing_ok=True)
        scratch.rename(path)
        for old in paths:
            _remove(old)
        return path

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._env.close()

    def meta(self) -> Meta:
        """What the index says of itself now."""
        with self._env.begin() as txn:
            return _read_meta(txn, self._meta_db, self._store)

    def has(self, key: str, variant: int = 0) -> bool:
        """Whether the index, as far as it has caught up, has an entry for this key."""
        with self._env.begin() as txn:
            found = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return found is not None

    def source_of(self, key: str, variant: int = 0) -> str | None:
        """The source of the entry in force for this key."""
        with self._env.begin() as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            return None if value is None else _source(txn, self._meta_db, self._store, value)

    def created(self, key: str, variant: int = 0) -> str:
        """When the entry in force for this key was made; empty where there is none."""
        with self._env.begin() as txn:
            value = txn.get(bytes.fromhex(key) + _VARIANT.pack(variant), db=self._answers)
            if value is None:
                return ""
            offset = _PREFIX.unpack_from(value)[1]
        with self._log.open("rb") as file:
            file.seek(offset)
            return Entry.from_line(file.readline()).created

    def catch_up(self, progress: Callable[[int], None] = lambda offset: None) -> Meta:
        """Take in what the log has beyond the index; returns what the index then says."""
        while True:
            with self._env.begin(write=True) as txn:
                meta = _read_meta(txn, self._meta_db, self._store)
                records = list(itertools.islice(read_log(self._log, meta.offset), _BATCH))
                whole = [r for r in records if not (isinstance(r, Damage) and r.torn)]
                if not whole:
                    return meta
                self._take_in(txn, meta, whole)
                meta.generation += 1
                self._write_meta(txn, meta)
            progress(meta.offset)

    def _take_in(
        self, txn: lmdb.Transaction, meta: Meta, records: Iterable[Record | Damage]
    ) -> None:
        if not meta.first:
            meta.first = _first_of(self._log)
        touched: dict[bytes, tuple[str, ...]] = {}
        for record in records:
            meta.lines += 1
            if isinstance(record, Damage):
                meta.damaged += 1
                meta.offset = self._next_line(record.offset)
                continue
            self._put(txn, meta, record.entry, meta.offset, touched)
            meta.offset = record.end
            self._account(meta, record.entry)
        for hand, cards in touched.items():
            self._update_stock(txn, meta, hand, cards)

    def _next_line(self, offset: int) -> int:
        with self._log.open("rb") as file:
            file.seek(offset)
            return offset + len(file.readline())

    def _account(self, meta: Meta, entry: Entry) -> None:
        meta.cost_usd += entry.cost_usd
        if entry.usage:
            meta.tokens += entry.usage.prompt + entry.usage.output + entry.usage.thoughts
        meta.newest = max(meta.newest, entry.created)

    def _put(
        self,
        txn: lmdb.Transaction,
        meta: Meta,
        entry: Entry,
        offset: int,
        touched: dict[bytes, tuple[str, ...]],
    ) -> None:
        key = bytes.fromhex(entry.key) + _VARIANT.pack(entry.variant)
        origin = _origin(meta, entry)
        value = _PREFIX.pack(origin, offset) + exact_body(entry)
        if not txn.put(key, value, db=self._answers, overwrite=False):
            old_origin, old_offset = _PREFIX.unpack_from(txn.get(key, b"", db=self._answers))
            self._compare(entry, offset, old_offset)
            if self._rank(meta, origin) > self._rank(meta, old_origin):
                return
            txn.put(key, value, db=self._answers)
            _count(meta, old_origin, -1)
        else:
            meta.entries += 1
        _count(meta, origin, 1)
        if entry.query.kind == HAND and entry.variant == 0:
            hand = bytes.fromhex(entry.query.hand_key)
            hashes = b"".join(phrase_hash(phrase) for _, phrase in entry.query.picks)
            txn.put(hand, key[:16] + hashes, db=self._hands, dupdata=False)
            touched[hand] = tuple(card for card, _ in entry.query.picks)

    def _rank(self, meta: Meta, origin: int) -> int:
        source = meta.origins[origin][0]
        return meta.order.index(str(source)) if source in meta.order else len(meta.order)

    def _compare(self, entry: Entry, offset: int, old_offset: int) -> None:
        """Hash to find, compare to confirm."""
        with self._log.open("rb") as file:
            file.seek(old_offset)
            try:
                old = Entry.from_line(file.readline())
            except DamagedLineError:
                return
        if old.query.canonical != entry.query.canonical:
            raise KeyCollisionError(
                f"{self._log}: the lines at bytes {old_offset} and {offset} share key {entry.key} "
                "but ask different things; remove the wrong one"
            )

    def _update_stock(
        self, txn: lmdb.Transaction, meta: Meta, hand: bytes, card_ids: tuple[str, ...]
    ) -> None:
        cards = [self._deck.card_by_id.get(card) for card in card_ids]
        if txn.get(hand, db=self._stocked) is not None:
            return
        with txn.cursor(self._hands) as cursor:
            cursor.set_key(hand)
            values = [bytes(value[16:]) for value in cursor.iternext_dup()]
        known = [card for card in cards if card is not None]
        if len(known) < len(cards):
            return
        options = [len(card.phrases) for card in known]
        places = [{phrase_hash(p.id): i for i, p in enumerate(card.phrases)} for card in known]
        words = [word for word in (_word(value, places) for value in values) if word]
        if is_stocked(words, options, meta.radius):
            txn.put(_POSITION.pack(meta.stocked_hands), orjson.dumps(card_ids), db=self._stock)
            txn.put(hand, _POSITION.pack(meta.stocked_hands), db=self._stocked)
            meta.stocked_hands += 1
            meta.stocked_plays += math.prod(options)

    def _write_meta(self, txn: lmdb.Transaction, meta: Meta) -> None:
        txn.put(_META, orjson.dumps(asdict(meta)), db=self._meta_db)


def _word(hashes: bytes, places: Sequence[dict[bytes, int]]) -> Word | None:
    word = [place.get(hashes[8 * i : 8 * i + 8], -1) for i, place in enumerate(places)]
    return tuple(word) if min(word) >= 0 else None


def _origin(meta: Meta, entry: Entry) -> int:
    for number, (source, model, _) in enumerate(meta.origins):
        if source == entry.source and model == entry.model:
            return number
    meta.origins.append([entry.source, entry.model, 0])
    return len(meta.origins) - 1


def _count(meta: Meta, origin: int, step: int) -> None:
    source, model, count = meta.origins[origin]
    assert isinstance(count, int)
    meta.origins[origin] = [source, model, count + step]


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    Path(f"{path}-lock").unlink(missing_ok=True)


def query_at(log: Path, offset: int) -> Query:
    """The query of the entry whose line begins here."""
    with log.open("rb") as file:
        file.seek(offset)
        return Entry.from_line(file.readline()).query
