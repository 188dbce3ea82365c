"""Which of two answers is better, by a model that says A or B and why, never a score.

Scores cling to the top of their scale; a choice does not. Each two answers are shown in both orders,
and only agreement counts, because models prefer a place (Zheng et al., Judging LLM-as-a-Judge with
MT-Bench and Chatbot Arena, 2023).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from app.providers import Prompt
from app.providers.model_json import UnreadableError, read_object
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.report import Report
from precompute.export.material import fill
from precompute.export.questions import RepliesFile, ask

SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "winner": {"type": "string", "enum": ["A", "B"]}},
    "required": ["why", "winner"],
}
_TOKENS = 300


class Comparison(NamedTuple):
    """Two answers to what was asked."""

    asked: str
    one: str
    other: str


class Verdicts:
    """A model's verdicts on comparisons. `text` is the question: places {asked}, {first}, {second}."""

    def __init__(self, text: str, replies: RepliesFile) -> None:
        self._text = text
        self._replies = replies

    def better(self, game: Comparison) -> str | None:
        """The text that won in both orders; None if the orders disagree, or one is missing."""
        asked = [self._replies.value(question) for question in _both_orders(self._text, game)]
        return {("A", "B"): game.one, ("B", "A"): game.other}.get((asked[0], asked[1]))  # type: ignore[arg-type]


def compare(
    options: BuildOptions, context: BuildContext, text: str, games: Iterable[Comparison], path: Path
) -> tuple[Verdicts, Report]:
    """Ask a model which answers are better. Raises OperatorError; verdicts are kept in `path`."""
    questions = [question for game in games for question in _both_orders(text, game)]
    replies, report = ask(options, context, questions, path, _winner)
    return Verdicts(text, replies), report


def _both_orders(text: str, game: Comparison) -> Sequence[Prompt]:
    orders = ((game.one, game.other), (game.other, game.one))
    return [
        Prompt(
            "", fill(text, {"asked": game.asked, "first": first, "second": second}), SCHEMA, _TOKENS
        )
        for first, second in orders
    ]


def _winner(reply: str) -> str | None:
    """A or B; None for anything else."""
    try:
        winner = str(read_object(reply).get("winner", "")).strip().upper()
    except UnreadableError:
        return None
    return winner if winner in ("A", "B") else None
