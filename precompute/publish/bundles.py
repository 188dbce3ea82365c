"""Stored answers in bundles: one file for all hands whose keys begin with the same bits.

A bundle has everything that is stored for its hands, so that the exact answer to a play and the
nearest one of the same hand come with one request:

    {hand key: {key: {"phrases": […], "answers": {variant: body}}}}

`phrases` are the ids in canonical order of the cards; for a phrase that the deck no longer has, its
hash stands there. Bodies are those that the server sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import orjson

from app.kinds.cards.deck import Deck
from app.store.hands import KEY_SIZE, records_of
from app.store.index import Index
from app.store.key import phrase_hash
from app.store.log import entry_at, log_path

# Plays in one bundle, on average: two stocked hands, some 20 kB compressed.
PLAYS = 64
_MOST_BITS = 20
_HASH_SIZE = 8
_MOST_VARIANTS = 1000


class StoredPlay(NamedTuple):
    """What is stored for one play: key, phrases, and finished bodies by variant."""

    key: bytes
    phrases: tuple[str, ...]
    answers: Mapping[int, bytes]


def bits_for(plays: int) -> int:
    """The number of leading bits of a hand key that name its bundle."""
    return next(
        bits for bits in range(_MOST_BITS + 1) if plays <= PLAYS << bits or bits == _MOST_BITS
    )


def bundles(index: Index, store: Path, deck: Deck, bits: int) -> Iterator[tuple[int, bytes]]:
    """The number and text of each bundle that is not empty, in order."""
    number, hands = -1, dict[bytes, list[StoredPlay]]()
    for hand, plays in _hands(index, store, deck):
        at = int.from_bytes(hand[:4], "big") >> (32 - bits)
        if at != number and hands:
            yield number, _text(hands)
            hands = {}
        number = at
        hands.setdefault(hand, []).extend(plays)
    if hands:
        yield number, _text(hands)


def _hands(index: Index, store: Path, deck: Deck) -> Iterator[tuple[bytes, list[StoredPlay]]]:
    """Every hand key with its plays, sorted. A hand may come twice in a row."""
    names = {phrase_hash(p.id): p.id for card in deck.cards for p in card.phrases}
    late = sorted(_without_first(index, store, deck))
    for hand, joined in index.hands():
        while late and late[0][0] <= hand:
            yield late[0][0], [late.pop(0)[1]]
        plays = [_play(index, record, names) for record in records_of(joined)]
        yield hand, plays
    yield from ((hand, [play]) for hand, play in late)


def _play(index: Index, record: bytes, names: Mapping[bytes, str]) -> StoredPlay:
    hashes = record[KEY_SIZE:]
    parts = [hashes[at : at + _HASH_SIZE] for at in range(0, len(hashes), _HASH_SIZE)]
    phrases = tuple(names.get(part, part.hex()) for part in parts)
    return StoredPlay(record[:KEY_SIZE], phrases, _answers(index, record[:KEY_SIZE]))


def _answers(index: Index, key: bytes) -> dict[int, bytes]:
    bodies = index.variants(key, _MOST_VARIANTS)
    return {orjson.loads(body)["variant"]: body for body in bodies}


def _without_first(index: Index, store: Path, deck: Deck) -> Iterator[tuple[bytes, StoredPlay]]:
    """The plays of which only further variants are stored, which the table of hands lacks."""
    before = ""
    for key, variant in index.keys():  # noqa: SIM118  # not a dict
        if key != before and variant:
            offset = index.offset(key, variant)
            assert offset is not None
            query = entry_at(log_path(store, deck.id), offset).query
            phrases = tuple(phrase for _, phrase in query.picks)
            yield (
                query.raw_hand_key,
                StoredPlay(query.raw_key, phrases, _answers(index, query.raw_key)),
            )
        before = key


def _text(hands: Mapping[bytes, Iterable[StoredPlay]]) -> bytes:
    # Bodies stand as they are: made anew, they could differ from those that the server sends.
    return _members(
        (hand.hex(), _members((play.key.hex(), _entry(play)) for play in plays))
        for hand, plays in sorted(hands.items())
    )


def _entry(play: StoredPlay) -> bytes:
    answers = _members((str(variant), body) for variant, body in sorted(play.answers.items()))
    return b'{"phrases":%b,"answers":%b}' % (orjson.dumps(play.phrases), answers)


def _members(members: Iterable[tuple[str, bytes]]) -> bytes:
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in members)
