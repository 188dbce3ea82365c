"""Writing what the index has of hands: the records of their plays, and which hands are stocked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import lmdb
import orjson

from app.store.hands import KEY_SIZE, is_hand_stocked, records_of
from app.store.key import Query
from app.store.rows import SUM_SIZE, Meta, answer_name, position_name, row


class Coverage(Protocol):
    """What the index needs to know about the hands of a deck, to count those that are stocked."""

    @property
    def shape(self) -> str:
        """A text that changes if cards or phrases change, on which coverage depends."""

    def phrase_ids(self, query: Query) -> tuple[tuple[str, ...], ...] | None:
        """The ids of the phrases of each card of a play, the cards in the query's order.

        None if the query is not a play of this deck.
        """


class PlayEntry(NamedTuple):
    """An entry of variant 0 for `hands`."""

    hand: bytes
    key: bytes
    query: Query


class StockWriter:
    """Writes hands and stock into the `databases` of an index."""

    def __init__(self, databases: Mapping[str, Any], coverage: Coverage) -> None:
        self._databases = databases
        self._coverage = coverage

    def put(
        self,
        txn: lmdb.Transaction,
        meta: Meta,
        hand: bytes,
        plays: list[PlayEntry],
        out: set[bytes],
    ) -> None:
        """Bring a hand's records up to some plays, and the stock up to the hand.

        `out` has the names of answers that are not served. What is stocked is counted in `meta`.
        """
        hands = self._databases["hands"]
        value = bytes(txn.get(hand, b"", db=hands))
        before = value[SUM_SIZE:] if value else bytes([len(plays[0].query.sorted_picks)])
        known = {record[:KEY_SIZE] for record in records_of(before)} if value else set()
        gone = {key for _, key, _ in plays if answer_name(key, 0) in out} if out else set()
        new = {key: query for _, key, query in plays if key not in gone and key not in known}
        gone &= known
        if not (new or gone):
            return
        kept = before
        if gone:
            records = [one for one in records_of(before) if one[:KEY_SIZE] not in gone]
            kept = before[:1] + b"".join(records)
            meta.built = ""
        joined = kept + b"".join([key + query.digests for key, query in new.items()])
        txn.put(hand, row(hand, joined), db=hands)
        of_deck = {
            key: phrases for _, key, query in plays if (phrases := self._coverage.phrase_ids(query))
        }
        meta.plays += len(of_deck.keys() & new.keys()) - len(of_deck.keys() & gone)
        if not of_deck:
            return
        phrases = next(iter(of_deck.values()))
        covered = is_hand_stocked(joined, phrases, meta.radius)
        if covered != is_hand_stocked(before, phrases, meta.radius):
            self._put_stock(txn, meta, plays[0].query, phrases, covered=covered)

    def _put_stock(
        self,
        txn: lmdb.Transaction,
        meta: Meta,
        query: Query,
        phrases: Sequence[Sequence[str]],
        *,
        covered: bool,
    ) -> None:
        """Add a hand to the stock once it is covered, and take it out when it no longer is."""
        stock = self._databases["stock"]
        cards = orjson.dumps([card for card, _ in query.picks])
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
