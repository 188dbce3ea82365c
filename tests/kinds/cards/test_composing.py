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
        assert response["title"] in poem.known_titles


def test_a_poem_says_all_five_phrases(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """For each phrase of the play one of its own sentences stands in the poem: faithful 5 of 5."""
    for query in queries:
        made = composed(composer, query)
        for _, phrase in query.picks:
            own = poem.pieces.phrases[phrase][made.idea]
            assert any(sentence in made.poem for sentence in own)


def test_one_idea_carries_a_poem(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """Title, opening, sentences and ending are all of one idea."""
    ideas = {idea.id: idea for idea in poem.pieces.ideas}
    for query in queries:
        made = composed(composer, query)
        sentences = set(poem.pieces.sentences(ideas[made.idea]))
        assert sentences.issuperset(made.sentences)
        assert any(
            made.title == frame.title
            and made.poem.startswith(frame.texts[0].split("\n")[0])
            and made.poem.endswith(frame.texts[-1].split("\n")[-1])
            for frame in ideas[made.idea].frames
        )


def test_a_poem_goes_from_morning_to_night(composer: Composer, queries: list[Query]) -> None:
    """Sentences with a time of day stand in its order, among others that have none."""
    ranks = composer.deck.pieces.ranks
    seen = Counter[int]()
    for query in queries:
        made = composed(composer, query)
        order = [ranks[text] for text in made.sentences if text in ranks]
        assert order == sorted(order)
        assert [made.poem.index(text) for text in made.sentences] == sorted(
            made.poem.index(text) for text in made.sentences
        )
        seen[len(order)] += 1
    assert seen[0]
    assert seen[3]


def test_one_play_has_one_poem(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """The same play gets the same poem, from another composer too, in whatever order it came."""
    another = Composer(load_deck(DECKS / "poem"))
    for query in queries[:200]:
        turned = Query.play(poem.id, reversed(query.picks))
        assert composed(composer, query) == composed(another, turned)


def test_variants_are_other_poems(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """A further variant takes another idea, and each is the same when asked again."""
    ideas = len(poem.pieces.ideas)
    for query in queries[:100]:
        made = [composed(composer, query, variant) for variant in range(2 * ideas)]
        assert len({one.idea for one in made[:ideas]}) == ideas
        assert len({one.poem for one in made}) == len(made)
        assert composed(composer, query, 3) == made[3]


def test_poems_are_distinct(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """Two plays get two poems; all frames are used evenly, so that ideas with more frames come more often."""
    made = [composed(composer, query) for query in queries]
    assert len({one.poem for one in made}) == len(set(queries))
    ideas = poem.pieces.ideas
    assert {one.idea for one in made} == {idea.id for idea in ideas}
    titles = Counter(one.title for one in made)
    frames = [frame.title for idea in ideas for frame in idea.frames]
    assert set(titles) == set(frames)
    assert titles.most_common(1)[0][1] < 3 * PLAYS / len(frames)
    most = max(ideas, key=lambda idea: len(idea.frames))
    share = sum(one.idea == most.id for one in made) / PLAYS
    assert share == pytest.approx(len(most.frames) / len(frames), abs=0.05)


def test_the_fingerprint_follows_the_pieces(tmp_path: Path, composer: Composer) -> None:
    """A changed piece or frame changes what entries are stale against; nothing else does."""
    assert Composer(load_deck(DECKS / "poem")).fingerprint == composer.fingerprint
    for file in ("pieces.json", "ideas.json"):
        folder = tmp_path / file / "poem"
        shutil.copytree(DECKS / "poem", folder)
        text = (folder / file).read_text("utf-8")
        (folder / file).write_text(text.replace("。", "、そして。", 1), "utf-8")
        assert Composer(load_deck(folder)).fingerprint != composer.fingerprint


def test_a_deck_that_lacks_a_piece_is_not_composed(poem: Deck, tmp_path: Path) -> None:
    """Without sentences of every idea for every phrase, or without ideas, nothing is composed."""
    assert poem.composable
    folder = tmp_path / "poem"
    shutil.copytree(DECKS / "poem", folder)
    whole = orjson.loads((folder / "pieces.json").read_bytes())
    del whole["phrases"]["poem-001-a"]
    (folder / "pieces.json").write_bytes(orjson.dumps(whole))
    assert not load_deck(folder).composable
    (folder / "pieces.json").unlink()
    assert not load_deck(folder).composable
    (folder / "ideas.json").unlink()
    assert not load_deck(folder).composable
