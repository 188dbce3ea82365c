"""`precompute evaluate`: a model's answers to held-out rows, measured and compared."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import PlanError
from app.kinds.decks import kind_of
from app.providers import Prompt
from app.providers.prices import load_prices
from app.providers.tokens import estimate_tokens
from app.store.entry import Usage
from app.store.key import Query
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.report import table
from precompute.export.material import RowOptions, material_of, training_texts
from precompute.export.questions import ask
from precompute.export.rows import SYSTEM
from precompute.export.verdicts import Comparison, compare
from precompute.files import write_whole
from precompute.train.measures import Answered, load_words, measure
from precompute.train.needs import PHASES
from precompute.train.questionnaire import counted, questionnaire

# Tokens of an answer, and rows without --n.
TOKENS, ROWS = 600, 50
STORE = "store"
# Messages before an answer: a system text and what was asked.
_TURNS = 2
_Z = 1.96


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """`data` is an exported folder; `who` a provider, "store" or "folder"; `folder` a merged model."""

    data: Path
    who: str
    folder: Path | None = None
    rows: int = ROWS
    pages: Path | None = None


class HeldOut(NamedTuple):
    """A row: the system text, what was asked, the query, the answer, and the messages before it."""

    system: str
    asked: str
    query: Query
    answer: str
    turns: int


class Share(NamedTuple):
    """A share with its 95 % interval (Wilson)."""

    share: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.share:.0%} ({self.least:.0%} to {self.most:.0%})"


def wilson(wins: float, games: int) -> Share:
    """The share of wins with its 95 % interval (Wilson, 1927)."""
    if not games:
        return Share(0.0, 0.0, 1.0)
    share, square = wins / games, _Z * _Z
    middle = (share + square / (2 * games)) / (1 + square / games)
    half = _Z * math.sqrt(share * (1 - share) / games + square / (4 * games * games))
    half /= 1 + square / games
    return Share(share, max(0.0, middle - half), min(1.0, middle + half))


def evaluate(
    options: EvaluateOptions,
    candidate: BuildOptions,
    judge: BuildOptions | None,
    context: BuildContext,
) -> None:
    """Measure a candidate's answers, compare them, and print it.

    Raises OperatorError. Replies and verdicts are kept in the data's folder.
    """
    deck = context.deck
    material = material_of(deck, RowOptions())
    held_out = _held_out(options)
    learned = [row.answer for row in _rows(options.data, "train")]
    begun = context.clock.now()
    answers = _answers(options, candidate, context, held_out)
    seconds = context.clock.now() - begun
    answered = [
        Answered(row.asked, row.query, answer)
        for row, answer in zip(held_out, answers, strict=True)
    ]
    words, gate = load_words(deck), kind_of(deck).gate(deck)
    rows = measure(answered, learned, words, material, gate).rows()
    if options.who != STORE:
        reference = [Answered(row.asked, row.query, row.answer) for row in held_out]
        theirs = measure(reference, learned, words, material, gate).rows()
        rows = [
            (name, f"{mine}   (held-out rows: {other})")
            for (name, mine), (_, other) in zip(rows, theirs, strict=True)
        ]
    if judge:
        rows += _preference(options, judge, context, held_out, answers, len(learned))
    rows += _costs(options, candidate, context, held_out, seconds)
    name = options.folder or f"{options.who} {candidate.model or ''}".strip()
    table(context.out, f"{name} on {len(held_out)} held-out rows", rows)
    if options.pages:
        write_whole(options.pages, questionnaire(deck, material, answered).encode())
        context.say(f"questionnaire: {options.pages}")


def _held_out(options: EvaluateOptions) -> list[HeldOut]:
    """The rows to answer: a provider is asked with a system text and one message."""
    short = (row for row in _rows(options.data, "validation") if row.turns <= _TURNS)
    found = list(itertools.islice(short, options.rows))
    if not found:
        raise PlanError(f"{options.data}: there are no held-out rows; export with --validation 0.1")
    return found


def _rows(folder: Path, side: str) -> list[HeldOut]:
    """The rows of one side of a data set in the form trl. Raises PlanError."""
    path = folder / f"{side}.jsonl"
    try:
        records = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        return [_row(record) for record in records]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, IndexError):
        raise PlanError(f"{path}: not written by `precompute export --format trl`") from None


def _row(record: Mapping[str, Any]) -> HeldOut:
    system = "\n".join(m["content"] for m in record["prompt"] if m["role"] == SYSTEM)
    return HeldOut(
        system,
        record["prompt"][-1]["content"],
        Query.from_json(record["metadata"]["query"]),
        record["completion"][-1]["content"],
        len(record["prompt"]),
    )


def _answers(
    options: EvaluateOptions,
    candidate: BuildOptions,
    context: BuildContext,
    rows: Sequence[HeldOut],
) -> list[str]:
    """The candidate's answers; empty texts where it has none."""
    if options.who == STORE:
        return [row.answer for row in rows]
    if options.folder:
        from precompute.train.generate import generate

        return generate(options.folder, [(row.system, row.asked) for row in rows], TOKENS)
    questions = [Prompt(row.system, row.asked, {}, TOKENS) for row in rows]
    path = options.data / "answers.jsonl"
    replies, report = ask(
        candidate, context, questions, path, lambda said: said.strip() or None, plain=True
    )
    if report.unmet:
        context.note(f"{len(report.unmet)} rows have no answer, which counts as an empty one")
    return [replies.value(question) or "" for question in questions]


def _preference(
    options: EvaluateOptions,
    judge: BuildOptions,
    context: BuildContext,
    rows: Sequence[HeldOut],
    answers: Sequence[str],
    learned: int,
) -> Iterator[tuple[str, object]]:
    """The share of rows on which a judge prefers the candidate to the reference, and what follows."""
    text = training_texts(context.deck.folder, {"compare": str})["compare"]
    games = [
        Comparison(row.asked, answer, row.answer)
        for row, answer in zip(rows, answers, strict=True)
        if answer and answer != row.answer
    ]
    verdicts, _ = compare(judge, context, text, games, options.data / "verdicts.jsonl")
    results = [(game, verdicts.better(game)) for game in games]
    wins = sum(winner == game.one for game, winner in results)
    decided = sum(winner is not None for _, winner in results)
    share = wilson(wins, decided)
    yield "preferred to the held-out answer", f"{share} of {decided} in which both orders agree"
    yield "orders that disagree", f"{len(games) - decided} of {len(games)}"
    yield "verdict", verdict(share, learned)


def _costs(
    options: EvaluateOptions,
    candidate: BuildOptions,
    context: BuildContext,
    rows: Sequence[HeldOut],
    seconds: float,
) -> Iterator[tuple[str, object]]:
    """What 1,000 such answers cost if they are precomputed, and if the candidate makes them."""
    settings = context.settings
    table_of = load_prices(settings.prices)
    day = context.clock.stamp()

    def thousand(provider: str, model: str) -> str:
        price = table_of.price(provider, model, day)
        if price is None:
            return f"of {model or provider} the price table has no price"
        asked = sum(estimate_tokens(row.system + row.asked) for row in rows) / len(rows)
        said = sum(estimate_tokens(row.answer) for row in rows) / len(rows)
        cost = 1000 * price.cost(Usage(prompt=asked, output=said))
        return f"{cost:.2f} USD by {model or provider} (prices of {table_of.dated})"

    once = thousand("gemini", settings.gemini_model)
    yield "1,000 such answers, precomputed", f"{once}, once; nothing at the event"
    if options.folder:
        each = seconds / len(rows)
        yield "by this model", f"{each:.1f} s each on this machine, which the event then needs"
    elif options.who != STORE:
        local = options.who == "ollama"
        cost = "a machine that runs it" if local else thousand(options.who, candidate.model or "")
        yield "1,000 by this model", f"{cost}, at each event, besides its training"


def verdict(share: Share, rows: int) -> str:
    """What the phases of the guide say. Parity with the reference is a share of 50 %."""
    quality = share.share / 0.5
    least = next((floor for most, floor in PHASES if rows <= most), PHASES[-1][1])
    word = "go on" if quality >= least else "stop: precomputed answers are the better way"
    return f"{quality:.0%} of the reference's quality, {least:.0%} wanted at {rows:,} rows: {word}"


def count_pages(paths: Sequence[Path], context: BuildContext) -> None:
    """Print what people answered. Raises PlanError."""
    table(context.out, f"{len(paths)} questionnaires", counted(paths))
