"""Composing: whole, faithful and various poems from the pieces in the box."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from pathlib import Path

import orjson
import pytest

from app.kinds.cards.composing import BREAK, Composer, ending_class
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck, load_deck
from app.kinds.cards.gate import Gate
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


def composed(composer: Composer, query: Query, variant: int = 0) -> dict[str, str]:
    made = composer.compose(query, variant)
    assert made is not None
    return made.response


def test_every_random_play_is_composed_within_the_gate(
    poem: Deck, composer: Composer, queries: list[Query]
) -> None:
    """A composed poem passes the gate, has 3 or 4 paragraphs and 180 to 240 characters."""
    gate = Gate.of(poem)
    for query in queries:
        response = composed(composer, query)
        assert gate.examine(query, response) is None
        assert 3 <= len(response["poem"].split(BREAK)) <= 4
        assert 180 <= len(response["poem"].replace("\n", "")) <= 240
        assert response["title"] in poem.titles


def test_a_poem_says_all_five_phrases(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """For each phrase of the play one of its own sentences stands in the poem: faithful 5 of 5."""
    for query in queries:
        text = composed(composer, query)["poem"]
        for _, phrase in query.picks:
            assert any(sentence.text in text for sentence in poem.sentences[phrase])


def test_no_showcase_word_comes_twice(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """A showcase word shines once in a poem."""
    words = sorted(poem.rules.showcase, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, words)))
    for query in queries:
        counts = Counter(pattern.findall(composed(composer, query)["poem"]))
        assert all(count == 1 for count in counts.values())


def test_endings_vary(composer: Composer, queries: list[Query]) -> None:
    """Hardly a poem ends three pieces in a row alike, and none ends all its sentences alike."""
    droning = 0
    for query in queries:
        made = composer.compose(query)
        assert made is not None
        endings = [ending_class(text) for text in made.sentences]
        assert len(set(endings)) > 1
        droning += any(
            a == b == c for a, b, c in zip(endings, endings[1:], endings[2:], strict=False)
        )
    assert droning <= PLAYS / 100


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ("朝が来る。", "る"),
        ("窓辺の朝。", "名"),
        ("灯をともす――", "す"),
        ("", "名"),
        ("カーテン。", "名"),
    ],
)
def test_endings_are_classed_as_the_ear_hears_them(text: str, ending: str) -> None:
    """A sentence ends on its last kana, or on a noun."""
    assert ending_class(text) == ending


def test_one_play_has_one_poem(poem: Deck, composer: Composer, queries: list[Query]) -> None:
    """The same play gets the same poem, from another composer too, in whatever order it came."""
    another = Composer(load_deck(DECKS / "poem"))
    for query in queries[:200]:
        turned = Query.play(poem.id, reversed(query.picks))
        assert composed(composer, query) == composed(another, turned)


def test_variants_are_other_poems(composer: Composer, queries: list[Query]) -> None:
    """The first variants of a play are poems of their own, each the same when asked again."""
    repeated = 0
    for query in queries[:100]:
        poems = [composed(composer, query, variant)["poem"] for variant in range(6)]
        repeated += len(set(poems)) < 6
        assert composed(composer, query, 5)["poem"] == poems[5]
    assert repeated <= 2


def test_poems_are_distinct(composer: Composer, queries: list[Query]) -> None:
    """Two plays hardly ever get the same poem, and the titles of the deck are used widely."""
    made = [composed(composer, query) for query in queries]
    assert len({m["poem"] for m in made}) >= 0.999 * PLAYS
    assert len({m["title"] for m in made}) >= 90
    assert Counter(m["title"] for m in made).most_common(1)[0][1] < PLAYS / 20


def test_a_poem_takes_a_theme_that_its_phrases_share(
    poem: Deck, composer: Composer, queries: list[Query]
) -> None:
    """On average the theme chosen is served by about four phrases of the five."""
    shared = 0
    themes: Counter[str] = Counter()
    for query in queries:
        made = composer.compose(query)
        assert made is not None
        themes[made.theme] += 1
        for _, phrase in query.picks:
            shared += any(made.theme in s.themes for s in poem.sentences[phrase])
    assert shared / PLAYS >= 3.7
    assert len(themes) == len(poem.themes)
    assert max(themes.values()) <= 0.16 * PLAYS


def test_the_movement_of_a_theme_is_kept(
    poem: Deck, composer: Composer, queries: list[Query]
) -> None:
    """A poem of an inward theme goes from the street to the room more often than back."""
    place = {c.id: (c.category in poem.inside) - (c.category in poem.outside) for c in poem.cards}
    outward = {theme.id for theme in poem.themes if theme.outward}
    kept = broken = 0
    for query in queries:
        made = composer.compose(query)
        assert made is not None
        card_of = {s.text: card for card, phrase in query.picks for s in poem.sentences[phrase]}
        places = [place[card_of[text]] for text in made.sentences]
        if made.theme in outward:
            places.reverse()
        if places[0] != places[-1]:
            kept += places[0] < places[-1]
            broken += places[0] > places[-1]
    assert kept > 5 * broken


def test_nobody_sits_at_the_table_after_going_out(
    poem: Deck, composer: Composer, queries: list[Query]
) -> None:
    """Where a poem turns at the threshold, no sentence names things of the other side."""
    for query in queries:
        made = composer.compose(query)
        assert made is not None
        theme = next(theme for theme in poem.themes if theme.id == made.theme)
        turn = next((turn for turn in theme.threshold_turns if turn in made.poem), None)
        if turn is None:
            continue
        before, _, after = made.poem.partition(turn)
        outer, inner = (after, before) if theme.outward else (before, after)
        for text in made.sentences:
            outside = any(word in text for word in poem.outdoors)
            inside = any(word in text for word in poem.indoors)
            assert outside or not inside or text in inner
            assert inside or not outside or text in outer


def test_the_fingerprint_follows_the_pieces(tmp_path: Path, composer: Composer) -> None:
    """A changed sentence or frame changes what entries are stale against; nothing else does."""
    assert Composer(load_deck(DECKS / "poem")).fingerprint == composer.fingerprint
    for file, old, new in (
        ("sentences.json", "噂話", "うわさ"),
        ("frames.json", "街はよく話す", "町はよく話す"),
    ):
        folder = tmp_path / file / "poem"
        shutil.copytree(DECKS / "poem", folder)
        text = (folder / file).read_text("utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), "utf-8")
        assert Composer(load_deck(folder)).fingerprint != composer.fingerprint


def test_a_piece_that_tells_a_card_is_not_used(tmp_path: Path, poem: Deck) -> None:
    """Where every sentence of a phrase gives another card of the hand away, there is no poem."""
    folder = tmp_path / "poem"
    shutil.copytree(DECKS / "poem", folder)
    query = random_play(poem, random.Random(6))
    (told, _), (_, telling) = query.picks[:2]
    word = poem.card_by_id[told].tells[0]
    sentences = orjson.loads((folder / "sentences.json").read_bytes())
    for sentence in sentences[telling]:
        sentence["text"] = f"{word}のことを話す夜である。"
    (folder / "sentences.json").write_bytes(orjson.dumps(sentences))
    assert Composer(load_deck(folder)).compose(query) is None
    assert Composer(poem).compose(query) is not None


def test_a_deck_without_pieces_is_not_composed(poem: Deck, tmp_path: Path) -> None:
    """Without a sentence for every phrase, or without themes, a deck is not composable."""
    folder = tmp_path / "poem"
    shutil.copytree(DECKS / "poem", folder)
    sentences = orjson.loads((folder / "sentences.json").read_bytes())
    del sentences["poem-001-a"]
    (folder / "sentences.json").write_bytes(orjson.dumps(sentences))
    assert poem.composable
    assert not load_deck(folder).composable
    (folder / "frames.json").unlink()
    (folder / "sentences.json").unlink()
    assert not load_deck(folder).composable
