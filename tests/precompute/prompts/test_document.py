"""docs/any-application: its files and commands are run, and print what it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from app.kinds.prompts.key import DEFAULT_RULES, canonical
from app.kinds.prompts.nearest import outline
from app.kinds.prompts.request import Message, PromptRequest
from demo.standins import stand_ins
from tests.making import DECKS, REPO, environment, serving

DOCUMENT = REPO / "docs" / "any-application.md"
JAPANESE = REPO / "docs" / "any-application.ja.md"
SAID = "Simmered daikon: it tastes better on the second day."
FRAME = (
    "You answer guests at a small restaurant by the harbour, kindly, in one or two sentences, and "
    "you never promise a table to anybody. A guest says the following to you: {}"
)


def files(text: str) -> dict[str, str]:
    """The files that a document shows, by name."""
    return dict(re.findall(r"`([\w./-]+)`:\n\n```\w+\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a document and what it says that each prints."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_both_languages_have_the_same_files_and_commands() -> None:
    english, japanese = (path.read_text("utf-8") for path in (DOCUMENT, JAPANESE))
    assert files(english) == files(japanese)
    assert commands(english) == commands(japanese)


@pytest.mark.long
def test_the_commands_of_the_document_print_what_it_says(tmp_path: Path) -> None:
    """From a program that asks OpenAI to a replay with no network, and a cooked matrix."""
    text = DOCUMENT.read_text("utf-8")
    (tmp_path / "data" / "decks").mkdir(parents=True)
    (tmp_path / "data" / "decks" / "poem").symlink_to(DECKS / "poem")
    for name, content in files(text).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    # Programs are often called like our own package: it must not be taken for it.
    (tmp_path / "app.py").write_text("raise SystemExit('this is another app')")
    ran = 0
    with stand_ins() as models:
        models.told = lambda question, number: SAID
        for command, said in commands(text):
            if command == "python -m app &":
                continue
            if "localhost:8000" in command:
                settings = {"TSUKURIOKI_DATA": tmp_path / "data"}
                with serving(settings, tmp_path / "server.log") as server:
                    here = command.replace("http://localhost:8000", server.url)
                    printed = run(here, tmp_path, {})
            else:
                printed = run(command, tmp_path, {**models.environment()})
            if said:
                assert printed == split(said), command
            ran += 1
        assert len(models.asked) > 2
    assert ran == 6


def run(command: str, folder: Path, settings: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Run a command of the document; what it printed, and what it told as errors."""
    named = {"python": sys.executable, "precompute": f"{sys.executable} -P -m precompute"}
    words = re.sub(r"\b(python|precompute)\b(?!\.)", lambda found: named[found[1]], command)
    done = subprocess.run(
        ["sh", "-c", words],
        cwd=folder,
        env={**environment(**settings), "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    return split([line.rstrip() for line in (done.stdout + done.stderr).splitlines()])


def split(lines: list[str]) -> tuple[list[str], list[str]]:
    """What a program prints, and what precompute says about it; how the network went may differ."""
    told = {
        ours: [line for line in group if "network taken away" not in line]
        for ours, group in groupby(
            sorted(lines, key=lambda line: line.startswith("precompute: ")),
            lambda line: line.startswith("precompute: "),
        )
    }
    return told.get(False, []), told.get(True, [])


def test_the_rates_of_false_near_answers_are_those_of_the_document() -> None:
    """On pairs that look alike and mean something else, alone and in a longer prompt."""
    pairs = [
        pair
        for name in ("treacherous.json", "treacherous.en.json")
        for pair in json.loads((REPO / "tests" / "data" / "chat" / name).read_bytes())
    ]
    shown = re.findall(r"^\| (1|0\.\d) \| (\d+) of (\d+) \| (\d+) of \d+ \|$", DOCUMENT.read_text("utf-8"), re.MULTILINE)  # fmt: skip
    assert len(shown) == 3
    for near, alone, of, framed in shown:
        assert int(of) == len(pairs)
        for frame, expected in (("{}", alone), (FRAME, framed)):
            hits = sum(is_near(frame, pair, float(near)) for pair in pairs)
            assert hits == int(expected), (near, frame, hits)


def is_near(frame: str, pair: list[str], least: float) -> bool:
    """Whether one of a pair would be answered like the other."""
    one, other = (
        outline(
            canonical(
                PromptRequest("chat", "m", (Message.of("user", frame.format(text)),)), DEFAULT_RULES
            )
        )
        for text in pair[:2]
    )
    share = len(one.words & other.words) / max(1, len(one.words | other.words))
    return one.guard == other.guard and share >= least
