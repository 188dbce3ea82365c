"""Coverage told truly: the figures of a small deck, recomputed by brute force."""

from __future__ import annotations

import itertools
from pathlib import Path

from app.kinds.cards.deck import Deck
from app.kinds.cards.figures import coverage
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from precompute.plan.covering import covering
from tests.making import entry, small_deck


def all_plays(deck: Deck) -> list[Query]:
    """Every play of a deck, by brute force."""
    plays = []
    for cards in itertools.combinations(deck.cards, deck.hand_size):
        if len({card.category for card in cards}) == deck.hand_size:
            plays += list(deck.plays_of_hand(cards))
    return plays


def shares(a: Query, b: Query) -> bool:
    """Whether two plays are of the same cards and differ in one phrase at most."""
    cards = {card for card, _ in a.picks} == {card for card, _ in b.picks}
    return cards and len(set(a.picks) - set(b.picks)) <= 1


def test_figures_by_brute_force(tmp_path: Path) -> None:
    """Every figure of coverage is what counting all plays of a small deck gives."""
    deck = small_deck(tmp_path / "tiny", categories=4, each=2, phrases=3, size=3)
    plays = all_plays(deck)
    hands = {query.hand_key for query in plays}
    first, second = deck.cards[0], deck.cards[2]
    stocked = [first, second, deck.cards[4]]
    code = covering((3, 3, 3), 1)
    ordered = sorted(stocked, key=lambda card: card.id)
    chosen = [
        deck.query([card.phrases[i] for card, i in zip(ordered, word, strict=True)])
        for word in code
    ]
    chosen += [query for query in plays if query.hand_key != chosen[0].hand_key][:7]
    with LogWriter(tmp_path / "store", deck.id) as log:
        log.append(entry(query) for query in chosen)
        log.append([entry(chosen[0], "別の詩", variant=1)])
        with IndexWriter(tmp_path / "store", deck, radius=1) as index:
            told = coverage(deck, index.catch_up())
    whole = {q.hand_key for q in plays} - {
        q.hand_key for q in plays if not any(shares(q, c) for c in chosen)
    }
    assert told["exact"] == {
        "count": len({query.key for query in chosen}),
        "of": len(plays),
        "share": len(chosen) / len(plays),
        "one_in": round(len(plays) / len(chosen)),
    }
    assert deck.count_hands() == len(hands)
    assert told["stocked_hands"]["count"] == len(whole) == 1
    assert told["stocked_hands"]["of"] == len(hands)
    assert told["stocked_plays"]["count"] == sum(q.hand_key in whole for q in plays)
    assert told["composed"]["count"] == 0


def test_an_entry_of_a_card_that_left_is_not_counted(tmp_path: Path) -> None:
    """An entry that no play of today's deck can ask for covers nothing, and is kept all the same."""
    deck = small_deck(tmp_path / "tiny", categories=4, each=2, phrases=3, size=3)
    gone = Query.play(deck.id, [("card-0", "p-0-a"), ("card-2", "p-2-a"), ("left", "it")])
    with LogWriter(tmp_path / "store", deck.id) as log:
        log.append([entry(gone), entry(all_plays(deck)[0])])
        with IndexWriter(tmp_path / "store", deck) as index:
            meta = index.catch_up()
    assert (meta.entries, meta.plays) == (2, 1)
