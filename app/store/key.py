"""Queries and their keys.

The canonical form of a query is a sequence of netstrings (https://cr.yp.to/proto/netstrings.txt):
a format name, the kind of query, the deck, then the picks, each the netstrings of its two ids,
sorted as bytes. Because lengths come before the text, no separator can be forged; because picks are
sorted, their order does not matter. Nothing depends on JSON or on `repr`, so that upgrading Python
or a library does not change keys. Ids are NFC-normalised; the wording of phrases is not part of a
key.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import xxhash

from app.normal_form import nfc

FORMAT = "tsukurioki-1"
HAND = "hand"
PATTERN = "pattern"
PROMPT = "prompt"
CARDS = "cards"
# Picks are cached if their two ids have at most this many characters together.
_KEPT_LENGTH = 128


def netstring(text: str) -> bytes:
    """One id as `<bytes>:<utf-8>,`; lone surrogates, which JSON allows, stay distinct."""
    raw = nfc(text).encode("utf-8", "surrogatepass")
    return b"%d:%b," % (len(raw), raw)


def netstrings(canonical: bytes) -> list[str]:
    """The ids of a canonical form, its format, kind and deck first."""
    ids, at = [], 0
    while at < len(canonical):
        start = canonical.index(b":", at) + 1
        at = start + int(canonical[at : start - 1]) + 1
        ids.append(canonical[start : at - 1].decode("utf-8", "surrogatepass"))
    return ids


@lru_cache(maxsize=256)
def head(kind: str, deck: str) -> bytes:
    """The part of the canonical form that comes before the picks."""
    return netstring(FORMAT) + netstring(kind) + netstring(deck)


def digest(canonical: bytes) -> str:
    """The 128-bit xxh3 of a canonical form, as 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(canonical)


class Pick(NamedTuple):
    """One pick (a card and its phrase, or an attribute and its value), prepared for keys.

    `canonical` is the netstrings of both ids, by which picks are sorted; `card` is the netstring of
    the first id; `digest` is the `phrase_hash` of the second.
    """

    canonical: bytes
    ids: tuple[str, str]
    card: bytes
    digest: bytes


def pick(first: str, second: str) -> Pick:
    """The pick of two ids.

    Picks of ordinary length are cached: a deck has few, and a build reads each many times. Long
    texts come from clients, and thousands of them would fill the memory.
    """
    known = len(first) + len(second) <= _KEPT_LENGTH
    return _kept_pick(first, second) if known else _pick(first, second)


@lru_cache(maxsize=1 << 13)
def _kept_pick(first: str, second: str) -> Pick:
    return _pick(first, second)


def _pick(first: str, second: str) -> Pick:
    first, second = nfc(first), nfc(second)
    card = netstring(first)
    return Pick(card + netstring(second), (first, second), card, phrase_hash(second))


def phrase_hash(phrase: str) -> bytes:
    """Eight bytes that identify a phrase among those of its card: the 64-bit xxh3 of its id."""
    return xxhash.xxh3_64_digest(phrase.encode("utf-8", "surrogatepass"))


_canonical = operator.itemgetter(0)


class Query(NamedTuple):
    """A normalised request: a play (card → phrase), a pattern (attribute → value) or a prompt.

    `sorted_picks` are in canonical order; make queries with `play`, `pattern`, `prompt` and
    `of_picks`, which sort them. The only pick of a prompt has its canonical text. Properties are computed on demand, because an exact hit needs only the key.
    """

    kind: str
    deck: str
    sorted_picks: tuple[Pick, ...]

    @classmethod
    def of_picks(cls, kind: str, deck: str, picks: Iterable[Pick]) -> Query:
        """The query of some picks in any order; `deck` is an id in NFC."""
        return cls(kind, deck, tuple(sorted(picks)))

    @classmethod
    def play(cls, deck: str, picks: Iterable[tuple[str, str]]) -> Query:
        """A hand with one phrase for each card, as (card id, phrase id)."""
        return cls.of_picks(HAND, nfc(deck), itertools.starmap(pick, picks))

    @classmethod
    def pattern(cls, deck: str, attributes: Iterable[tuple[str, str]]) -> Query:
        """A chat pattern, as (attribute, value): character, intent, and further ones."""
        return cls.of_picks(PATTERN, nfc(deck), itertools.starmap(pick, attributes))

    @classmethod
    def prompt(cls, deck: str, text: str) -> Query:
        """A prompt, as the canonical text of a request."""
        return cls.of_picks(PROMPT, nfc(deck), [pick(PROMPT, text)])

    @property
    def picks(self) -> tuple[tuple[str, str], ...]:
        """The two ids of each pick, in canonical order."""
        return tuple([one.ids for one in self.sorted_picks])

    @property
    def canonical(self) -> bytes:
        """The canonical form, from which the key is computed."""
        return head(self.kind, self.deck) + b"".join(map(_canonical, self.sorted_picks))

    @property
    def cards(self) -> bytes:
        """The canonical form of the cards alone; sorted picks have their cards sorted too."""
        return head(CARDS, self.deck) + b"".join([one.card for one in self.sorted_picks])

    @property
    def card_ids(self) -> tuple[str, ...]:
        """The first id of each pick, in canonical order."""
        return tuple([one.ids[0] for one in self.sorted_picks])

    @property
    def digests(self) -> bytes:
        """The phrases' hashes, 8 bytes each, in canonical order."""
        return b"".join([one.digest for one in self.sorted_picks])

    @property
    def key(self) -> str:
        """The key as 32 hex digits."""
        return digest(self.canonical)

    @property
    def raw_key(self) -> bytes:
        """The key as 16 bytes."""
        return xxhash.xxh3_128_digest(self.canonical)

    @property
    def hand_key(self) -> str:
        """The key of the cards alone, as 32 hex digits."""
        return digest(self.cards)

    @property
    def raw_hand_key(self) -> bytes:
        """The key of the cards alone as 16 bytes."""
        return xxhash.xxh3_128_digest(self.cards)

    def to_json(self) -> dict[str, Any]:
        """The query as it is written in the log."""
        if self.kind == HAND:
            hand = [{"card": card, "phrase": phrase} for card, phrase in self.picks]
            return {"deck": self.deck, "hand": hand}
        if self.kind == PROMPT:
            return {"deck": self.deck, "prompt": self.picks[0][1]}
        return {"deck": self.deck, "pattern": dict(self.picks)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Query:
        """Parse what `to_json` made. Raises KeyError, TypeError or AttributeError otherwise."""
        if "hand" in value:
            # Not `pick`: the call would double the price, and these are no texts of clients.
            picks = [_kept_pick(one["card"], one["phrase"]) for one in value["hand"]]
            return cls.of_picks(HAND, nfc(value["deck"]), picks)
        if "prompt" in value:
            return cls.prompt(value["deck"], value["prompt"])
        return cls.pattern(value["deck"], value["pattern"].items())


def hand_key(deck: str, cards: Iterable[str]) -> str:
    """The key of the cards alone, from their ids, as 32 hex digits."""
    return digest(head(CARDS, deck) + b"".join(sorted(map(netstring, cards))))
