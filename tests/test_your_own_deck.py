"""docs/your-own-deck.md says what the code does, and its example works as it stands."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path
from typing import cast

import httpx
import orjson
import pytest

from app.kinds.cards.deck import RULE_MEANINGS, Rules
from app.kinds.cards.loading import load_deck
from app.kinds.chat import deck as chat
from demo.standins import stand_ins
from precompute.decks.new import NewDeck, new_deck
from precompute.review.cards import check
from tests import kit
from tests.cook import Cook
from tests.making import REPO, Precompute, new_cards, serving
from tests.standin import KEY, StandIn
from tools import deck_tables

DOCS = REPO / "docs"
ASKED = re.compile(
    r"^\[(?P<id>[^\]]+)\]\n  (?:idea|idée) ?: (?P<idea>.+)\n.*\n.*\n  (?:phrases|tournures) ?: .+$",
    re.MULTILINE,
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
        titles = re.split(r"^TIT(?:L|R)ES\n", prompt, maxsplit=1, flags=re.MULTILINE)[1]
        titles = titles.split("\n\n", 1)[0].splitlines()
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
    assert list(RULE_MEANINGS) == list(deck_tables.RULES_JA)
    assert set(RULE_MEANINGS) == set(Rules._fields)
    assert set(chat.RULE_MEANINGS) == set(chat.LineRules._fields)
    for ours, japanese in deck_tables.MEANINGS.values():
        assert list(ours) == list(japanese)


def commands(name: str, begin: str = "```\n") -> list[str]:
    """The commands of the example, or of the one that begins like this."""
    text = (DOCS / name).read_text(encoding="utf-8")
    return text.split(begin, 1)[1].split("```")[0].strip().splitlines()


CHAT_EXAMPLE = "```sh\nprecompute new-deck pepper --kind chat"
PROMPTS_EXAMPLE = "```sh\nprecompute new-deck welcome --kind prompts"


def test_both_languages_have_the_same_example() -> None:
    """Command by command, after the sentence that says how the commands come to be there."""
    assert commands("your-own-deck.md") == commands("your-own-deck.ja.md")
    for name in ("your-own-deck.md", "your-own-deck.ja.md"):
        before, _, _ = (DOCS / name).read_text(encoding="utf-8").partition("```\n")
        assert "`make setup`" in before
        assert "`. .venv/bin/activate`" in before

    for begin in (CHAT_EXAMPLE, PROMPTS_EXAMPLE):
        assert commands("your-own-deck.md", begin) == commands("your-own-deck.ja.md", begin)


@pytest.mark.long
def test_the_chat_example_works_as_it_stands(tmp_path: Path) -> None:
    """The character is made and checked, and answers on a server, with who can be called."""
    run = Precompute({"TSUKURIOKI_DATA": tmp_path / "data"})
    rest, *lines, serve = commands("your-own-deck.md", CHAT_EXAMPLE)
    run(*shlex.split(f"new-deck pepper --kind chat {rest}"))
    assert "0 errors, 0 warnings" in run(*shlex.split(lines[0])[1:]).stdout
    assert shlex.split(lines[1])[1] == "talk"
    settings, _, started = serve.partition(" ")
    assert started == "python -m app"
    name, _, value = settings.partition("=")
    environ = {"TSUKURIOKI_DATA": tmp_path / "data", name: value}
    with serving(environ, tmp_path / "log") as served, served.client() as client:
        texts = [
            client.post("/api/chat", json={"messages": [{"role": "user", "content": text}]}).json()
            for text in ("Hello!", "I want to die")
        ]
        page = client.get("/chat?deck=pepper", headers={"Accept": "text/html"}).text
    assert {text["deck"] for text in texts} == {"pepper"}
    assert texts[0]["intent"] == "hello"
    assert "116 123" in texts[1]["text"]
    assert "Pepper" in page


@pytest.mark.long
def test_the_prompts_example_works_as_it_stands(tmp_path: Path) -> None:
    """The matrix is priced, cooked and served to a client that spells a prompt in its own way."""
    rest, *lines, serve = commands("your-own-deck.md", PROMPTS_EXAMPLE)
    assert serve == "python -m app"
    settings: dict[str, object] = {"TSUKURIOKI_DATA": tmp_path / "data"}
    with stand_ins() as models:
        run = Precompute({**settings, **models.environment(), "GEMINI_API_KEY": KEY})
        run(*shlex.split(f"new-deck welcome --kind prompts {rest}"))
        said = [run(*shlex.split(line)[1:]).stdout for line in lines]
    assert "0 errors, 0 warnings" in said[0]
    assert "36 of 36" in said[3]
    system, user = orjson.loads((tmp_path / "data/decks/welcome/template.json").read_bytes())[
        "template"
    ]
    text = user["content"].format(guest="A HIKER", hour="at noon", tone="brief")
    body = {"model": "welcome", "messages": [system, {"role": "user", "content": text}]}
    with serving(settings, tmp_path / "log") as served, served.client() as client:
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-tsukurioki-tier"] == "near"


def test_the_written_answer_that_is_shown_is_right(tmp_path: Path) -> None:
    """In both languages the same line, which the museum takes without a fault."""
    line, again = (
        re.search(r"^\{\"picks\".*$", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name in ("your-own-deck.md", "your-own-deck.ja.md")
    )
    assert line
    assert again
    assert line.group() == again.group()
    wanted = NewDeck("museum", "en", 3, source=DOCS / "museum.csv")
    folder = new_cards(tmp_path, wanted).folder
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
                # Of which a bundle of one deck takes nothing along.
                "TSUKURIOKI_DECKS_SHOWN": "poem,museum",
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


def test_a_model_that_answers_in_english_fills_no_french_deck(tmp_path: Path) -> None:
    """A build keeps none of its answers, says by which check, and asks again in French."""
    new_deck(tmp_path / "decks", NewDeck("puces", "fr", 3))
    with StandIn(kit.poem_deck()) as server:
        curator = Curator()
        server.cook = cast("Cook", curator)
        run = Precompute(
            {
                "TSUKURIOKI_DATA": tmp_path / "data",
                "TSUKURIOKI_DECKS": tmp_path / "decks",
                "GEMINI_API_KEY": KEY,
                "TSUKURIOKI_GEMINI_BASE_URL": server.url,
            }
        )
        built = run("build", "--deck", "puces", "--n", "2", status=2)
    assert "language" in built.stdout + built.stderr
    assert "Il n’était pas en français" in curator.prompts[-1]
    stats = run("stats", "--deck", "puces", "--json").stdout
    assert json.loads(stats)["store"]["entries"] == 0


def _play(client: httpx.Client) -> str:
    """Deal a hand, pick the first phrases, and return the tier of the answer, which is English."""
    cards = client.get("/api/decks/museum/deal").json()["cards"]
    hand = [{"card": card["id"], "phrase": card["poems"][0]["id"]} for card in cards]
    answer = client.post("/api/decks/museum/answer", json={"hand": hand}).json()
    assert 200 <= len(answer["poem"].replace("\n", "")) <= 410
    assert answer["poem"].isascii() or "’" in answer["poem"]
    return str(answer["tier"])
