"""Learn the classifier of a deck: `python -m precompute.learn.classifier data/decks/chat`.

The examples are the deck's `examples.jsonl`, what `said.json` has for and against each intent, and
`danger.jsonl` (`{"text", "grave"}`); the messages of the intents by example count against danger. A line of `examples.jsonl` is `{"intent": …, "say": …}`, where
the intent is null for messages that no line answers (`"not": "danger"` in place of it: they only sound
like danger), and `say` is one message or a pattern of many:
`(a|b)` is either, `(a|b)?` may be missing, `{X}` is the block X, a line `{"block": "X", "say": "a|b"}`.
Each pattern gives some dozens of messages, in which every alternative occurs equally often.

A deck without examples of its own may tell danger from all else, and nothing more, by a classifier that was learned
for its language: `python -m precompute.learn.classifier data/decks/harbour --danger FILE` writes it to a file, from the deck's
messages and those of `--also data/danger/en.jsonl`.

Needs the extra `learn` (scikit-learn); serving does not. `--folds` learns on a part of the messages
of `said.json` and counts on the others, from which the limits were chosen.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click
import xxhash

from app.errors import DeckError, OperatorError
from app.kinds.chat.by_example import INTENTS_FOLDER, load_by_example
from app.kinds.chat.classifier import (
    BUCKETS,
    BY_EXAMPLE_FILE,
    CLASSIFIER_FILE,
    DANGER,
    NONE,
    TONES_FILE,
    Runs,
    packed,
    unpacked,
)
from app.kinds.chat.deck import SAID_FILE
from app.kinds.chat.intents import load_intents
from app.kinds.chat.message import normalise
from app.kinds.chat.recognition import LONGEST, IntentReader, main_hit
from app.kinds.reading import DECK_FILE, Reader, json_lines
from precompute.commands.types import whole

EXAMPLES_FILE, DANGER_FILE = "examples.jsonl", "danger.jsonl"
# Messages and their tone, where null is a message without any; or intents by example whose messages have it.
TONE_EXAMPLES_FILE = "tones.jsonl"
# The class of messages that only sound like danger: they count against it, and for or against nothing else.
HARMLESS = "harmless"
# Messages of a pattern: at least so many, if it has as many, and each alternative so often. Those of
# the narrow intents are shorter, and ten times as many patterns are to be learned from.
_FEW, _FEW_NARROW = (80, 6), (120, 4)
_REFERENCE = re.compile(r"\{([A-Z]+)\}")
_PART = re.compile(r"\([^()]*\)|\{[A-Z]+\}")
_GROUP = re.compile(r"\(([^()]*)\)(\?)?")
# How often a message that was written by itself counts, beside those of patterns.
_WEIGHT = 3
# Of the regression: kind of regularisation, and rounds.
_L1, _ROUNDS = 0.3, 5
# Limits of the score that `--folds` tries, and what it counts: an intent read right, taken for another,
# passed; none taken for an intent, left alone.
_TRIED = (-2.0, -1.0, 0.0, 1.0, 2.0)
_OUTCOMES = ("right", "wrong", "passed", "false", "left")


class Learning(NamedTuple):
    """How a classifier is learned.

    `others` is how many messages of other classes count, `least` the least weight that is kept, `alpha`
    the strength of the regularisation.
    """

    limits: Mapping[str, float]
    runs: Runs
    others: int
    least: float
    alpha: float = 2e-6


# What was best for each in folds.
LEARNING = {
    CLASSIFIER_FILE: Learning(
        {
            "sure": 0.0,
            "lead": 1.0,
            "contradicts": 2.0,
            "danger": -1.5,
            "certain": 0.5,
            "plainly": 2.5,
            "grave": 0.0,
            "harmless": -2.5,
        },
        Runs(),
        1_000_000,
        0.4,
    ),
    BY_EXAMPLE_FILE: Learning(
        {"sure": -2.2, "lead": 0.7, "contradicts": 1.0, "clear": 0.0},
        Runs((1, 2, 3), (1, 2)),
        12_000,
        1.25,
    ),
    TONES_FILE: Learning(
        # Who is congratulated without a reason is misread, and few messages that score below 0 are good news.
        {"sure": -0.4, "sure good": 0.0, "lead": 0.7, "contradicts": 0.0, "clear": 0.8},
        Runs((1, 2, 3), (1, 2)),
        1_000_000,
        0.3,
        1e-5,
    ),
}


# Of danger alone, from fewer messages: what expressions find counts as much as without it, and it only adds.
DANGER_ALONE = Learning(
    {
        "sure": 0.0,
        "lead": 1.0,
        "contradicts": 2.0,
        "danger": -1.0,
        "certain": 0.5,
        "plainly": 2.5,
        "grave": -99.0,
        "harmless": -99.0,
    },
    Runs(),
    1_000_000,
    0.4,
)


class Example(NamedTuple):
    """A message and its class; `written` if it is no pattern's."""

    text: str
    name: str
    written: bool = False


class Patterns:
    """The messages of patterns, the same for the same file."""

    def __init__(self, rows: Iterable[Mapping[str, Any]], few: tuple[int, int] = _FEW) -> None:
        rows = list(rows)
        self._fewest, self._each = few
        self._blocks = {row["block"]: str(row["say"]).split("|") for row in rows if "block" in row}
        self._rows = [row for row in rows if "say" in row and "block" not in row]
        self._order = random.Random(1)

    def examples(self) -> Iterator[Example]:
        """Every example."""
        for row in self._rows:
            texts = dict.fromkeys(self._messages(row["say"]))
            name = HARMLESS if row.get("not") == DANGER else row.get("intent") or NONE
            yield from (Example(text, name) for text in texts)

    def _messages(self, pattern: str) -> Iterator[str]:
        pools = self._pools(_PART.sub(_grouped, pattern))
        total = 1
        for pool in pools:
            total *= len(pool)
        wanted = min(total, max(self._fewest, self._each * max(map(len, pools))))
        for parts in zip(*(self._cycle(pool, wanted) for pool in pools), strict=True):
            yield _REFERENCE.sub(self._any, _REFERENCE.sub(self._any, "".join(parts)))

    def _pools(self, pattern: str) -> list[list[str]]:
        pieces = _GROUP.split(pattern)
        pools = [[pieces[0]]]
        for choices, missing, after in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            pool = [part for choice in choices.split("|") for part in self._parts(choice)]
            pools += [pool + [""] * (len(pool) // 2 + 1) if missing else pool, [after]]
        return pools

    def _parts(self, choice: str) -> list[str]:
        block = _REFERENCE.fullmatch(choice)
        return self._blocks[block[1]] if block else [choice]

    def _cycle(self, pool: Sequence[str], wanted: int) -> list[str]:
        found: list[str] = []
        while len(found) < wanted:
            found += self._order.sample(pool, len(pool))
        return found[:wanted]

    def _any(self, found: re.Match[str]) -> str:
        return self._order.choice(self._blocks[found[1]])


def _grouped(found: re.Match[str]) -> str:
    """A part of a pattern, as a group."""
    return found[0] if found[0].startswith("(") else f"({found[0]})"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of JSON Lines; none if there is no such file."""
    return [value for _, value in json_lines(path)] if path.exists() else []


def _known(folder: Path, intents: Container[str]) -> list[dict[str, Any]]:
    """The lines of a deck's examples. Raises DeckError for an intent that the deck does not have."""
    path = folder / EXAMPLES_FILE
    for number, row in json_lines(path) if path.exists() else ():
        name = row.get("intent")
        if name is not None and name not in intents:
            raise DeckError(str(path), f"line {number}", f"there is no intent {name!r}")
    return read_rows(path)


def examples(folder: Path) -> list[Example]:
    """All examples of a deck, in the order of its files."""
    intents = load_intents(folder)
    careful = {intent.id for intent in intents.all if intent.careful}
    rules = IntentReader(intents, LONGEST, None)
    rows = _known(folder, {DANGER, HARMLESS, NONE, *(intent.id for intent in intents.all)})
    found = list(Patterns(rows).examples())
    for intent, said in Reader(folder, SAID_FILE).value.items():
        name = DANGER if intent in careful else intent
        found += [Example(text, name, True) for text in said["said"]]
        for text in said["not_said"]:
            # What does not mean one intent may mean another.
            hit = main_hit(rules.hits(text))
            other = NONE if hit is None else DANGER if hit.intent.careful else hit.intent.id
            found.append(Example(text, other, True))
    for row in read_rows(folder / DANGER_FILE):
        found.append(Example(row["text"], DANGER if row["grave"] else HARMLESS, True))
    # Of everyday messages these are the most that the deck has.
    for path in sorted((folder / INTENTS_FOLDER).glob("*.json")):
        for intent in Reader(path.parent, path.name).value["intents"]:
            found += [Example(text, HARMLESS) for text in intent["said"]]
    return found


def dangers(folder: Path, more: Path | None = None) -> list[Example]:
    """The examples of a deck and of a file as `danger.jsonl`: danger, and all else."""
    names = {DANGER: DANGER, HARMLESS: HARMLESS}
    found = [row._replace(name=names.get(row.name, NONE)) for row in examples(folder)]
    found += [Example(row.text, HARMLESS, row.written) for row in tones(folder)]
    rows = read_rows(more) if more else []
    return found + [Example(r["text"], DANGER if r["grave"] else HARMLESS, True) for r in rows]


def narrow(folder: Path) -> list[Example]:
    """The examples of the intents by example, and of what they must be told from: all other intents.

    Empty if the deck has no intents by example.
    """
    deck = Reader(folder, DECK_FILE).value
    by_example = load_by_example(folder, [time["id"] for time in deck.get("times", ())])
    if not by_example:
        return []
    careful = {intent.id for intent in load_intents(folder).all if intent.careful}
    found = []
    for intent in by_example.values():
        found += [Example(text, intent.id, True) for text in intent.said]
        found += [Example(text, NONE, True) for text in intent.not_said]
    for path in sorted((folder / INTENTS_FOLDER).glob("*.json")):
        found += Patterns(_narrow_rows(path), _FEW_NARROW).examples()
    for name, said in Reader(folder, SAID_FILE).value.items():
        own = NONE if name in careful else name
        found += [Example(text, own, True) for text in said["said"]]
    grave = (row["text"] for row in read_rows(folder / DANGER_FILE) if row["grave"])
    return found + [Example(text, NONE, True) for text in grave]


def tones(folder: Path) -> list[Example]:
    """The examples of the tones; empty if the deck has none."""
    path = folder / TONE_EXAMPLES_FILE
    if not path.exists():
        return []
    times = [time["id"] for time in Reader(folder, DECK_FILE).value.get("times", ())]
    by_example = load_by_example(folder, times)
    found = []
    for row in read_rows(path):
        tone = row["tone"] or NONE
        if "say" in row:
            found.append(Example(row["say"], tone, True))
        for intent in row.get("intents", ()):
            found += [Example(text, tone) for text in by_example[intent].said]
    return found


def _narrow_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The patterns of a file of intents by example, as lines of `examples.jsonl`."""
    content = Reader(path.parent, path.name).value
    for name, say in content.get("blocks", {}).items():
        yield {"block": name, "say": say}
    for intent in content["intents"]:
        for say in intent.get("patterns", ()):
            yield {"intent": intent["id"], "say": say}


def checksum(folder: Path) -> str:
    """Identifies the examples of a deck."""
    by_example = sorted((folder / INTENTS_FOLDER).glob("*.json"))
    names = (EXAMPLES_FILE, SAID_FILE, DANGER_FILE, TONE_EXAMPLES_FILE)
    files = [folder / name for name in names if (folder / name).exists()] + by_example
    return xxhash.xxh3_64_hexdigest(b"\n".join(path.read_bytes() for path in files))


class Regressions(NamedTuple):
    """A learned model, before it is packed."""

    classes: list[str]
    bias: list[float]
    weights: list[dict[int, float]]


def trained(rows: Sequence[Example], learning: Learning) -> Regressions:
    """Logistic regressions, one for each class against all others.

    Of many messages of other classes a sample is learned from, and the odds are corrected for that
    (King and Zeng, Logistic Regression in Rare Events Data, 2001).
    """
    numpy: Any = import_module("numpy")
    sklearn: Any = import_module("sklearn.linear_model")

    counted = [row for row in rows for _ in range(_WEIGHT if row.written else 1)]
    matrix = _matrix(counted, learning.runs)
    names = numpy.array([row.name for row in counted])
    classes = sorted(set(names) - {HARMLESS})
    chosen = numpy.random.default_rng(1)
    bias, weights = [], []
    for name in classes:
        own = numpy.flatnonzero(names == name)
        usual = names != name if name == DANGER else (names != name) & (names != HARMLESS)
        others = numpy.flatnonzero(usual)
        share = min(1.0, learning.others / len(others))
        if share < 1:
            others = chosen.choice(others, learning.others, replace=False)
        taken = numpy.sort(numpy.concatenate([own, others]))
        one = sklearn.SGDClassifier(
            loss="log_loss",
            penalty="elasticnet",
            l1_ratio=_L1,
            alpha=learning.alpha,
            max_iter=_ROUNDS,
            tol=None,
            random_state=1,
        )
        one.fit(matrix[taken], names[taken] == name)
        bias.append(float(one.intercept_[0]) + math.log(share))
        kept = numpy.flatnonzero(abs(one.coef_[0]) > learning.least)
        weights.append(dict(zip(kept.tolist(), one.coef_[0][kept].tolist(), strict=True)))
    return Regressions(classes, bias, weights)


def _matrix(rows: Sequence[Example], runs: Runs) -> Any:
    """The sparse matrix of the runs of characters in messages: a row of length 1 for each."""
    scipy: Any = import_module("scipy.sparse")
    values, columns, ends = [], [], [0]
    for row in rows:
        found = sorted(runs.buckets(normalise(row.text)))
        values += [len(found) ** -0.5] * len(found)
        columns += found
        ends.append(len(columns))
    return scipy.csr_matrix((values, columns, ends), shape=(len(rows), BUCKETS))


def folds(rows: Sequence[Example], number: int, learning: Learning) -> Iterator[str]:
    """Lines of a table: for several limits and the one that holds, how messages are read that were not
    learned from.
    """
    order = random.Random(2)
    written = [row for row in rows if row.written]
    order.shuffle(written)
    counts: dict[float, Counter[str]] = {}
    tried = sorted({*_TRIED, learning.limits["sure"]})
    for part in range(number):
        asked = written[part::number]
        left = {row.text for row in asked}
        model = trained([row for row in rows if row.text not in left], learning)
        for sure in tried:
            of = counts.setdefault(sure, Counter())
            classifier = unpacked(
                packed(*model, {**learning.limits, "sure": sure}, learning.runs, "")
            )
            for row in asked:
                of[_outcome(row.name, classifier.guess(normalise(row.text)) or NONE)] += 1
    for sure, of in counts.items():
        yield f"sure {sure:4}: " + ", ".join(f"{name} {of[name]:,}" for name in _OUTCOMES)


def _outcome(wanted: str, found: str) -> str:
    if NONE in (wanted, found):
        return "left" if wanted == found else "false" if wanted == NONE else "passed"
    return "right" if wanted == found else "wrong"


class _Wrong(click.ClickException):
    """What a person can correct, in one line."""

    exit_code = 2


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--folds", "parts", type=whole(2, 20), help="Count on parts left out; write nothing.")
@click.option(
    "--danger",
    "alone",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write only a classifier of danger, there.",
)
@click.option(
    "--also",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="For --danger: a file of further messages, as danger.jsonl.",
)
def main(folder: Path, parts: int | None, alone: Path | None, also: Path | None) -> None:
    """Write the deck's classifiers: of intents; of intents by example and of tones if it has any."""
    if also and not alone:
        raise _Wrong("--also goes with --danger")
    try:
        if alone:
            _write(alone, dangers(folder, also), DANGER_ALONE, "")
        else:
            _learn(folder, parts)
    except OperatorError as error:
        raise _Wrong(str(error)) from None


def _learn(folder: Path, parts: int | None) -> None:
    # Without examples of its own, a deck's expressions read its intents, and danger.
    known = (folder / EXAMPLES_FILE).exists()
    sets = (examples(folder) if known else [], narrow(folder), tones(folder))
    if not any(sets):
        fault = f"has neither {EXAMPLES_FILE} nor a folder {INTENTS_FOLDER}"
        raise DeckError(str(folder), "", fault)
    for name, rows in zip(LEARNING, sets, strict=True):
        learning = LEARNING[name]
        if parts and rows:
            click.echo(name)
            for line in folds(rows, parts, learning):
                click.echo(line)
        elif rows:
            _write(folder / name, rows, learning, checksum(folder))


def _write(path: Path, rows: Sequence[Example], learning: Learning, learned_from: str) -> None:
    content = packed(*trained(rows, learning), learning.limits, learning.runs, learned_from)
    text = json.dumps(content, ensure_ascii=False)
    path.write_text(text + "\n")
    classes, size = len(content["classes"]), len(text) / 1000
    click.echo(f"{path.name}: {len(rows):,} examples, {classes} classes, {size:.0f} KB")


if __name__ == "__main__":
    main()
