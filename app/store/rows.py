"""The format of the index: an LMDB file derived from the log, in which an exact hit is one lookup.

`<store>/<deck>.lmdb` is a sealed file (see `app.store.sealed`): published whole, never changed in
place, and proved by its checksum when it is opened. Deleting it loses nothing.

Databases of the file; `sum` is the 64-bit xxh3 of what follows it and of the row's key:

    answers   key (16 bytes) + variant (u16, big endian)  →  origin (u16) + offset (u64) + sum + body
    hands     hand key (16)                →  sum + records, see `app.store.hands`
    stock     position (u32, big endian)   →  sum + JSON list of card ids
    meta      b"meta"                      →  sum + JSON, see `Meta`

`origin` is a number into Meta.origins; `offset` is where the entry's line begins in the log.

The file's checksum proves what is on the disk when it is opened, a row's what is sent: the pages of
a copy may be read again from a disk that fails, and Redis has the same rows without the file.
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
    """What the index says of itself.

    The index holds the first `offset` bytes of the log, of which `log` is the checksum; `built`
    is that checksum as it was when the index was last built from nothing. `plays` counts the
    entries that answer a play of the deck of today (variant 0), `shape` is the deck's, `origins`
    are [source, model, entries in force], `damaged` counts lines that could not be read.
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
        """Back from JSON. Raises IndexUnusableError if it is of another format."""
        try:
            fields = orjson.loads(text)
            if fields["format"] != FORMAT:
                raise IndexUnusableError(f"{where}: has format {fields['format']}, not {FORMAT}")
            return cls(**fields)
        except (ValueError, KeyError, TypeError) as error:
            raise IndexUnusableError(f"{where}: is not an index: {error}") from None


def index_path(store: Path, deck: str) -> Path:
    """Where the index of a deck is."""
    return store / f"{deck}.lmdb"


def row(name: bytes, content: bytes) -> bytes:
    """A row's value: its checksum, then what it holds."""
    return checksum(content + name) + content


def content_of(name: bytes, value: bytes | None) -> bytes | None:
    """What a row's value holds; None if there is none, or if the checksum does not fit."""
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
    """Where the entry in force for a key comes from: a number into Meta.origins, and its line."""

    number: int
    offset: int

    @classmethod
    def of(cls, value: bytes) -> Origin:
        """From an answer's row."""
        return cls(*_ORIGIN.unpack_from(value))

    def packed(self) -> bytes:
        """As an answer's row begins."""
        return _ORIGIN.pack(*self)


class Rows:
    """The databases of an open file. What LMDB raises becomes IndexUnusableError."""

    def __init__(self, file: BinaryIO, where: Path, *, write: bool) -> None:
        try:
            self.env, handles = environment(file, _DATABASES, write=write)
        except (OSError, lmdb.Error) as error:
            file.close()
            raise IndexUnusableError(f"{where}: cannot be read: {error}") from None
        self.file, self.where = file, where
        # An index that was replaced is closed when nobody holds it any more.
        self.close = weakref.finalize(self, _close, self.env, file)
        self.databases = dict(zip(_DATABASES, handles, strict=True))

    def read(self, database: str, name: bytes) -> bytes | None:
        """What a row holds, None if there is none. Raises IndexUnusableError."""
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
        """What the index says of itself. Raises IndexUnusableError."""
        return Meta.from_json(self.read("meta", META_NAME) or b"{}", str(self.where))

    def origin(self, key: str, variant: int) -> Origin | None:
        """Where the entry in force comes from."""
        with self.env.begin(self.databases["answers"]) as txn:
            value = txn.get(answer_name(bytes.fromhex(key), variant))
        return None if value is None else Origin.of(value)


def _close(env: lmdb.Environment, file: BinaryIO) -> None:
    # In this order: LMDB knows an environment by the file's number, which is then free.
    env.close()
    file.close()
