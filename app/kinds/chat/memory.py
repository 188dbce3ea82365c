"""What a conversation with a character remembers: numbers, a name and a few nouns, in a row of bytes."""

from __future__ import annotations

import struct
from typing import NamedTuple

# Bytes of a name or a noun: ten kana.
NOUN_BYTES = 30
# Things that are remembered of a conversation; the oldest is forgotten for a new one.
MOST_TOLD = 4
_HEAD = struct.Struct(f"<HIBBQIIQIIBIB{NOUN_BYTES}s")
_ONE = struct.Struct(f"<IH?{NOUN_BYTES}s")
SIZE = _HEAD.size + MOST_TOLD * _ONE.size


class Told(NamedTuple):
    """Something that the user told: its number, when (messages), its noun, and if it came up again."""

    what: int
    turn: int
    recalled: bool
    it: str


class Memory(NamedTuple):
    """What a conversation with a character remembers.

    `turn` counts the user's messages. `open` is the number of the topic that the last line asked
    about, `depth` how many questions in a row have followed from one another, `fallbacks` how many
    messages in a row nothing answered. `last` is a hash of the last message. `offers` are the topics
    that the last line offered, `offered` is whether any were; the bits of `used` are the topics that
    there have been, `things` the numbers of those that the last line named. `tone` is the number of the
    tone of the last message that had one, found `since` messages; `telling` is whether the last message told
    something.
    """

    turn: int = 0
    open: int = 0
    depth: int = 0
    fallbacks: int = 0
    last: int = 0
    offers: tuple[int, int] = (0, 0)
    used: int = 0
    things: tuple[int, int] = (0, 0)
    offered: bool = False
    tone: int = 0
    since: int = 0
    telling: bool = False
    name: str = ""
    told: tuple[Told, ...] = ()

    def packed(self) -> bytes:
        """The `SIZE` bytes of the shared state."""
        head = _HEAD.pack(
            min(self.turn, 0xFFFF),
            self.open,
            min(self.depth, 0xFF),
            min(self.fallbacks, 0xFF),
            self.last,
            *self.offers,
            self.used,
            *self.things,
            self.offered | self.telling << 1,
            self.tone,
            min(self.since, 0xFF),
            self.name.encode(),
        )
        told = (_ONE.pack(*one[:3], one.it.encode()) for one in self.told)
        return b"".join([head, *told]).ljust(SIZE, b"\0")


def unpacked(row: bytes) -> Memory:
    """Parse the bytes of the shared state."""
    head = _HEAD.unpack_from(row)
    turn, topic, depth, fallbacks, last, a, b, used, one, two, flags, tone, since, name = head
    rows = (_ONE.unpack_from(row, _HEAD.size + place * _ONE.size) for place in range(MOST_TOLD))
    told = tuple(Told(what, at, back, _text(it)) for what, at, back, it in rows if what)
    return Memory(
        turn, topic, depth, fallbacks, last, (a, b), used, (one, two), bool(flags & 1), tone, since,
        bool(flags & 2), _text(name), told,
    )  # fmt: skip


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode()
