"""The format of the index: an LMDB file derived from the log, in which an exact hit is one lookup.

`<store>/<deck>.lmdb` is a sealed file (see `app.store.sealed`): it is published whole, never
changed in place, and its checksum is verified when it is opened. It can be deleted and built again.

Databases of the file; `sum` is the 64-bit xxh3 of the content that follows it, then the row's key:

    answers   key (16 bytes) + variant (u16, big endian)  →  origin (u16) + offset (u64) + sum + body
    hands     hand key (16)                →  sum + records, see `app.store.hands`
    stock     position (u32, big endian)   →  sum + JSON list of card ids
    meta      b"meta"                      →  sum + JSON, see `Meta`

`origin` is an index into Meta.origins; `offset` is the offset of the entry's line in the log.

Rows have checksums besides the file's, because pages may be read again later from a failing disk,
and because Redis has the same rows without the file.
"""

from __future__ import annotations

import struct
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lmdb
import orjson
import xxhash

from app.errors import IndexUnusableError
from app.store.hands import KEY_SIZE
from app.store.sealed import environment

FORMAT = 6

_ORIGIN = struct.Struct("<HQ")
ORIGIN_SIZE = _ORIGIN.size
SUM_SIZE = 8
BODY_START = ORIGIN_SIZE + SUM_SIZE
VARIANT = struct.Struct(">H")
_POSITION = struct.Struct(">I")
META_NAME = b"meta"
_DATABASES = ("answers", "hands", "stock", "meta")
checksum = xxhash.xxh3_64_digest


@dataclass
class Meta:
    """The index's description of itself.

    The index covers the first `offset` bytes of the log, whose checksum is `log`; `built` is the
    value of `log` when the index was last built from nothing. `order` and `radius` are those of
    StoreOptions, `shape` is the deck's. `lines` counts lines read, `damaged` those that could not
    be parsed, `cost_usd` and `tokens` add up entries and bills, `entries` the entries served, `plays` those of variant 0 that the deck in its present
    form can ask for, `paid` those that cost something. `origins` are (source, model, entries
    served), `newest` is the latest time of creation.
    """

    deck: str
    shape: str
    order: list[str]
    radius: int
    format: int = FORMAT
    log: str = ""
    built: str = ""
    offset: int = 0
    lines: int = 0
    damaged: int = 0
    entries: int = 0
    plays: int = 0
    paid: int = 0
    generation: int = 0
    origins: list[tuple[str, str, int]] = field(default_factory=list)
    cost_usd: float = 0.0
    tokens: float = 0.0
    newest: str = ""
    stocked_hands: int = 0
    stocked_plays: int = 0

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Meta:
        """Parse a Meta. Raises IndexUnusableError, which names `where`, for another format."""
        try:
            fields = orjson.loads(text)
            if fields["format"] != FORMAT:
                raise IndexUnusableError(f"{where}: has format {fields['format']}, not {FORMAT}")
            return cls(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise IndexUnusableError(f"{where}: is not an index: {error}") from None


def index_path(store: Path, deck: str) -> Path:
    return store / f"{deck}.lmdb"


def row(name: bytes, content: bytes) -> bytes:
    """A row's value: the checksum, then the content."""
    return checksum(content + name) + content


def content_of(name: bytes, value: bytes | None) -> bytes | None:
    """The content of a row's value; None if there is none, or if the checksum does not fit."""
    if value is None:
        return None
    content = value[SUM_SIZE:]
    return content if value.startswith(checksum(content + name)) else None


def answer_name(key: bytes, variant: int) -> bytes:
    """The key of an answer's row."""
    return key + VARIANT.pack(variant)


def variant_of(name: bytes) -> int:
    """The variant of an answer's row, from its key."""
    number: int = VARIANT.unpack(name[KEY_SIZE:])[0]
    return number


def position_name(position: int) -> bytes:
    """The key of a stocked hand's row."""
    return _POSITION.pack(position)


class Origin(NamedTuple):
    """Where a served entry comes from: an index into Meta.origins, its line's offset in the log."""

    number: int
    offset: int

    @classmethod
    def of(cls, value: bytes) -> Origin:
        """Parse the beginning of an answer's row."""
        return cls(*_ORIGIN.unpack_from(value))

    def packed(self) -> bytes:
        """The bytes with which an answer's row begins."""
        return _ORIGIN.pack(*self)


class Rows:
    """The databases of an index file. Raises IndexUnusableError if it cannot be opened.

    The file is closed with `close`, or when the object is collected.
    """

    def __init__(self, file: BinaryIO, where: Path, *, write: bool) -> None:
        try:
            self.env, handles = environment(file, _DATABASES, write=write)
        except (OSError, lmdb.Error) as error:
            file.close()
            raise IndexUnusableError(f"{where}: cannot be read: {error}") from None
        self.file, self.where = file, where
        # A replaced index may still be in use by other threads: it is closed when collected.
        self.close = weakref.finalize(self, _close, self.env, file)
        self.databases = dict(zip(_DATABASES, handles, strict=True))

    def read(self, database: str, name: bytes) -> bytes | None:
        """The content of a row, None if there is none. Raises IndexUnusableError."""
        try:
            with self.env.begin(self.databases[database]) as txn:
                value = txn.get(name)
        except lmdb.Error as error:
            raise IndexUnusableError(f"{self.where}: cannot be read: {error}") from None
        content = content_of(name, value)
        if value is not None and content is None:
            raise IndexUnusableError(f"{self.where}: row {name.hex()} is damaged")
        return content

    def meta(self) -> Meta:
        """The index's description of itself. Raises IndexUnusableError."""
        return Meta.from_json(self.read("meta", META_NAME) or b"{}", str(self.where))

    def origin(self, key: str, variant: int) -> Origin | None:
        """The origin of the entry that is served for a key; None if there is none."""
        with self.env.begin(self.databases["answers"]) as txn:
            value = txn.get(answer_name(bytes.fromhex(key), variant))
        return None if value is None else Origin.of(value)


def _close(env: lmdb.Environment, file: BinaryIO) -> None:
    # In this order: LMDB identifies an environment by the descriptor, which closing makes free.
    env.close()
    file.close()
