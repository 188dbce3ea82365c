"""Queries and their keys.

The canonical form of a query is a run of netstrings (https://cr.yp.to/proto/netstrings.txt):
a format name, the kind of query, the deck, then the picks, each the netstrings of its two ids,
sorted as bytes. Lengths before the text mean that no separator can be forged, sorting means that
order does not matter, and nothing in it depends on JSON or on `repr`, so that neither an upgrade of
Python nor of a library empties the store. Ids are NFC-normalised; wording is not part of a key.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import xxhash

FORMAT = "tsukurioki-1"
HAND = "hand"
PATTERN = "pattern"
_CARDS = "cards"


def _nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def netstring(text: str) -> bytes:
    """One id as `<bytes>:<utf-8>,`; lone surrogates, which JSON can smuggle in, stay distinct."""
    raw = _nfc(text).encode("utf-8", "surrogatepass")
    return b"%d:%b," % (len(raw), raw)


def head(kind: str, deck: str) -> bytes:
    """The part of the canonical form that comes before the picks."""
    return netstring(FORMAT) + netstring(kind) + netstring(deck)


def digest(canonical: bytes) -> str:
    """The 128-bit xxh3 of a canonical form, as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(canonical)


@dataclass(frozen=True, slots=True)
class Query:
    """A normalised request: a play (card → phrase) or a pattern (attribute → value).

    `picks` is in canonical order; make queries with `play` and `pattern`, which see to it.
    """

    kind: str
    deck: str
    picks: tuple[tuple[str, str], ...]

    @classmethod
    def play(cls, deck: str, picks: Iterable[tuple[str, str]]) -> Query:
        """A hand with one phrase picked for each card."""
        return cls(HAND, _nfc(deck), _ordered(picks))

    @classmethod
    def pattern(cls, deck: str, attributes: Iterable[tuple[str, str]]) -> Query:
        """A chat pattern: character, intent, and what else the deck distinguishes."""
        return cls(PATTERN, _nfc(deck), _ordered(attributes))

    @property
    def canonical(self) -> bytes:
        """What is hashed; compared where two queries must be told apart for certain."""
        return head(self.kind, self.deck) + b"".join(map(_pair, self.picks))

    @property
    def key(self) -> str:
        """32 hex digits."""
        return digest(self.canonical)

    @property
    def hand_key(self) -> str:
        """The key of the cards alone, whatever the phrases."""
        return hand_key(self.deck, (card for card, _ in self.picks))

    def to_json(self) -> dict[str, Any]:
        """The form that stands in the log."""
        if self.kind == HAND:
            hand = [{"card": card, "phrase": phrase} for card, phrase in self.picks]
            return {"deck": self.deck, "hand": hand}
        return {"deck": self.deck, "pattern": dict(self.picks)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Query:
        """Back from the log. Raises KeyError, TypeError or AttributeError on another shape."""
        if "hand" in value:
            return cls.play(value["deck"], [(p["card"], p["phrase"]) for p in value["hand"]])
        return cls.pattern(value["deck"], value["pattern"].items())


def _pair(pick: tuple[str, str]) -> bytes:
    return netstring(pick[0]) + netstring(pick[1])


def _ordered(picks: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(((_nfc(a), _nfc(b)) for a, b in picks), key=_pair))


def hand_key(deck: str, cards: Iterable[str]) -> str:
    """The key of a hand: its cards without their phrases."""
    return digest(head(_CARDS, deck) + b"".join(sorted(map(netstring, cards))))
