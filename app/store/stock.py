"""Writing what the index has of hands: the records of their plays, and which hands are stocked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import lmdb
import orjson

from app.store.hands import HASH_SIZE, KEY_SIZE, is_hand_stocked, records_of
from app.store.key import Query
from app.store.rows import SUM_SIZE, Meta, answer_name, position_name, row


class Coverage(Protocol):
    """What the index needs to know about the hands of a deck, to count those that are stocked."""

    @property
    def shape(self) -> str:
        """A text that changes if cards or phrases change, on which coverage depends."""

    def has_play(self, query: Query) -> bool:
        """Whether a query is a play of this deck."""

    def phrase_ids(self, cards: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The ids of the phrases of each card of a play."""


# An entry of variant 0 for `hands`: the hand's key, its own key, the hashes of its phrases, and the ids
# of its cards, or none if it is not a play of the deck.
Play = tuple[bytes, bytes, bytes, tuple[str, ...]]


class StockWriter:
    """Writes hands and stock into the `databases` of an index."""

    def __init__(self, databases: Mapping[str, Any], coverage: Coverage) -> None:
        self._databases = databases
        self._coverage = coverage

    def put(
        self, txn: lmdb.Transaction, meta: Meta, hand: bytes, plays: list[Play], *, new: bool
    ) -> None:
        """Bring a hand's records up to some plays, and the stock up to the hand.

        What is stocked is counted in `meta`; `new`: the hand's key follows all that are there.
        """
        hands, held = self._databases["hands"], self._databases["held"]
        value = b"" if new else bytes(txn.get(hand, b"", db=hands))
        before = value[SUM_SIZE:] or bytes([len(plays[0][2]) // HASH_SIZE])
        known = {record[:KEY_SIZE] for record in records_of(before)} if value else set()
        gone = set()
        joined = before
        cards: tuple[str, ...] = ()
        for _, key, digests, ids in plays:
            cards = cards or ids
            if meta.held and txn.get(answer_name(key, 0), db=held):
                if key in known:
                    known.remove(key)
                    gone.add(key)
                    meta.plays -= bool(ids)
            elif key not in known:
                known.add(key)
                joined += key + digests
                meta.plays += bool(ids)
        if gone:
            records = [one for one in records_of(joined) if one[:KEY_SIZE] not in gone]
            joined = before[:1] + b"".join(records)
            meta.built = ""
        if joined == before:
            return
        txn.put(hand, row(hand, joined), append=new, db=hands)
        if not cards:
            return
        phrases = self._coverage.phrase_ids(cards)
        covered = is_hand_stocked(joined, phrases, meta.radius)
        if (covered or gone) and covered != is_hand_stocked(before, phrases, meta.radius):
            self._put_stock(txn, meta, cards, phrases, covered=covered)

    def _put_stock(
        self,
        txn: lmdb.Transaction,
        meta: Meta,
        ids: tuple[str, ...],
        phrases: Sequence[Sequence[str]],
        *,
        covered: bool,
    ) -> None:
        """Add a hand to the stock once it is covered, and take it out when it no longer is."""
        stock = self._databases["stock"]
        cards = orjson.dumps(ids)
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
