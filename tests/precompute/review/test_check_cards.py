"""`precompute check` says before an event what would go wrong at it, for any deck of cards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.kinds.cards.deck import Deck
from app.kinds.cards.loading import load_deck
from app.settings import Settings
from app.store.coverage import ball
from precompute.decks.new import TEMPLATES
from precompute.plan.covering import covering
from precompute.review.cards import check, stats, summary
from precompute.review.check import check_folder
from precompute.review.sizes import entries_within
from tests.making import DECKS, MUSEUM_FRAMES, museum, small_deck


def said(deck: Deck) -> list[str]:
    """What `check` says of a deck."""
    return [str(finding) for finding in (*check(deck), *check_folder(deck))]


@dataclass(frozen=True)
class Fault:
    """A change of a sound deck, and what is said of it."""

    change: Callable[[Path], object]
    said: str
    error: bool = False


def edit(name: str, change: Callable[[Any], object]) -> Callable[[Path], object]:
    """A change of a JSON file."""

    def changed(folder: Path) -> None:
        value = orjson.loads((folder / name).read_bytes())
        change(value)
        (folder / name).write_bytes(orjson.dumps(value))

    return changed


def put(name: str, value: object) -> Callable[[Path], object]:
    """A change of a member of deck.json."""
    return edit("deck.json", lambda deck: deck.update({name: value}))


def edit_prompts(folder: Path, name: str, old: str = "", new: str = "") -> None:
    """The English prompts with a change of one of them, or without it."""
    shutil.copytree(TEMPLATES / "cards" / "en" / "prompts", folder / "prompts")
    path = folder / "prompts" / name
    if old:
        path.write_text(path.read_text().replace(old, new))
    else:
        path.unlink()


FRENCH = (
    "Nous avons tout pour vous, avec une vue sur la mer et sans voisins dans cette rue. Même ici."
)
FAULTS = {
    "no frames": Fault(put("template", {}), "only stored answers can be served"),
    "frames that are too few": Fault(
        put("template", {"openings": ["Come in."], "links": ["So."], "closings": ["Stay."]}),
        "tier template answers 0 of 1,000 hands: no frames bring the phrases to 200-400 characters",
        error=True,
    ),
    "frames in another language": Fault(
        put("template", orjson.loads((DECKS / "poem" / "deck.json").read_bytes())["template"]),
        "tier template answers 0 of 1,000 hands: script:",
        error=True,
    ),
    "a frame that the gate refuses": Fault(
        put("template", {**MUSEUM_FRAMES, "links": [*MUSEUM_FRAMES["links"], "- *Word count*."]}),
        "template links 5: echo",
    ),
    "frames in French": Fault(
        put("template", {**MUSEUM_FRAMES, "openings": [FRENCH]}),
        "deck.json: template openings 1: language: nous avons tout pour (limit: words of en)",
    ),
    "a frame without a stop": Fault(
        put("template", {**MUSEUM_FRAMES, "closings": ["Stay"]}), "has no stop at its end: Stay"
    ),
    "prompts in another language": Fault(
        lambda folder: shutil.copytree(DECKS / "poem" / "prompts", folder / "prompts"),
        "prompts/poem.txt: seems to be in ja, the language of the deck is en",
    ),
    "no prompts": Fault(lambda folder: None, "there are no prompts"),
    "another script": Fault(
        put("answer", {"script": "ko"}), "the language is en, the answers are in the letters of ko"
    ),
    "another language": Fault(put("language", "fr"), "the language of the deck is fr"),
    "one card in a category": Fault(
        edit("cards.json", lambda cards: cards.append({**cards[0], "id": "x", "category": "attic"})),
        "category attic: has one card, x",
    ),
    "a phrase id used twice": Fault(
        edit("cards.json", lambda cards: cards.append({**cards[0], "id": "x"})),
        "2 cards have a phrase of this id",
    ),
    "a line break in a phrase": Fault(
        edit("cards.json", lambda cards: cards[0]["poems"][0].update(poem_text="It has\nkept it")),
        "has a line break, which is left out",
    ),
    "a misspelt member of a card": Fault(
        edit("cards.json", lambda cards: cards[0].update(tels=["owl"])),
        "card c0a: has the member 'tels'; did you mean 'tells'?",
    ),
    "a title that is too long": Fault(
        edit("titles.json", lambda titles: titles.append("A very long title " * 5)),
        "more than 60 are set very small",
    ),
    "a prompt without a place": Fault(
        lambda folder: edit_prompts(folder, "poem.txt", "{phrases}", "phrases"),
        "prompts/poem.txt: section 3: lacks {phrases}",
        error=True,
    ),
    "a prompt file that is missing": Fault(
        lambda folder: edit_prompts(folder, "small.txt"),
        "prompts/small.txt: the file is missing",
        error=True,
    ),
    "ideas that are none": Fault(
        lambda folder: edit_prompts(folder, "variety.json", '"ideas"', '"idea"'),
        "prompts/variety.json: expected",
        error=True,
    ),
    "colours that are too alike": Fault(
        put("theme", {"paper": "#f4f1e8", "ink": "#b0b0b0"}), "the contrast with paper is 1.9 : 1"
    ),
    "an id that is not the folder's": Fault(
        put("id", "gallery"), "'gallery' is in the folder 'museum'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_said_with_its_place(tmp_path: Path, name: str) -> None:
    """A warning, or an error if no visitor would get an answer."""
    fault = FAULTS[name]
    museum(tmp_path / "museum")
    fault.change(tmp_path / "museum")
    lines = [line for line in said(load_deck(tmp_path / "museum")) if fault.said in line]
    assert lines
    assert lines[0].startswith("error" if fault.error else "warning")


def test_a_sound_deck_has_no_fault_but_its_missing_prompts(tmp_path: Path) -> None:
    """Nothing is said that is not so; a thousand hands are answered."""
    assert said(museum(tmp_path / "museum")) == [
        "warning: museum: prompts: there are no prompts, so that no model can be asked for answers"
    ]


def test_the_deck_in_the_box_is_in_order() -> None:
    """All its tiers answer, and its parts agree."""
    assert said(load_deck(DECKS / "poem")) == []


def test_the_entries_for_every_play_are_counted_right(tmp_path: Path) -> None:
    """Hands are counted by the numbers of phrases of their cards, also on an uneven deck."""
    deck = small_deck(tmp_path / "mine", size=3, categories=4, each=2)
    assert entries_within(deck, 0) == deck.count_plays()
    raw = orjson.loads((tmp_path / "mine" / "cards.json").read_bytes())
    raw[0]["poems"].pop()
    raw[3]["poems"].append({"id": "more", "poem_text": "もうひとつ"})
    (tmp_path / "mine" / "cards.json").write_bytes(orjson.dumps(raw))
    deck = load_deck(tmp_path / "mine")
    expected = 0
    for groups in combinations(deck.cards_by_category.values(), 3):
        for hand in product(*groups):
            options = tuple(sorted((len(card.phrases) for card in hand), reverse=True))
            words = covering(options, 1)
            assert len(set().union(*(ball(word, options, 1) for word in words))) == (
                options[0] * options[1] * options[2]
            )
            expected += len(words)
    assert entries_within(deck, 1) == expected


def test_check_and_stats_say_how_many_entries_make_sense(tmp_path: Path) -> None:
    """A small deck can be covered whole: the museum has 2,500 hands and 67,500 plays."""
    deck = museum(tmp_path / "museum")
    shutil.copytree(DECKS / "poem" / "prompts", tmp_path / "museum" / "prompts")
    settings = Settings.read(
        {"TSUKURIOKI_STORE": str(tmp_path), "TSUKURIOKI_LEDGER": str(tmp_path / "ledger")}
    )
    line = list(summary(settings, deck, "2026-11-20"))[1]
    assert "2,500 hands, 67,500 plays; entries for every play within 1 phrase(s): 12,500" in line
    assert "exactly: 67,500 (about " in line
    figures = stats(settings, deck, "2026-11-20", 1, lambda note: None)["whole"]
    assert (figures["entries_within"], figures["entries_exact"]) == (12_500, 67_500)
    assert 0 < figures["usd_each"] < 0.01
