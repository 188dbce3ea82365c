"""Writing what the index has of hands: the records of their plays, and which hands are stocked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import lmdb
import orjson
import xxhash

from app.store.coverage import sphere_bound
from app.store.hands import HASH_SIZE, KEY_SIZE, is_hand_stocked, records_of
from app.store.key import CARDS, Query, head, netstrings
from app.store.rows import SUM_SIZE, Meta, answer_name, position_name, row

# A hand's number of cards is stored in a byte.
MOST_CARDS = 255
# Where the first record begins in a row of `play_row`.
_RECORD = KEY_SIZE + 1
_DIGESTS = _RECORD + KEY_SIZE


class Coverage(Protocol):
    """What the index needs to know about the hands of a deck, to count those that are stocked."""

    @property
    def shape(self) -> str:
        """A text that changes if cards or phrases change, on which coverage depends."""

    @property
    def fewest_phrases(self) -> Sequence[int]:
        """How many phrases the cards of a hand have at least, one number for each of its cards."""

    def is_play(self, picks: Sequence[bytes]) -> bool:
        """Whether picks in canonical form, in their order, are a play of this deck."""

    def phrase_ids(self, cards: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The ids of the phrases of each card of a play."""


def play_row(query: Query, key: bytes, coverage: Coverage) -> bytes:
    """A hand's entry of variant 0 for `hands`.

    The hand's key, the records of a hand that has only this entry, and if it is a play of the deck the
    canonical form of its cards.
    """
    picks, _, names, digests = zip(*query.sorted_picks, strict=True)
    cards = head(CARDS, query.deck) + b"".join(names)
    hand, ids = xxhash.xxh3_128_digest(cards), cards if coverage.is_play(picks) else b""
    return b"%b%c%b%b%b" % (hand, len(digests), key, b"".join(digests), ids)


class StockWriter:
    """Writes hands and stock into the `databases` of an index."""

    def __init__(self, databases: Mapping[str, Any], coverage: Coverage, radius: int) -> None:
        self._databases = databases
        self._coverage = coverage
        self._radius = radius
        # No hand is stocked with fewer records.
        self._fewest = sphere_bound(coverage.fewest_phrases, radius)

    def put(
        self, txn: lmdb.Transaction, meta: Meta, hand: bytes, plays: list[bytes], *, new: bool
    ) -> None:
        """Bring a hand's records up to some rows of `play_row`, and the stock up to the hand.

        What is stocked is counted in `meta`; `new`: the hand's key follows all that are there.
        """
        hands, held = self._databases["hands"], self._databases["held"]
        if new and len(plays) == 1 and self._fewest > 1 and not meta.held:
            # Nearly all hands of a large store that is no stock.
            (play,) = plays
            end = _DIGESTS + HASH_SIZE * play[KEY_SIZE]
            meta.plays += len(play) > end
            txn.put(hand, row(hand, play[KEY_SIZE:end]), append=True, db=hands)
            return
        value = b"" if new else bytes(txn.get(hand, b"", db=hands))[SUM_SIZE:]
        count = plays[0][KEY_SIZE:_RECORD]
        end = _DIGESTS + HASH_SIZE * count[0]
        # By the entries' keys.
        records = {record[:KEY_SIZE]: record for record in records_of(value)}
        gone, cards = False, b""
        for play in plays:
            key, ids = play[_RECORD:_DIGESTS], play[end:]
            cards = cards or ids
            if meta.held and txn.get(answer_name(key, 0), db=held):
                if records.pop(key, None):
                    gone = True
                    meta.plays -= bool(ids)
            elif key not in records:
                records[key] = play[_RECORD:end]
                meta.plays += bool(ids)
        if gone:
            meta.built = ""
        before, joined = value or count, count + b"".join(records.values())
        if joined == before:
            return
        txn.put(hand, row(hand, joined), append=new, db=hands)
        if cards and (gone or len(records) >= self._fewest):
            self._count(txn, meta, cards, before, joined)

    def _count(
        self, txn: lmdb.Transaction, meta: Meta, cards: bytes, before: bytes, joined: bytes
    ) -> None:
        """Bring the stock up to a hand whose records have changed."""
        ids = netstrings(cards)[3:]
        phrases = self._coverage.phrase_ids(ids)
        covered = is_hand_stocked(joined, phrases, self._radius)
        if covered != is_hand_stocked(before, phrases, self._radius):
            self._put_stock(txn, meta, orjson.dumps(ids), phrases, covered=covered)

    def _put_stock(
        self,
        txn: lmdb.Transaction,
        meta: Meta,
        cards: bytes,
        phrases: Sequence[Sequence[str]],
        *,
        covered: bool,
    ) -> None:
        """Add a hand to the stock once it is covered, and take it out when it no longer is."""
        stock = self._databases["stock"]
        meta.stocked_plays += math.prod(map(len, phrases)) * (1 if covered else -1)
        if covered:
            position = position_name(meta.stocked_hands)
            txn.put(position, row(position, cards), db=stock)
            meta.stocked_hands += 1
            return
        meta.stocked_hands -= 1
        # The last hand takes its place, so that the positions stay without a gap.
        last = position_name(meta.stocked_hands)
        moved = bytes(txn.get(last, b"", db=stock))[SUM_SIZE:]
        with txn.cursor(stock) as cursor:
            place = next(bytes(name) for name, value in cursor if value[SUM_SIZE:] == cards)
        txn.put(place, row(place, moved), db=stock)
        txn.delete(last, db=stock)
