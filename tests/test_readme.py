"""What the README shows is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from app.settings import TABLE
from tests.conftest import Serve
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
def test_the_answer_and_the_figures_shown_are_given(
    readme: Path, precompute: Precompute, serve: Serve
) -> None:
    """The poem in the README is what its request gets, the figures what the commands above print."""
    text = readme.read_text(encoding="utf-8")
    commands, shown = text.split("$ precompute stats\n")
    precompute(*commands.rsplit("$ precompute ", 1)[1].split())
    printed = [line.rstrip() for line in precompute("stats").stdout.splitlines()]
    assert shown.split("```")[0].splitlines() == printed
    body = text.split("-d '")[1].split("'")[0]
    with serve().client() as client:
        answer = client.post("/api/decks/poem/answer", json=orjson.loads(body)).json()
    quoted = [line[2:] for line in text.splitlines() if line.startswith("> ") and line != ">"]
    assert quoted == [f"**{answer['title']}**", *answer["poem"].split("\n\n")]
    assert f'`"tier":"{answer["tier"]}","source":"{answer["source"]}"`' in text


@pytest.mark.parametrize("name", ["security.md", "security.ja.md"])
def test_every_promise_names_a_test_that_exists(name: str) -> None:
    """The tests that docs/security names as holding its promises are there."""
    named = set(re.findall(r"`(test_\w+)`", (REPO / "docs" / name).read_text("utf-8")))
    sources = "".join(p.read_text("utf-8") for p in (REPO / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert named <= set(re.findall(r"def (test_\w+)", sources))
