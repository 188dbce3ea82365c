"""What is composed or framed in the browser is what the server composes or frames."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from app.kinds.cards.choices import Choices
from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.template import FrameTemplate
from precompute.decks.new import NewDeck, languages
from precompute.publish.making import frames_of, pieces_of
from tests.making import museum, new_cards, small_deck
from tests.precompute.publish.node import in_node, needs_node

pytestmark = needs_node
MADE = """
import { compose } from "./composer.js";
import { query } from "./key.js";
import { frame } from "./template.js";
const { deck, pieces, frames, plays } = given;
told = plays.map(([picks, variant]) => {
  const asked = query(deck, picks);
  return [pieces && compose(pieces, asked, variant), frame(frames, asked, variant)];
});
"""
CHOSEN = """
import { Choices } from "./choices.js";
const choices = new Choices(given.seed);
told = [given.counts.map((count) => choices.below(count)), choices.shuffled(given.items), choices.turned(given.items)];
"""


def check_same(folder: Path, deck: Deck, count: int) -> int:
    """Make answers to random plays on both sides; returns how many could be framed."""
    rng = Random(1)
    pieces, frames = pieces_of(deck), frames_of(deck)
    assert frames, "the frames are not proven"
    plays = [(random_play(deck, rng), rng.choice([0, 0, 1, 2, 999])) for _ in range(count)]
    asked = [(query.picks, variant) for query, variant in plays]
    told = in_node(
        folder / "node", MADE, {"deck": deck.id, "pieces": pieces, "frames": frames, "plays": asked}
    )
    composer, template = Composer(deck) if pieces else None, FrameTemplate(deck)
    framed = 0
    for (query, variant), (composed, found) in zip(plays, told, strict=True):
        made = composer and composer.compose(query, variant)
        assert composed == (made.response if made else None), query.picks
        assert found == template.frame(query, variant), query.picks
        framed += found is not None
    return framed


def test_choices_are_the_same(tmp_path: Path) -> None:
    """Numbers below small, large and changing counts, and lists in another order."""
    counts = [1, 2, 3, 89, 1 << 31, 7, (1 << 33) + 5, 10, *range(2, 200)]
    items = list("abcdefghij")
    choices = Choices(b"a seed")
    expected = [[choices.below(n) for n in counts], choices.shuffled(items), choices.turned(items)]
    given = {"seed": "a seed", "counts": counts, "items": items}
    assert in_node(tmp_path, CHOSEN, given) == expected


def test_every_choice_is_equally_likely() -> None:
    """Over many seeds, each of 24 orders of four things comes about as often as the others."""
    seen: dict[tuple[int, ...], int] = {}
    for seed in range(4800):
        order = tuple(Choices(b"%d" % seed).shuffled(range(4)))
        seen[order] = seen.get(order, 0) + 1
    # Five standard deviations of a fair draw; the seeds are fixed, so that it holds or does not.
    assert len(seen) == 24
    assert all(abs(count - 200) < 70 for count in seen.values())


def test_a_few_hundred_plays_are_the_same(tmp_path: Path, poem: Deck) -> None:
    """The deck in the box, composed and framed; decks that only frame, in two languages."""
    assert check_same(tmp_path, poem, 300) == 300
    assert check_same(tmp_path, museum(tmp_path / "museum"), 100)
    assert check_same(tmp_path, small_deck(tmp_path / "small"), 100)


@pytest.mark.long
def test_thousands_of_plays_are_the_same(tmp_path: Path, poem: Deck) -> None:
    """The same over 3,000 plays, and 300 of a new deck in every language."""
    assert check_same(tmp_path, poem, 3000) == 3000
    for language in languages():
        folder = tmp_path / language
        deck = new_cards(folder, NewDeck("mine", language, 5, "Mine", None))
        assert check_same(folder, deck, 300)
