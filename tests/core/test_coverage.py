"""Coverage told truly: codes proved by exhaustion, figures recomputed by brute force."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest

from app.core.coverage import Word, ball, ball_size, covered, is_stocked, sphere_bound
from app.core.deck import Deck
from app.core.figures import coverage
from app.core.index import IndexWriter
from app.core.key import Query
from app.core.log import LogWriter
from precompute.covering import covering
from tests.making import entry, small_deck

FIVE = (3, 3, 3, 3, 3)


def distance(a: Word, b: Word) -> int:
    return sum(x != y for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("radius", "size"), [(0, 243), (1, 27), (2, 8)])
def test_codes_for_five_cards(radius: int, size: int) -> None:
    """The codes for 5 cards of 3 phrases have the known sizes, and every word is within reach."""
    code = covering(FIVE, radius)
    assert len(code) == len(set(code)) == size
    for word in itertools.product(range(3), repeat=5):
        assert min(distance(word, chosen) for chosen in code) <= radius


@pytest.mark.parametrize("radius", [1, 2])
def test_codes_for_five_cards_are_tight(radius: int) -> None:
    """No word of a code for 5 cards can be spared."""
    code = covering(FIVE, radius)
    for spared in code:
        assert len(covered([w for w in code if w != spared], FIVE, radius)) < 243


@pytest.mark.parametrize(
    "options", [(2, 2, 2), (2, 3, 4), (4, 4, 4), (2, 2, 2, 2, 2, 2), (3, 2, 3, 2, 4), (1, 3, 3)]
)
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_codes_for_other_shapes(options: tuple[int, ...], radius: int) -> None:
    """A covering of any shape covers every word and is no smaller than the sphere-covering bound."""
    code = covering(options, radius)
    words = set(itertools.product(*map(range, options)))
    assert set(code) <= words
    reached = {w for w in words if min(distance(w, c) for c in code) <= radius}
    assert reached == words
    assert sphere_bound(options, radius) <= len(code) <= math.prod(options)


@pytest.mark.parametrize("options", [(3, 3, 3), (2, 3, 4), (1, 2)])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_balls(options: tuple[int, ...], radius: int) -> None:
    """A ball holds just the words within its radius, each once."""
    centre = tuple(0 for _ in options)
    near = list(ball(centre, options, radius))
    words = itertools.product(*map(range, options))
    assert sorted(near) == [w for w in words if distance(w, centre) <= radius]
    assert len(near) == ball_size(options, radius)


def test_a_hand_without_one_word_is_not_stocked() -> None:
    """A hand is stocked only where nothing at all is out of reach."""
    code = covering(FIVE, 1)
    assert is_stocked(code, FIVE, 1)
    assert not is_stocked(code[:-1], FIVE, 1)


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
