"""Composing: whole, faithful and various poems from the pieces in the box."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import orjson
import pytest

from app.kinds.cards.composing import BREAK, Composer, Composition
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.store.key import Query
from tests.making import DECKS

PLAYS = 1500


@pytest.fixture(scope="module")
def composer(poem: Deck) -> Composer:
    return Composer(poem)


@pytest.fixture(scope="module")
def queries(poem: Deck) -> list[Query]:
    rng = random.Random(2)
    return [random_play(poem, rng) for _ in range(PLAYS)]


def composed(composer: Composer, query: Query, variant: int = 0) -> Composition:
    made = composer.compose(query, variant)
    assert made is not None
    return made


def test_every_random_play_is_composed_within_the_gate(
    poem: Deck, composer: Composer, queries: list[Query]
) -> None:
    """A composed poem passes the gate, has 3 or 4 paragraphs and 180 to 240 characters."""
    gate = Gate.of(poem)
    for query in queries:
        response = composed(composer, query).response
        assert gate.examine(query, response) is None
        assert 3 <= len(response["poem"].split(BREAK)) <= 4
        assert 180 <= len(response["poem"].replace("\n", "")) <= 240
        assert response["title"] in poem.titles


def test_a_poem_says_all_five_phrases(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """For each phrase of the play one of its own sentences stands in the poem: faithful 5 of 5."""
    for query in queries:
        made = composed(composer, query)
        for _, phrase in query.picks:
            own = poem.pieces.phrases[phrase][made.form]
            assert any(sentence in made.poem for sentence in own)


def test_a_poem_returns_to_one_of_its_cards(
    poem: Deck, composer: Composer, queries: list[Query]
) -> None:
    """Title and ending are those of one card of the hand, the same for both."""
    for query in queries:
        made = composed(composer, query)
        leads = [poem.pieces.cards[card] for card, _ in query.picks]
        assert any(
            made.title in lead.titles
            and any(text in made.poem for texts in lead.endings.values() for text in texts)
            for lead in leads
        )


def test_one_play_has_one_poem(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """The same play gets the same poem, from another composer too, in whatever order it came."""
    another = Composer(load_deck(DECKS / "poem"))
    for query in queries[:200]:
        turned = Query.play(poem.id, reversed(query.picks))
        assert composed(composer, query) == composed(another, turned)


def test_variants_are_other_poems(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """A further variant takes another form, and each is the same when asked again."""
    forms = len(poem.pieces.forms)
    for query in queries[:100]:
        made = [composed(composer, query, variant) for variant in range(2 * forms)]
        assert len({one.form for one in made[:forms]}) == forms
        assert len({one.poem for one in made}) == len(made)
        assert composed(composer, query, 3) == made[3]


def test_poems_are_distinct(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """Two plays get two poems; titles, forms and frames are used widely."""
    made = [composed(composer, query) for query in queries]
    assert len({one.poem for one in made}) == len(set(queries))
    assert len({one.title for one in made}) >= 90
    assert Counter(one.title for one in made).most_common(1)[0][1] < PLAYS / 20
    forms = Counter(one.form for one in made)
    assert len(forms) == len(poem.pieces.forms)
    assert min(forms.values()) > PLAYS / 5
    openings = Counter(one.poem.split("。")[0] for one in made)
    assert openings.most_common(1)[0][1] < PLAYS / 10


def test_the_fingerprint_follows_the_pieces(tmp_path: Path, composer: Composer) -> None:
    """A changed piece or frame changes what entries are stale against; nothing else does."""
    assert Composer(load_deck(DECKS / "poem")).fingerprint == composer.fingerprint
    for file in ("pieces.json", "forms.json"):
        folder = tmp_path / file / "poem"
        shutil.copytree(DECKS / "poem", folder)
        text = (folder / file).read_text("utf-8")
        (folder / file).write_text(text.replace("。", "、そして。", 1), "utf-8")
        assert Composer(load_deck(folder)).fingerprint != composer.fingerprint


def test_a_deck_that_lacks_a_piece_is_not_composed(poem: Deck, tmp_path: Path) -> None:
    """Without pieces of every form for every card and phrase, or without forms, nothing is composed."""
    assert poem.composable
    folder = tmp_path / "poem"
    shutil.copytree(DECKS / "poem", folder)
    whole = orjson.loads((folder / "pieces.json").read_bytes())
    for part, name in (("phrases", "poem-001-a"), ("cards", "condition-001")):
        lacking = {**whole, part: {k: v for k, v in whole[part].items() if k != name}}
        (folder / "pieces.json").write_bytes(orjson.dumps(lacking))
        assert not load_deck(folder).composable
    (folder / "pieces.json").unlink()
    assert not load_deck(folder).composable
    (folder / "forms.json").unlink()
    assert not load_deck(folder).composable
