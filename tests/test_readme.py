"""What the README shows is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from app.kinds.cards.deck import Deck
from app.kinds.cards.tiers import Asked, build_ladder
from app.settings import TABLE
from tests.making import REPO, Precompute

READMES = [REPO / "README.md", REPO / "README.ja.md"]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_setting_is_documented(readme: Path) -> None:
    """Every setting of the table stands in the README, with its default."""
    text = readme.read_text(encoding="utf-8")
    for row in TABLE:
        line = next((n for n in text.splitlines() if n.startswith(f"| `{row.name}` |")), "")
        assert line, row.name
        assert row.default in line


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_answer_shown_is_the_answer_given(readme: Path, poem: Deck) -> None:
    """The poem in the README is the one that its request gets."""
    text = readme.read_text(encoding="utf-8")
    picks = re.findall(r'{"card":"([^"]+)","phrase":"([^"]+)"}', text)
    ladder = build_ladder(poem, ["composed"], lambda: None, 1)
    given = ladder.answer(Asked(poem.legal_query(picks)))
    assert given
    answer = orjson.loads(given.body)
    quoted = [line[2:] for line in text.splitlines() if line.startswith("> ") and line != ">"]
    assert quoted == [f"**{answer['title']}**", *answer["poem"].split("\n\n")]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_figures_shown_are_printed(readme: Path, precompute: Precompute) -> None:
    """The figures of `precompute stats` in the README are what it prints after the build it names."""
    precompute("build", "--n", 1000)
    printed = [line.rstrip() for line in precompute("stats").stdout.splitlines()]
    text = readme.read_text(encoding="utf-8")
    shown = text.split("$ precompute stats\n")[1].split("```")[0].splitlines()
    assert shown == printed


@pytest.mark.parametrize("name", ["security.md", "security.ja.md"])
def test_every_promise_names_a_test_that_exists(name: str) -> None:
    """The tests that docs/security names as holding its promises are there."""
    named = set(re.findall(r"`(test_\w+)`", (REPO / "docs" / name).read_text("utf-8")))
    sources = "".join(p.read_text("utf-8") for p in (REPO / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert named <= set(re.findall(r"def (test_\w+)", sources))
