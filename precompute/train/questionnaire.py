"""A questionnaire for people: five questions to each answer, on paper or as a page.

The page needs no server: it keeps the answers as a file that `precompute evaluate --count` reads.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import orjson

from app.errors import PlanError
from app.kinds.kind import AnyDeck
from precompute.export.material import Material
from precompute.train.measures import Answered, plain

# The five questions, each from 1 (no) to 5 (yes).
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "ja": (
        "尋ねたこと（手札）に合っている",
        "日本語として自然だ",
        "その人らしい声がする",
        "気持ちが伝わる",
        "もっと読みたい、話したい",
    ),
    "en": (
        "It fits what was asked",
        "It reads naturally",
        "It sounds like one person",
        "It shows feeling",
        "I would like to go on",
    ),
}
_WORDS = {
    "ja": ("五つの問い", "1（いいえ）から5（はい）で答えてください。", "回答を保存する"),
    "en": ("Five questions", "From 1 (no) to 5 (yes).", "Save the answers"),
}
_STYLE = """
body { font: 16px/1.6 sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #999; padding: 1rem 0; break-inside: avoid; }
pre { white-space: pre-wrap; font: inherit; } .answer { background: #f4f1ea; padding: .8rem; }
td { padding: .1rem .5rem; } @media print { button { display: none; } }
"""
_SCRIPT = """
document.querySelector("button").addEventListener("click", () => {
  const marks = {};
  for (const input of document.querySelectorAll("input:checked")) {
    const [item, question] = input.name.split("/");
    (marks[item] ??= [])[question] = Number(input.value);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify({marks})], {type: "application/json"}));
  link.download = "answers.json";
  link.click();
});
"""


def questionnaire(deck: AnyDeck, material: Material, answered: Sequence[Answered]) -> str:
    """The page, in the deck's language if it is Japanese, else in English."""
    language = "ja" if getattr(deck, "language", "") == "ja" else "en"
    title, how, save = _WORDS[language]
    items = "\n".join(
        _item(number, one, material, QUESTIONS[language]) for number, one in enumerate(answered, 1)
    )
    return (
        f'<!doctype html>\n<html lang="{language}"><meta charset="utf-8">'
        f"<title>{title}</title><style>{_STYLE}</style>\n<h1>{title}</h1>\n<p>{how}</p>\n"
        f"{items}\n<button>{save}</button>\n<script>{_SCRIPT}</script>\n</html>\n"
    )


def _item(number: int, one: Answered, material: Material, questions: Sequence[str]) -> str:
    answer = plain(material.read(one.answer)) or one.answer
    rows = "".join(
        f"<tr><td>{escape(question)}</td>"
        + "".join(
            f'<td><label><input type="radio" name="{number}/{at}" value="{mark}">{mark}</label></td>'
            for mark in range(1, 6)
        )
        + "</tr>"
        for at, question in enumerate(questions)
    )
    return (
        f"<section><h2>{number}</h2><pre>{escape(one.asked)}</pre>"
        f'<pre class="answer">{escape(answer)}</pre><table>{rows}</table></section>'
    )


def counted(paths: Sequence[Path]) -> Iterator[tuple[str, object]]:
    """The mean of each question over all people and answers. Raises PlanError."""
    marks: list[list[int]] = [[] for _ in QUESTIONS["en"]]
    for path in paths:
        for item in _marks(path).values():
            for at, mark in enumerate(item[: len(marks)]):
                if isinstance(mark, int) and 1 <= mark <= 5:
                    marks[at].append(mark)
    for question, found in zip(QUESTIONS["en"], marks, strict=True):
        mean = f"{statistics.fmean(found):.2f}" if found else "none"
        yield question, f"{mean} ({len(found)} marks)"


def _marks(path: Path) -> dict[str, list[object]]:
    try:
        marks = orjson.loads(path.read_bytes())["marks"]
        return {str(item): list(found) for item, found in marks.items()}
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise PlanError(f"{path}: not saved by the questionnaire's page") from None
