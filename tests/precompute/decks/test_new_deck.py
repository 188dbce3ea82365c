"""A new deck works at once, in every language; spreadsheets go both ways without loss."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import OperatorError
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.kinds.cards.template import FrameTemplate
from app.kinds.cards.words import page_words
from app.kinds.cards.writer import SmallWriter, WholeWriter
from app.kinds.refusal import Refusal
from app.kinds.tasks import Task
from app.providers import NamedModel
from precompute.decks.cards_table import cards_of_table, table_of_cards
from precompute.decks.exchange import export_cards, import_cards
from precompute.decks.new import TEMPLATES, NewDeck, languages
from precompute.decks.sheets import read_tables, write_tables
from precompute.review.cards import check
from tests.making import DECKS, museum, new_cards

MODEL = NamedModel("gemini", "m")


def made(folder: Path, language: str = "en", hand: int = 3, source: Path | None = None) -> Deck:
    return new_cards(folder, NewDeck("mine", language, hand, "Mine", source))


@pytest.mark.parametrize("hand", [1, 3, 6])
@pytest.mark.parametrize("language", languages())
def test_a_new_deck_has_no_fault_and_answers_every_hand(
    tmp_path: Path, language: str, hand: int
) -> None:
    """`check`, which plays 1,000 hands, finds nothing to say."""
    deck = made(tmp_path, language, hand)
    assert [str(finding) for finding in check(deck)] == []
    assert (deck.language, deck.hand_size, deck.name) == (language, hand, "Mine")
    query = random_play(deck, Random(1))
    response = FrameTemplate(deck).frame(query)
    assert response
    quoted = tuple(phrase.text for phrase in deck.phrases(query))
    assert Gate.of(deck).examine(query, response, quoted) is None


@pytest.mark.parametrize("language", languages())
def test_its_prompts_are_whole_and_of_its_language(tmp_path: Path, language: str) -> None:
    """Every place is filled, a list without words leaves no line, refusals are told in words."""
    deck = made(tmp_path, language)
    refusals = tuple(Refusal(check.name, "7", "1-9 characters") for check in Gate.of(deck).checks)
    tasks = [Task(random_play(deck, Random(n)), 0, (refusals,)) for n in range(3)]
    small = SmallWriter(deck, MODEL)
    prompts = [
        WholeWriter(deck, MODEL).prompt(tasks),
        small.keywords_prompt(tasks[0]),
        small.poem_prompt(tasks[0], ["a", "b"]),
    ]
    for prompt in prompts:
        text = prompt.fixed + prompt.asked
        assert "<<" not in text
        assert not any(f"{{{name}}}" in text for name in ("least", "unit", "phrases", "again"))
        ends = [line for line in text.splitlines() if line.rstrip().endswith((":", "："))]
        assert [line for line in ends if "JSON" not in line] == []
    asked = prompts[0].asked
    for refusal in refusals:
        assert f"{refusal.check}: 7" not in asked
    for phrase in deck.phrases(tasks[0].query):
        assert deck.lang.quoted(phrase.text) in asked


@pytest.mark.parametrize("language", languages())
def test_its_pages_have_every_word(tmp_path: Path, language: str) -> None:
    """The deck's own words replace ours, and none is lacking or about another deck."""
    words = page_words(language, made(tmp_path, language).words)
    assert list(words) == [language]
    assert set(words[language]) == set(page_words("en", {})["en"])
    assert words[language]["maker"] != "Tsukurioki"
    assert "3" in words[language]["lead"]
    said = orjson.dumps(words).decode()
    assert not any(word in said for word in ("Estates", "住みたい", "物件", "<<"))


def test_templates_have_the_same_files_and_members_in_every_language() -> None:
    """What is there in English is there in each other language."""
    names = {
        p.relative_to(TEMPLATES / "cards" / "en")
        for p in (TEMPLATES / "cards" / "en").rglob("*")
        if p.is_file()
    }
    english = orjson.loads((TEMPLATES / "cards" / "en" / "starter.json").read_bytes())
    for language in languages():
        folder = TEMPLATES / "cards" / language
        assert {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} == names
        starter = orjson.loads((folder / "starter.json").read_bytes())
        assert starter.keys() == english.keys()
        assert starter["words"].keys() == english["words"].keys()
        reasons = orjson.loads((folder / "prompts" / "reasons.json").read_bytes())
        assert (
            reasons.keys()
            == orjson.loads((DECKS / "poem" / "prompts" / "reasons.json").read_bytes()).keys()
        )


MINIMAL = (
    "Category,Card,Phrase 1,Phrase 2\n"
    "Owls,An owl without eyes,It listens,It rests\n"
    "Boats,A boat with a hole,Always in touch with the sea,\n"
    'Hats,A hat of lead,"Calm, in any wind",It stays\n'
)


def test_a_spreadsheet_becomes_a_deck(tmp_path: Path) -> None:
    """Category, card and one phrase are enough; ids, strength and telling words are filled in."""
    source = tmp_path / "cards.csv"
    source.write_text(MINIMAL)
    deck = made(tmp_path / "decks", source=source)
    assert [len(card.phrases) for card in deck.cards] == [2, 1, 2]
    assert deck.cards[2].phrases[0].text == "Calm, in any wind"
    assert deck.cards[1].telling_words == ("boat", "hole")
    assert len({phrase.id for card in deck.cards for phrase in card.phrases}) == 5


@pytest.mark.parametrize(
    "encoded",
    [
        MINIMAL.encode("utf-8-sig"),
        MINIMAL.replace("\n", "\r\n").encode(),
        MINIMAL.replace('"Calm, in any wind"', "Calm in any wind").replace(",", ";").encode(),
        MINIMAL.replace('"Calm, in any wind"', "Calm in any wind").replace(",", "\t").encode(),
        (MINIMAL + ",,,\n\n").encode(),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, encoded: bytes) -> None:
    """A byte-order mark, other line ends, semicolons, tabs and empty rows make no difference."""
    (tmp_path / "cards.csv").write_bytes(encoded)
    assert len(made(tmp_path / "decks", source=tmp_path / "cards.csv").cards) == 3


WRONG = {
    "UTF-16": (MINIMAL.encode("utf-16"), "line 1: is UTF-16: save it as UTF-8"),
    "Latin-1": (MINIMAL.replace("Owls", "Öwls").encode("latin-1"), "is not UTF-8: save it as"),
    "no column": (MINIMAL.replace("Card", "Crad").encode(), "'crad'; did you mean 'card'?"),
    "no phrase": (MINIMAL.replace("It listens,It rests", ",").encode(), "row 2: 'phrase 1' is"),
    "no category": (MINIMAL.replace("Boats", " ").encode(), "row 3: 'category' is empty"),
    "a column twice": (MINIMAL.replace("Phrase 2", "Phrase 1").encode(), "'phrase 1' stands twice"),
    "more cells": (MINIMAL.replace("hole,", "hole,a,b,").encode(), "row 3: has more cells"),
    "empty": (b"", "is empty"),
    "too few categories": (MINIMAL.replace("Boats", "Owls").encode(), "3 distinct categories are"),
    "an open quote": (MINIMAL.replace('wind"', "wind").encode(), "is no CSV"),
    "no cards": (b"Category,Card,Phrase 1\n", "there is no card"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_spreadsheet_with_a_fault_makes_nothing(tmp_path: Path, name: str) -> None:
    """The sentence names file, row and fault, and no folder is left behind."""
    data, fault = WRONG[name]
    (tmp_path / "cards.csv").write_bytes(data)
    with pytest.raises(OperatorError) as told:
        made(tmp_path / "decks", source=tmp_path / "cards.csv")
    assert fault in str(told.value)
    assert str(told.value).startswith(f"{tmp_path / 'cards.csv'}: ")
    assert ".new-" not in str(told.value)
    assert list((tmp_path / "decks").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "hand", "fault"),
    [
        ("mine", 3, "is there already"),
        ("Mine!", 3, "small letters, digits and hyphens"),
        ("../up", 3, "small letters, digits and hyphens"),
        ("other", 7, "the cards in the box are of 6 categories"),
    ],
)
def test_what_cannot_be_made_is_said(tmp_path: Path, name: str, hand: int, fault: str) -> None:
    made(tmp_path)
    with pytest.raises(OperatorError, match=fault):
        new_cards(tmp_path, NewDeck(name, "en", hand))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda text: text.strip() != ""
)
VALUE = st.none() | st.booleans() | st.integers(-9, 9) | TEXT | st.lists(TEXT, max_size=2)
EXTRA: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["rarity", "image", "note"]), VALUE, max_size=2
)


@st.composite
def raw_cards(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Any cards that `cards.json` may hold, with members of the game's own."""
    cards = []
    for _ in range(draw(st.integers(1, 4))):
        phrase = st.fixed_dictionaries({"id": TEXT, "poem_text": TEXT})
        poems: list[dict[str, Any]] = [*draw(st.lists(phrase, min_size=1))]
        for poem in poems:
            poem.update(draw(EXTRA))
        card: dict[str, Any] = {
            "id": draw(TEXT),
            "category": draw(TEXT),
            "condition_text": draw(TEXT),
            "strength": draw(st.integers(-99, 99)),
            "poems": poems,
        }
        card.update(draw(EXTRA))
        if draw(st.booleans()):
            card["tells"] = draw(st.lists(TEXT, max_size=3))
        cards.append(card)
    return cards


@given(raw_cards())
@settings(max_examples=60)
def test_cards_go_through_a_table_without_loss(cards: list[dict[str, Any]]) -> None:
    """Whatever members cards and phrases have, the same objects come back."""
    import csv

    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(table_of_cards(cards))
    table = list(csv.reader(io.StringIO(text.getvalue(), newline="")))
    assert cards_of_table(table, "cards.csv") == cards


@pytest.mark.parametrize("target", ["sheets", "sheets.xlsx"])
def test_the_poem_deck_goes_out_and_comes_back(tmp_path: Path, target: str) -> None:
    """Cards, titles and 1,000 written answers, as CSV and as a workbook; nothing is replaced."""
    import shutil

    shutil.copytree(DECKS / "poem", tmp_path / "poem")
    deck = load_deck(tmp_path / "poem")
    before = {path.name: path.read_bytes() for path in (tmp_path / "poem").glob("*.json*")}
    export_cards(deck, tmp_path / target)
    again, kept = import_cards(deck, tmp_path / target)
    assert kept == []
    assert again == deck
    assert {p.name: p.read_bytes() for p in (tmp_path / "poem").glob("*.json*")} == before


def test_an_import_keeps_the_old_files_and_is_checked_first(tmp_path: Path) -> None:
    """What would make a wrong deck changes nothing; what was replaced stays beside it."""
    deck = museum(tmp_path / "museum")
    export_cards(deck, tmp_path / "sheets")
    with pytest.raises(OperatorError, match="is there already"):
        export_cards(deck, tmp_path / "sheets")
    titles = tmp_path / "sheets" / "titles.csv"
    titles.write_text("title\nNumber Nine\nNumber Nine\n")
    with pytest.raises(OperatorError, match="it stands twice"):
        import_cards(deck, tmp_path / "sheets")
    assert load_deck(tmp_path / "museum") == deck
    for number, title in enumerate(("Number Ten", "Number Eleven"), 1):
        titles.write_text(f"title\n{title}\n")
        changed, kept = import_cards(deck, tmp_path / "sheets")
        assert changed.titles == (title,)
        assert [path.name for path in kept] == [f"titles.json.before-{number}"]
    old = orjson.loads((tmp_path / "museum" / "titles.json.before-1").read_bytes())
    assert tuple(old) == deck.titles


def test_a_workbook_makes_texts_of_numbers_and_formulas_of_nothing(tmp_path: Path) -> None:
    """A cell with a number is its text, and a text that begins with = stays one."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["category", "card", "phrase 1"])
    sheet.append(["Years", 1875, "=1+1"])
    sheet["C2"].data_type = "s"
    book.save(tmp_path / "any.xlsx")
    table = read_tables(tmp_path / "any.xlsx", ["cards"])["cards"]
    assert list(table[1]) == ["Years", "1875", "=1+1"]
    write_tables(tmp_path / "out.xlsx", {"cards": table})
    assert list(read_tables(tmp_path / "out.xlsx", ["cards"])["cards"][1]) == list(table[1])


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ({"xx": {}}, "no such language: 'xx'"),
        ({"en": {"hedline": ["x"]}}, "no such word: 'hedline'; did you mean 'headline'?"),
        ({"en": {"lead": ["x"]}}, "en lead: expected a text"),
        ({"en": {"headline": "x"}}, "en headline: expected a list"),
        ({"en": {"step": "Card {number}"}}, "en step: has no place {number}"),
        ({"en": {"tiers": {"exakt": "x"}}}, "no such word: 'exakt'; did you mean 'exact'?"),
    ],
)
def test_words_with_a_fault_are_named(tmp_path: Path, words: object, fault: str) -> None:
    """A misspelt word would have no effect."""
    museum(tmp_path / "museum")
    (tmp_path / "museum" / "words.json").write_bytes(orjson.dumps(words))
    with pytest.raises(OperatorError) as told:
        load_deck(tmp_path / "museum")
    assert fault in str(told.value)


@pytest.mark.parametrize(
    ("theme", "fault"),
    [
        ({"papr": "#ffffff"}, "no such member: 'papr'; did you mean 'paper'?"),
        ({"paper": "white"}, "theme paper: expected a colour like #1f2322, not 'white'"),
        ({"type": "comic"}, "theme type: expected one of serif, sans, mincho"),
    ],
)
def test_a_theme_with_a_fault_is_named(tmp_path: Path, theme: object, fault: str) -> None:
    """So is a colour that is none."""
    with pytest.raises(OperatorError) as told:
        museum(tmp_path / "museum", theme=theme)
    assert fault in str(told.value)
