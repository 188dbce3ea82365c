"""Prompts: files with named places, checked on loading; variety out of data."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import DeckError
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.prompts import (
    load_prompt,
    load_reasons,
    load_variety,
    prompts_folder,
    refusal_notes,
)
from app.kinds.cards.writer import SmallWriter, WholeWriter
from app.kinds.language import JAPANESE
from app.kinds.refusal import Refusal
from app.kinds.tasks import Task
from app.providers import NamedModel
from app.providers.tokens import estimate_tokens
from precompute.cook.near_copy import CHECK
from precompute.plan.strategies import plan_sampled, plan_stock
from tests.kit import POEM, poem_deck

PLANNED = NamedModel("gemini", "m")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the prompts, to spoil."""
    return Path(shutil.copytree(POEM / "prompts", tmp_path / "deck" / "prompts"))


def deck_at(folder: Path) -> Deck:
    return replace(poem_deck(), folder=folder.parent)


def tasks(count: int) -> list[Task]:
    return [
        Task(job.query) for job, _ in zip(plan_stock(poem_deck(), 0, 1), range(count), strict=False)
    ]


def test_the_prompt_for_one_poem_has_about_1500_tokens() -> None:
    """Everything that a poem must be, in the size that was asked for."""
    prompt = WholeWriter(poem_deck(), PLANNED).prompt(tasks(1))
    assert 1300 < estimate_tokens(prompt.fixed + prompt.asked) < 1900


def test_the_small_prompts_have_about_300_tokens_each() -> None:
    """What a small model can hold in mind."""
    writer = SmallWriter(poem_deck(), PLANNED)
    task = tasks(1)[0]
    assert estimate_tokens(writer.keywords_prompt(task).asked) < 300
    assert estimate_tokens(writer.poem_prompt(task, ["光"] * 10).asked) < 450


def test_a_request_says_all_that_an_answer_needs() -> None:
    """Phrases, what to hide, 20 titles, and for each answer its id, idea, view and opening."""
    asked = tasks(10)
    writer = WholeWriter(poem_deck(), PLANNED)
    text = writer.prompt(asked).asked
    for task in asked:
        for phrase in poem_deck().phrases(task.query):
            assert f"「{phrase.text}」" in text
            assert poem_deck().card_by_id[phrase.card].text in text
    assert sum(title in text for title in poem_deck().titles) >= 20
    assert text.count("考え：") == text.count("組み立て：") == text.count("書き出し：") == 10
    assert "{" not in text


def test_every_answer_of_a_request_has_its_own_idea() -> None:
    """Up to as many answers as there are ideas."""
    variety = load_variety(prompts_folder(poem_deck()))
    manners = variety.manners(range(0, 10_000, 400))
    assert len({manner.idea for manner in manners}) == 25


def test_a_thousand_answers_are_given_many_manners() -> None:
    """Angle, build of view and opening move together: hardly any two plays have the same."""
    variety = load_variety(prompts_folder(poem_deck()))
    jobs = zip(plan_sampled(poem_deck(), 0), range(300), strict=False)
    seeds = [int(job.query.key, 16) for job, _ in jobs]
    manners = {manner for seed in seeds for manner in variety.manners([seed])}
    assert len(manners) > 280


def test_titles_are_offered_evenly() -> None:
    """Over 100 requests every title of the deck is a candidate."""
    writer = WholeWriter(poem_deck(), PLANNED)
    texts = [writer.prompt([task]).asked for task in tasks(100)]
    assert all(any(f"\n{title}\n" in text for text in texts) for title in poem_deck().titles)


def test_asked_again_it_is_another_request() -> None:
    """A refused answer gets another idea, and the reason in Japanese."""
    task = tasks(1)[0]
    again = Task(task.query, 0, ((Refusal("length", "171", "180-240 characters"),),))
    writer = WholeWriter(poem_deck(), PLANNED)
    first, second = writer.prompt([task]).asked, writer.prompt([again]).asked
    assert "前回の不合格：詩の長さが171字だった。180-240字の範囲に収める。" in second
    assert first.splitlines()[-4:] != second.splitlines()[-5:-1]


def test_every_check_has_its_reason() -> None:
    """What a model is told of a refusal is in the deck's language, for each check of the gate."""
    reasons = load_reasons(prompts_folder(poem_deck()))
    names = {check.name for check in Gate.of(poem_deck()).checks} | {CHECK, "swapped", "missing"}
    assert names <= set(reasons)
    assert refusal_notes(reasons, [(Refusal("blocked: SAFETY"),)], JAPANESE)


def test_a_prompt_is_filled_the_same_every_time() -> None:
    """A killed build can read the reply to a request that it does not remember."""
    asked = tasks(5)
    assert WholeWriter(poem_deck(), PLANNED).prompt(asked) == WholeWriter(
        poem_deck(), PLANNED
    ).prompt(asked)


def test_the_fingerprint_follows_the_prompt(folder: Path) -> None:
    """One changed word makes another; what is only asked does not."""
    before = WholeWriter(deck_at(folder), PLANNED).fingerprint
    assert before == WholeWriter(poem_deck(), PLANNED).fingerprint
    path = folder / "poem.txt"
    path.write_text(path.read_text().replace("二百十字前後", "二百字前後"))
    assert WholeWriter(deck_at(folder), PLANNED).fingerprint != before


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("{least}", "180", r"section 1: lacks \{least\}"),
        ("{answers}", "", r"section 2: lacks \{answers\}"),
        ("{build}", "{view}", r"section 3: lacks \{build\}"),
        ("句：{phrases}", "句：{phrases}{colour}", r"section 3: has the unknown place \{colour\}"),
        ("----\n", "", "expected 3 sections"),
    ],
)
def test_a_prompt_with_a_fault_names_file_and_place(
    old: str, new: str, fault: str, folder: Path
) -> None:
    """A missing or unknown place is told on loading, not by a poor answer later."""
    path = folder / "poem.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DeckError, match=fault) as caught:
        load_prompt(folder, "poem.txt")
    assert caught.value.file == str(path)


@pytest.mark.parametrize("text", ["{", "{}", '{"ideas": [], "builds": ["x"], "openings": ["y"]}'])
def test_variety_with_a_fault_is_named(text: str, folder: Path) -> None:
    """So is data that gives no variety."""
    (folder / "variety.json").write_text(text)
    with pytest.raises(DeckError, match=r"variety\.json"):
        load_variety(folder)


def test_a_deck_without_prompts_borrows_none(tmp_path: Path) -> None:
    """Another deck's prompts, perhaps in another language, are never used for it."""
    shutil.copytree(POEM, tmp_path / "poem")
    shutil.copytree(POEM, tmp_path / "mine", ignore=shutil.ignore_patterns("prompts"))
    deck = replace(poem_deck(), folder=tmp_path / "mine")
    with pytest.raises(DeckError, match="a model needs prompts"):
        prompts_folder(deck)
