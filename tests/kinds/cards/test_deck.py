"""Decks: a deck of the game loads as it is; every fault is named with file, place and fault."""

from __future__ import annotations

import math
import random
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.errors import DeckError, RequestError
from app.kinds.cards.dealing import deal, random_play
from app.kinds.cards.deck import Deck, deal_probabilities
from app.kinds.cards.loading import load_deck
from app.kinds.decks import load_all
from app.kinds.language import ENGLISH, JAPANESE
from app.store.key import Query
from tests.making import DECKS, card, small_cards, small_deck, write_deck, write_json

Change = Callable[[Any], Any]


def put(*path: str | int, value: object) -> Change:
    """A change that sets one member, deep in a JSON value."""

    def change(root: Any) -> Any:
        at = root
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
        return root

    return change


def drop(*path: str | int) -> Change:
    """A change that takes one member away."""

    def change(root: Any) -> Any:
        at = root
        for name in path[:-1]:
            at = at[name]
        del at[path[-1]]
        return root

    return change


def whole(value: object) -> Change:
    """A change to another value altogether."""
    return lambda root: value


FAULTS: list[tuple[str, Change, str, str]] = [
    ("deck.json", whole([]), "", "expected an object"),
    ("deck.json", drop("hand"), "", "member 'hand' is missing"),
    ("deck.json", put("hand", value=5), "", "'hand' must be an object, not 5"),
    ("deck.json", drop("hand", "size"), "hand", "member 'size' is missing"),
    ("deck.json", put("hand", "size", value="5"), "hand", "'size' must be a whole number, not '5'"),
    ("deck.json", put("hand", "size", value=True), "hand", "'size' must be a whole number, not True"),
    ("deck.json", put("hand", "size", value=0), "hand", "'size' must be from 1 to 12, not 0"),
    ("deck.json", put("hand", "size", value=13), "hand", "'size' must be from 1 to 12, not 13"),
    ("deck.json", put("hand", "size", value=12), "hand", "12 distinct categories are needed, the cards have 11"),
    ("deck.json", put("hand", "distinct", value="colour"), "hand", "'distinct' can only be 'category'"),
    ("deck.json", put("hand", "choose", value="yes"), "hand", "'choose' must be true or false, not 'yes'"),
    ("deck.json", put("hand", "chose", value=True), "hand", "no such member: 'chose'; did you mean 'choose'?"),
    ("deck.json", put("theme", "picture", value="photo"), "theme picture", "expected one of shapes, plain, estate, not 'photo'"),
    ("deck.json", drop("id"), "", "member 'id' is missing"),
    ("deck.json", put("id", value="Ä"), "id", "use 1 to 40 small letters, digits and hyphens"),
    ("deck.json", put("id", value="../x"), "id", "use 1 to 40 small letters, digits and hyphens"),
    ("deck.json", put("answer", value=[]), "answer", "expected an object"),
    ("deck.json", put("answer", "lenght", value=1), "answer", "no such rule: 'lenght'; there is characters"),
    ("deck.json", put("answer", "characters", value=[240, 180]), "answer characters", "expected [least, most]"),
    ("deck.json", put("answer", "characters", value=[180]), "answer characters", "expected [least, most]"),
    ("deck.json", put("answer", "paragraphs", value=[0, 4]), "answer paragraphs", "expected [least, most]"),
    ("deck.json", put("answer", "paragraphs", value=[3.0, 4]), "answer paragraphs", "expected [least, most]"),
    ("deck.json", put("answer", "sentence", value="60"), "answer", "'sentence' must be a whole number"),
    ("deck.json", put("answer", "forbidden", value="最高"), "answer forbidden", "expected a list"),
    ("deck.json", put("answer", "forbidden", value=["最高", ""]), "answer forbidden 2", "expected a text"),
    ("deck.json", put("answer", "script", value=7), "answer script 1", "expected a text"),
    ("deck.json", put("groups", value=[]), "groups", "expected an object"),
    ("deck.json", drop("groups", "立地"), "groups", "category '交通アクセス' must stand in exactly one group"),
    ("deck.json", put("template", value={"verses": []}), "template", "there is openings, links, closings"),
    ("deck.json", put("template", value={"links": [1]}), "template links 1", "expected a text"),
    ("cards.json", whole({}), "", "expected a list"),
    ("cards.json", whole([]), "", "there is no card"),
    ("cards.json", put(2, value="card"), "card 3", "expected an object"),
    ("cards.json", drop(2, "id"), "card 3", "member 'id' is missing"),
    ("cards.json", put(2, "id", value="condition-001"), "card condition-001", "the id stands twice"),
    ("cards.json", put(2, "id", value=3), "card 3", "'id' must be a text, not 3"),
    ("cards.json", drop(2, "category"), "card condition-003", "member 'category' is missing"),
    ("cards.json", put(2, "category", value=" "), "card condition-003", "'category' is empty"),
    ("cards.json", put(2, "condition_text", value=None), "card condition-003", "'condition_text' must be a text"),
    ("cards.json", put(2, "strength", value="-3"), "card condition-003", "'strength' must be a whole number"),
    ("cards.json", put(2, "strength", value=1.5), "card condition-003", "'strength' must be a whole number"),
    ("cards.json", put(2, "tells", value="墓"), "card condition-003 tells", "expected a list"),
    ("cards.json", put(2, "poems", value=[]), "card condition-003", "the card has no phrase"),
    ("cards.json", put(2, "poems", value={}), "card condition-003", "'poems' must be a list"),
    ("cards.json", put(2, "poems", 1, value=0), "card condition-003 phrase 2", "expected an object"),
    ("cards.json", put(2, "poems", 1, "id", value="poem-003-a"), "card condition-003 phrase 2", "the id 'poem-003-a' stands twice"),
    ("cards.json", put(2, "poems", 1, "poem_text", value=""), "card condition-003 phrase 2", "'poem_text' is empty"),
    ("titles.json", whole([]), "", "there is no title"),
    ("titles.json", whole({}), "title", "expected a list"),
    ("titles.json", put(4, value=""), "title 5", "expected a text"),
    ("titles.json", put(1, value="街が、小声になる。"), "title '街が、小声になる。'", "it stands twice"),
    ("ideas.json", whole([]), "", "expected an object"),
    ("ideas.json", drop("ideas"), "", "member 'ideas' is missing"),
    ("ideas.json", put("ideas", value=[]), "", "there is no idea"),
    ("ideas.json", put("order", value=["朝"]), "order", "expected a list"),
    ("ideas.json", put("idea", value=[]), "", "no such member: 'idea'"),
    ("ideas.json", drop("ideas", 0, "id"), "idea 1", "member 'id' is missing"),
    ("ideas.json", put("ideas", 1, "id", value="burglar"), "idea burglar", "the id stands twice"),
    ("ideas.json", put("ideas", 0, "each", value="2"), "idea burglar", "'each' must be a whole number"),
    ("ideas.json", put("ideas", 0, "length", value=[9, 3]), "idea burglar length", "expected [least, most]"),
    ("ideas.json", put("ideas", 0, "link", value="x"), "idea burglar", "no such member: 'link'"),
    ("ideas.json", put("ideas", 0, "frames", value=[]), "idea burglar", "there is no frame"),
    ("ideas.json", put("ideas", 0, "frames", 0, "text", value="{1}{2}{3}{4}"), "idea burglar frame 1", "needs each of the holes {1} to {5}"),
    ("ideas.json", put("ideas", 0, "frames", 0, "text", value="{1}{2}{3}{4}{5}{5}"), "idea burglar frame 1", "needs each of the holes"),
    ("ideas.json", drop("ideas", 0, "frames", 0, "title"), "idea burglar frame 1", "member 'title' is missing"),
    ("ideas.json", put("ideas", 0, "frames", 0, value="text"), "idea burglar frame 1", "expected an object"),
    ("ideas.json", put("ideas", 0, "frames", 0, value=5), "idea burglar frame 1", "expected an object"),
    ("pieces.json", whole([]), "", "expected an object"),
    ("pieces.json", put("cards", value={}), "", "no such member: 'cards'"),
    ("pieces.json", put("phrases", "poem-999-a", value={}), "phrase poem-999-a", "no card has it"),
    ("pieces.json", put("phrases", "poem-001-a", value=[]), "phrase poem-001-a", "expected an object"),
    ("pieces.json", put("phrases", "poem-001-a", "jorney", value=[]), "phrase poem-001-a", "no such member: 'jorney'"),
    ("pieces.json", put("phrases", "poem-001-a", "child", value={}), "phrase poem-001-a child", "expected a list"),
    ("pieces.json", put("phrases", "poem-001-a", "child", 0, value=1), "phrase poem-001-a child 1", "expected a text"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "change", "place", "fault"), FAULTS)
def test_a_fault_is_named_with_file_place_and_fault(
    tmp_path: Path, file: str, change: Change, place: str, fault: str
) -> None:
    """Whatever is wrong with a file of a deck, the error says in which file, where and what."""
    folder = tmp_path / "poem"
    shutil.copytree(DECKS / "poem", folder)
    value = change(orjson.loads((folder / file).read_bytes()))
    (folder / file).write_bytes(orjson.dumps(value))
    with pytest.raises(DeckError) as told:
        load_deck(folder)
    assert told.value.file == str(folder / file)
    assert told.value.place == place
    assert fault in told.value.fault
    assert str(told.value).startswith(str(folder / file))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("file", ["deck.json", "cards.json", "titles.json"])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, file: str) -> None:
    """A file that is missing, is no JSON, is no UTF-8 or is a folder is told by name."""
    folder = tmp_path / "poem"
    shutil.copytree(DECKS / "poem", folder)
    path = folder / file
    path.write_text('{\n "a": \n ]')
    with pytest.raises(DeckError, match=r"line 3: not JSON") as told:
        load_deck(folder)
    assert told.value.file == str(path)
    path.write_bytes('"é"'.encode("latin-1"))
    with pytest.raises(DeckError, match="line 1: is not UTF-8: save it as UTF-8"):
        load_deck(folder)
    path.write_bytes('"é"'.encode("utf-16"))
    with pytest.raises(DeckError, match="line 1: is UTF-16: save it as UTF-8"):
        load_deck(folder)
    path.unlink()
    with pytest.raises(DeckError, match="the file is missing"):
        load_deck(folder)
    path.mkdir()
    with pytest.raises(DeckError, match="cannot be read: Is a directory"):
        load_deck(folder)


def test_a_deck_of_the_game_loads_as_it_is(tmp_path: Path) -> None:
    """Cards and titles in the game's form and a minimal deck.json are enough."""
    cards = small_cards(random.Random(3))
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards))
    assert [c.raw for c in deck.cards] == cards
    assert (deck.id, deck.name, deck.hand_size, deck.composable) == ("mine", "mine", 5, False)
    assert deck.rules.characters == (180, 240)
    assert set(deck.groups) == {f"分類{i}" for i in range(6)}


def test_members_that_are_not_ours_are_dealt_back(tmp_path: Path) -> None:
    """A card keeps the members that only its game knows."""
    cards = small_cards(random.Random(3), categories=5, each=1)
    cards[0]["image"] = {"src": "a.png"}
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards))
    assert deck.cards[0].raw["image"] == {"src": "a.png"}


def test_no_deck_and_two_decks_of_one_id(tmp_path: Path) -> None:
    """A folder without a deck is a fault, and so are two decks with one id."""
    with pytest.raises(DeckError, match="no deck here"):
        load_all(tmp_path)
    with pytest.raises(DeckError, match="no deck here"):
        load_all(tmp_path / "nowhere")
    small_deck(tmp_path / "one")
    assert list(load_all(tmp_path)) == ["one", "recorded"]
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.raises(DeckError, match="another deck has the id 'one'"):
        load_all(tmp_path)


def test_two_cards_may_share_phrase_ids(tmp_path: Path) -> None:
    """A phrase belongs to its card: a game that numbers phrases a, b, c for each card is served."""
    cards = small_cards(random.Random(3), categories=5, each=1)
    for one in cards:
        for letter, phrase in zip("abc", one["poems"], strict=True):
            phrase["id"] = letter
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards))
    plays = {query.key for query in deck.plays_of_hand(deck.cards)}
    assert len(plays) == 243


def test_a_phrase_is_one_line(tmp_path: Path) -> None:
    """A phrase that the game breaks over lines is one line in a poem, and is dealt as it stands."""
    cards = small_cards(random.Random(3), categories=5, each=1)
    cards[0]["poems"][0]["poem_text"] = "朝を\n待つ\r\n窓 "
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards))
    assert deck.cards[0].phrases[0].text == "朝を待つ窓"
    assert deck.cards[0].raw == cards[0]


# Legal hands


def picks_of(query: Query) -> list[tuple[str, str]]:
    return list(query.picks)


@pytest.mark.parametrize(
    ("spoil", "title"),
    [
        (lambda p: p[:4], "Wrong number of cards"),
        (lambda p: [*p, ("x", "y")], "Wrong number of cards"),
        (lambda p: [], "Wrong number of cards"),
        (lambda p: [("x" * 999, p[0][1]), *p[1:]], "Unknown card"),
        (lambda p: [(p[0][0], p[1][1]), *p[1:]], "Unknown phrase"),
        (lambda p: [*p[:4], p[0]], "Repeated category"),
    ],
)
def test_an_illegal_hand_is_told_what_is_wrong(poem: Deck, spoil: Change, title: str) -> None:
    """Each way to break a hand has its own 400, with a sentence for the player."""
    picks = picks_of(random_play(poem, random.Random(1)))
    assert poem.legal_query(picks).picks == tuple(picks)
    with pytest.raises(RequestError) as told:
        poem.legal_query(spoil(picks))
    assert (told.value.status, told.value.title) == (400, title)
    assert told.value.sentence
    assert len(told.value.detail) < 200


def test_two_cards_of_one_category_are_no_hand(poem: Deck) -> None:
    """Five different cards of which two share a category are refused."""
    first, second = poem.cards_by_category["周辺環境"][:2]
    hand = [c for c in deal(poem, random.Random(4)) if c.category != "周辺環境"][:3]
    picks = [(c.id, c.phrases[0].id) for c in (first, second, *hand)]
    with pytest.raises(RequestError, match="'周辺環境' is there 2 times"):
        poem.legal_query(picks)


def test_ids_are_found_in_either_normal_form(tmp_path: Path) -> None:
    """A client that decomposes its letters finds the card that was written composed, and back."""
    cards = [card(i, f"分類{i}", ["ひとつの言葉"]) for i in range(5)]
    cards[0]["id"] = unicodedata.normalize("NFD", "ガラス")
    cards[1]["id"] = "グラス"
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards))
    ids = ["ガラス", unicodedata.normalize("NFD", "グラス"), *(c["id"] for c in cards[2:])]
    picks = [(i, c["poems"][0]["id"]) for i, c in zip(ids, cards, strict=True)]
    assert deck.legal_query(picks).key == next(deck.plays_of_hand(deck.cards)).key


def test_words_that_tell_a_card_which_names_none() -> None:
    """They are its runs of kanji and of katakana in Japanese, its longer words in English."""
    found = JAPANESE.content_words("駅まで徒歩47分、バスなし（コンビニ無し）")
    assert found == ("徒歩", "バス", "コンビニ")
    words = ENGLISH.content_words("A stuffed owl that has lost its left eye, from 1875")
    assert words == ("stuffed", "lost", "left")


# Counting and dealing


def test_hands_and_plays_are_counted_right(tmp_path: Path) -> None:
    """The formula agrees with counting them one by one on an uneven deck."""
    import itertools

    cards = [card(i, f"分類{min(i // 2, 3)}", ["言葉の一つ目"] * (1 + i % 3)) for i in range(10)]
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards, size=3))
    legal = [
        hand
        for hand in itertools.combinations(deck.cards, 3)
        if len({c.category for c in hand}) == 3
    ]
    assert deck.count_hands() == len(legal)
    assert deck.count_plays() == sum(math.prod(len(c.phrases) for c in hand) for hand in legal)


def test_the_deck_in_the_box_is_as_large_as_it_says(poem: Deck) -> None:
    """89 cards, 267 phrases, 110 titles, at least 9 categories, strengths from -6 to +5."""
    assert len(poem.cards) == 89
    assert sum(len(c.phrases) for c in poem.cards) == 267
    assert len(poem.titles) == 110
    assert len(poem.cards_by_category) >= 9
    assert (min(c.strength for c in poem.cards), max(c.strength for c in poem.cards)) == (-6, 5)
    assert all(12 <= len(p.text) <= 28 for c in poem.cards for p in c.phrases)
    assert poem.composable
    assert all(len(idea.frames) >= 8 for idea in poem.pieces.ideas)


def test_every_card_is_dealt_about_alike(poem: Deck) -> None:
    """No card of the deck in the box is dealt less than 1/4 or more than 4 times the mean."""
    dealt = deal_probabilities(poem)
    mean = math.fsum(dealt.values()) / len(dealt)
    assert mean * len(dealt) == pytest.approx(5)
    assert min(dealt.values()) >= mean / 4
    assert max(dealt.values()) <= mean * 4


def test_probabilities_agree_with_dealing(tmp_path: Path) -> None:
    """The exact probabilities are those of the deal itself, on a deck as uneven as can be."""
    cards = [card(i, f"分類{min(i, 4)}", ["言葉の一つ目"]) for i in range(16)]
    deck = load_deck(write_deck(tmp_path / "mine", cards=cards, size=3))
    exact = deal_probabilities(deck)
    assert math.fsum(exact.values()) == pytest.approx(3)
    rng = random.Random(2)
    times: Counter[str] = Counter()
    rounds = 40_000
    for _ in range(rounds):
        hand = deal(deck, rng)
        assert len({c.category for c in hand}) == 3
        times.update(c.id for c in hand)
    for one, probability in exact.items():
        sigma = math.sqrt(probability * (1 - probability) / rounds)
        assert abs(times[one] / rounds - probability) < 5 * sigma


def test_the_shape_of_a_deck_follows_ids_not_wording(tmp_path: Path) -> None:
    """Rewording a card leaves the coverage of a store alone; another phrase does not."""
    deck = small_deck(tmp_path / "mine")
    raw = orjson.loads((tmp_path / "mine" / "cards.json").read_bytes())
    raw[0]["poems"][0]["poem_text"] = "まったく別の言葉"
    write_json(tmp_path / "mine" / "cards.json", raw)
    assert load_deck(tmp_path / "mine").shape == deck.shape
    raw[0]["poems"].pop()
    write_json(tmp_path / "mine" / "cards.json", raw)
    assert load_deck(tmp_path / "mine").shape != deck.shape
