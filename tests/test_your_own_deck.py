"""docs/your-own-deck.md says what the code does, and its example works as it stands."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path
from typing import cast

import httpx
import pytest

from app.kinds.cards.deck import MEMBERS, RULE_MEANINGS, THEME, Rules, load_deck
from precompute.decks.new import Wanted, new_deck
from precompute.review.cards import check
from tests import kit
from tests.cook import Cook
from tests.making import REPO, Precompute, serving
from tests.standin import KEY, StandIn
from tools import deck_tables

DOCS = REPO / "docs"
ASKED = re.compile(
    r"^\[(?P<id>[^\]]+)\]\n  idea: (?P<idea>.+)\n.*\n.*\n  phrases: (?P<phrases>.+)$", re.MULTILINE
)
SUBJECTS = [
    "The guard",
    "A visitor",
    "My aunt",
    "The mayor",
    "One child",
    "The gardener",
    "A pianist",
    "Everybody",
]
VERBS = [
    "admires",
    "forgives",
    "paints",
    "counts",
    "defends",
    "envies",
    "greets",
    "praises",
    "studies",
    "trusts",
]
THINGS = [
    "the quiet corner",
    "a borrowed chair",
    "the long curtain",
    "this polished floor",
    "a paper crown",
]
ENDS = [
    "before lunch",
    "with both hands",
    "for the third time",
    "in good faith",
    "without a word",
    "as agreed",
]


class Curator:
    """A model that writes English texts for the museum; it reads the prompt and nothing else."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def reply(self, prompt: str) -> str:
        """Answers of 200 to 400 characters, each with a title of the list."""
        self.prompts.append(prompt)
        titles = prompt.split("TITLES\n", 1)[1].split("\n\n", 1)[0].splitlines()
        answers = [
            {
                "id": asked["id"],
                "idea": asked["idea"],
                "title": titles[number % len(titles)],
                "poem": self._poem(asked["id"]),
            }
            for number, asked in enumerate(ASKED.finditer(prompt))
        ]
        return json.dumps({"answers": answers})

    def _poem(self, seed: str) -> list[str]:
        rng = random.Random(seed)
        words = [[rng.choice(part) for part in (SUBJECTS, VERBS, THINGS, ENDS)] for _ in range(6)]
        sentences = [f"{' '.join(sentence)}." for sentence in words]
        return [" ".join(sentences[:2]), " ".join(sentences[2:4]), " ".join(sentences[4:])]


@pytest.mark.parametrize("name", ["your-own-deck.md", "your-own-deck.ja.md"])
def test_its_tables_are_those_of_the_code(name: str) -> None:
    """Members, rules, defaults, places and languages; `python -m tools.deck_tables` writes them."""
    text = (DOCS / name).read_text(encoding="utf-8")
    assert deck_tables.filled(text, japanese=".ja." in name) == text


def test_every_member_and_rule_has_its_meaning() -> None:
    """In both languages."""
    assert set(RULE_MEANINGS) == set(deck_tables.RULES_JA) == set(Rules._fields)
    assert set(MEMBERS) == set(deck_tables.MEMBERS_JA)
    assert set(THEME) == set(deck_tables.THEME_JA)


def commands(name: str) -> list[str]:
    """The commands of the example."""
    text = (DOCS / name).read_text(encoding="utf-8")
    return text.split("```\n", 2)[1].strip().splitlines()


def test_both_languages_have_the_same_example() -> None:
    """Command by command, after the sentence that says how the commands come to be there."""
    assert commands("your-own-deck.md") == commands("your-own-deck.ja.md")
    for name in ("your-own-deck.md", "your-own-deck.ja.md"):
        before, _, _ = (DOCS / name).read_text(encoding="utf-8").partition("```\n")
        assert "`make setup`" in before
        assert "`. .venv/bin/activate`" in before


def test_the_written_answer_that_is_shown_is_right(tmp_path: Path) -> None:
    """In both languages the same line, which the museum takes without a fault."""
    line, again = (
        re.search(r"^\{\"picks\".*$", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("your-own-deck.md", "your-own-deck.ja.md")
    )
    assert line
    assert again
    assert line.group() == again.group()
    wanted = Wanted("museum", "en", 3, source=DOCS / "museum.csv")
    folder = new_deck(tmp_path, wanted).folder
    assert folder
    (folder / "written.jsonl").write_text(f"{line.group()}\n", encoding="utf-8")
    assert [str(finding) for finding in check(load_deck(folder))] == []


def test_the_example_works_as_it_stands(tmp_path: Path) -> None:
    """The museum is made from its sheet, cooked, exported and taken in, rehearsed and served."""
    with StandIn(kit.poem_deck()) as server:
        curator = Curator()
        server.cook = cast("Cook", curator)
        run = Precompute(
            {
                "TSUKURIOKI_DATA": tmp_path / "data",
                "GEMINI_API_KEY": KEY,
                "TSUKURIOKI_GEMINI_BASE_URL": server.url,
            }
        )
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "museum.csv").write_bytes((DOCS / "museum.csv").read_bytes())
        said = {}
        *lines, serve = commands("your-own-deck.md")
        for line in lines:
            said[line] = run(*shlex.split(line)[1:]).stdout
    made, checked, dry, built, stats, rehearsed, _, imported = said.values()
    assert "made " in made
    assert "0 errors, 0 warnings" in checked
    assert "12,500 (about " in checked
    assert "100" in dry
    assert "USD" in dry
    assert "67,500" in stats
    assert "kept as" not in imported
    assert "Mansion" not in "".join(curator.prompts)
    assert "The Small Museum" in curator.prompts[0]
    assert built
    assert rehearsed
    deck = load_deck(tmp_path / "data" / "decks" / "museum")
    assert len(deck.cards) == 30
    assert serve == "TSUKURIOKI_DECK=museum python -m app"
    # Served elsewhere from a bundle of this deck, which says itself what is played.
    run("bundle", tmp_path / "museum.tar", "--deck", "museum")
    run("unpack", tmp_path / "museum.tar", "--into", tmp_path / "event")
    data = tmp_path / "event" / "current" / "data"
    assert [path.name for path in (data / "decks").iterdir()] == ["museum"]
    settings = {"TSUKURIOKI_DATA": data}
    with serving(settings, tmp_path / "log") as served, served.client() as client:
        tiers = [_play(client) for _ in range(5)]
        page = client.get("/", headers={"Accept": "text/html", "Accept-Language": "ja"}).text
    assert set(tiers) <= {"exact", "same_hand", "template"}
    assert "The Small Museum" in page
    assert not re.search("[ぁ-んァ-ヶ一-龥]", page)


def _play(client: httpx.Client) -> str:
    """Deal a hand, pick the first phrases, and return the tier of the answer, which is English."""
    cards = client.get("/api/decks/museum/deal").json()["cards"]
    hand = [{"card": card["id"], "phrase": card["poems"][0]["id"]} for card in cards]
    answer = client.post("/api/decks/museum/answer", json={"hand": hand}).json()
    assert 200 <= len(answer["poem"].replace("\n", "")) <= 410
    assert answer["poem"].isascii() or "’" in answer["poem"]
    return str(answer["tier"])
