"""The format of the index: an LMDB file derived from the log, in which an exact hit is one lookup.

`<store>/<deck>.lmdb` is a sealed file (see `app.store.sealed`): it is published whole, never
changed in place, and its checksum is verified when it is opened. It can be deleted and built again.

Databases of the file; `sum` is the 64-bit xxh3 of the content that follows it, then the row's key:

    answers   key (16 bytes) + variant (u16, big endian)  →  origin (u16) + offset (u64) + sum + body
    held      the same  →  origin + offset + sum + state, and after a line break the body
    hands     hand key (16)                →  sum + records, see `app.store.hands`
    stock     position (u32, big endian)   →  sum + JSON list of card ids
    meta      b"meta"                      →  sum + JSON, see `Meta`

`origin` is an index into Meta.origins, its highest bit set if the text is approved; `offset` is the
offset of the entry's line in the log. `held` has what is not served: texts that wait for approval,
if only approved ones are served, and texts that a reviewer rejected or deleted, without their bodies.

Rows have checksums besides the file's, because pages may be read again later from a failing disk,
and because Redis has the same rows without the file.
"""

from __future__ import annotations

import struct
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lmdb
import orjson
import xxhash

from app.errors import IndexUnusableError
from app.store.decision import DELETED, REJECTED, WITHDRAWN
from app.store.hands import KEY_SIZE
from app.store.sealed import environment
from app.store.sources import REVIEWED

FORMAT = 7

ORIGIN = struct.Struct("<HQ")
ORIGIN_SIZE = ORIGIN.size
SUM_SIZE = 8
BODY_START = ORIGIN_SIZE + SUM_SIZE
VARIANT = struct.Struct(">H")
NAME_SIZE = KEY_SIZE + VARIANT.size
_POSITION = struct.Struct(">I")
META_NAME = b"meta"
# The databases that a server reads.
SERVED = ("answers", "held", "hands", "stock")
_DATABASES = (*SERVED, "meta")
# The state of a text that waits for approval; the others in `held` are verdicts.
WAITING = "waiting"
_APPROVED = 1 << 15
checksum = xxhash.xxh3_64_digest


@dataclass
class Meta:
    """The index's description of itself.

    The index covers the first `offset` bytes of the log, whose checksum is `log`; `built` is the
    value of `log` when rows were last taken away or the index was built from nothing; `log_modified_ns`
    is the log's time of modification before it was read, 0 if it went on past `offset`. `order`, `radius`
    and `approved` are those of StoreOptions, `shape` is the deck's. `reviewed` counts the served texts that are approved or edited, `held` names without a text
    that is served. `lines` counts lines read, `damaged` those that could not
    be parsed, `cost_usd` and `tokens` add up entries and bills, `entries` the entries served, `plays`
    those of variant 0 that the deck in its present
    form can ask for, `paid` those that cost something. `origins` are (source, model, entries
    served), `newest` is the latest time of creation.
    """

    deck: str
    shape: str
    order: list[str]
    radius: int
    approved: bool = False
    held: int = 0
    reviewed: int = 0
    format: int = FORMAT
    log: str = ""
    built: str = ""
    log_modified_ns: int = 0
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


def held_content(state: str, body: bytes = b"") -> bytes:
    """The content of a row of `held`."""
    return state.encode() + b"\n" + body


def state_of(content: bytes) -> str:
    """The state that a row of `held` has."""
    return content.partition(b"\n")[0].decode()


def variant_of(name: bytes) -> int:
    """The variant of an answer's row, from its key."""
    number: int = VARIANT.unpack(name[KEY_SIZE:])[0]
    return number


def position_name(position: int) -> bytes:
    """The key of a stocked hand's row."""
    return _POSITION.pack(position)


class Origin(NamedTuple):
    """Where an entry comes from: an index into Meta.origins, its line's offset in the log."""

    number: int
    offset: int
    approved: bool = False

    @classmethod
    def of(cls, value: bytes) -> Origin:
        """Parse the beginning of an answer's row."""
        number, offset = ORIGIN.unpack_from(value)
        return cls(number & ~_APPROVED, offset, bool(number & _APPROVED))

    def packed(self) -> bytes:
        """The bytes with which an answer's row begins."""
        return ORIGIN.pack(self.number | _APPROVED * self.approved, self.offset)


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

    def read(self, database: str, name: bytes, start: int = 0) -> bytes | None:
        """The content of a row, None if there is none. Raises IndexUnusableError.

        `start` is where the checksum begins.
        """
        try:
            with self.env.begin(self.databases[database]) as txn:
                value = txn.get(name)
        except lmdb.Error as error:
            raise IndexUnusableError(f"{self.where}: cannot be read: {error}") from None
        content = content_of(name, None if value is None else value[start:])
        if value is not None and content is None:
            raise IndexUnusableError(f"{self.where}: row {name.hex()} is damaged")
        return content

    def meta(self) -> Meta:
        """The index's description of itself. Raises IndexUnusableError."""
        return Meta.from_json(self.read("meta", META_NAME) or b"{}", str(self.where))

    def origin(self, key: str, variant: int, database: str = "answers") -> Origin | None:
        """The origin of the entry that is served for a key; None if there is none."""
        with self.env.begin(self.databases[database]) as txn:
            value = txn.get(answer_name(bytes.fromhex(key), variant))
        return None if value is None else Origin.of(value)

    def standing(self, key: str, variant: int) -> tuple[str, Origin] | None:
        """The state (empty: served) and origin of what is in force for a key; None if nothing is."""
        if origin := self.origin(key, variant):
            return "", origin
        content = self.read("held", answer_name(bytes.fromhex(key), variant), ORIGIN_SIZE)
        origin = self.origin(key, variant, "held")
        return None if content is None or origin is None else (state_of(content), origin)

    def source_of(
        self, origins: Sequence[tuple[str, str, int]], key: str, variant: int
    ) -> str | None:
        """The source that a build must be better than; None if the build should cook the answer."""
        found = self.standing(key, variant)
        if found is None or found[0] in (REJECTED, WITHDRAWN):
            return None
        state, origin = found
        return REVIEWED if origin.approved or state == DELETED else origins[origin.number][0]


def _close(env: lmdb.Environment, file: BinaryIO) -> None:
    # In this order: LMDB identifies an environment by the descriptor, which closing makes free.
    env.close()
    file.close()
