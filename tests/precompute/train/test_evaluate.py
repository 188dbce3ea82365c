"""Evaluating models on held-out rows, with a server in the place of models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from precompute.train.evaluate import Share, verdict, wilson
from tests.making import row
from tests.precompute.export.kit import Place, lines
from tests.precompute.export.model import a_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("evaluate"), {})


@pytest.fixture(scope="module")
def data(place: Place) -> Path:
    """The lines of a small deck, some held out."""
    return place.export("trl", deck="harbour")


def test_the_store_itself_is_measured(place: Place, data: Path) -> None:
    """The held-out answers are the reference: all of them pass what the deck itself wrote."""
    done = place.run("evaluate", "--deck", "harbour", "--data", data, "--provider", "store")
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "near copies of the training data").startswith("0%")
    assert int(row(done.stdout, "in the character's voice").split("%")[0]) >= 90


def test_poems_are_measured_too(place: Place) -> None:
    """What was written for a deck of cards passes its gate; what is no JSON is of no shape."""
    out = place.export("trl", deck="poem")
    rows = lines(out / "validation.jsonl")
    rows[0]["completion"][0]["content"] = "no JSON at all"
    (out / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    asked = ("evaluate", "--deck", "poem", "--data", out, "--provider", "store", "--n", 10)
    done = place.run(*asked)
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "pass the gate") == "90% (refused by shape 1)"


def test_a_model_is_measured_and_compared(place: Place, data: Path, tmp_path: Path) -> None:
    """A model that recites one learned line copies; a judge that prefers the reference says stop."""
    line: str = lines(data / "train.jsonl")[0]["completion"][0]["content"]
    answers = {row["completion"][0]["content"] for row in lines(data / "validation.jsonl")}

    def reply(prompt: str) -> str:
        if "\n\nA:\n" not in prompt:
            return line
        first = prompt.split("\n\nA:\n")[1].split("\n\n", maxsplit=1)[0]
        return json.dumps({"why": "so", "winner": "A" if first in answers else "B"})

    pages = tmp_path / "pages.html"
    with a_model(reply) as model:
        arguments = (
            "evaluate", "--deck", "harbour", "--data", data, "--provider", "openai", "--n", 12,
            "--judge", "openai", "--questionnaire", pages,
        )  # fmt: skip
        done = place.run(*arguments, OPENAI_BASE_URL=model.url)
        assert done.returncode == 0, done.stderr
        asked = len(model.prompts)
        again = place.run(*arguments, OPENAI_BASE_URL=model.url)
        assert len(model.prompts) == asked, "what was answered is kept"
    assert again.stdout == done.stdout
    assert row(done.stdout, "near copies of the training data").startswith("100%")
    assert row(done.stdout, "preferred to the held-out answer").startswith("0% (0% to 24%) of 12")
    assert "stop" in row(done.stdout, "verdict")
    # What the better way costs, and this one.
    assert re.match(r"\d\.\d\d USD by gemini", row(done.stdout, "1,000 such answers, precomputed"))
    assert "no price" in row(done.stdout, "1,000 by this model")
    page = pages.read_text("utf-8")
    assert page.count("<section>") == 12
    assert len(re.findall(r'type="radio"', page)) == 12 * 5 * 5


def test_what_people_answered_is_counted(place: Place, tmp_path: Path) -> None:
    """The means of five questions over all people; what is no mark does not count."""
    for number, marks in enumerate(([5, 4, 3, 2, 1], [3, 4, None, 9, 1])):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({"marks": {"1": marks}}), "utf-8")
    done = place.run("evaluate", "--count", tmp_path / "0.json", "--count", tmp_path / "1.json")
    assert done.returncode == 0, done.stderr
    assert row(done.stdout, "It fits what was asked") == "4.00 (2 marks)"
    assert row(done.stdout, "It sounds like one person") == "3.00 (1 marks)"
    (tmp_path / "2.json").write_text("[]", "utf-8")
    done = place.run("evaluate", "--count", tmp_path / "2.json")
    assert done.returncode == 2
    assert "not saved by the questionnaire" in done.stderr


@pytest.mark.parametrize(("wins", "games"), [(0, 0), (0, 10), (5, 10), (10, 10), (37, 200)])
def test_the_interval_holds_the_share(wins: int, games: int) -> None:
    """Wilson's interval is within 0 and 1 and has the share in it, also at the ends."""
    share = wilson(wins, games)
    assert 0 <= share.least <= share.share <= share.most <= 1


def test_the_verdict_follows_the_phases() -> None:
    """Parity is 50 % of wins; what is wanted grows with the rows."""
    assert "go on" in verdict(Share(0.12, 0, 1), 90)
    assert "stop" in verdict(Share(0.12, 0, 1), 400)
    assert "stop" in verdict(Share(0.30, 0, 1), 4_000)
    assert "go on" in verdict(Share(0.40, 0, 1), 40_000)


MISUSES = {
    "no data": (("--provider", "store"), "say --data"),
    "no candidate": (("--data", "{data}"), "--provider or --folder"),
    "another folder": (("--data", "docs", "--provider", "store"), "not written by"),
    "no server": (("--data", "{data}", "--provider", "openai"), "OPENAI_BASE_URL"),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_every_wrong_use_of_evaluate_is_one_line(place: Place, data: Path, misuse: str) -> None:
    """What a person can correct ends with status 2 and one line."""
    arguments, said = MISUSES[misuse]
    done = place.run("evaluate", *(a.replace("{data}", str(data)) for a in arguments))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
