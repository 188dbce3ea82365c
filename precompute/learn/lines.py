"""Storing what the cloud answered in chats at the event: `build --strategy misses` for a chat deck.

Candidates come from the ledger. They must pass the gate and, with --review, be accepted by a
person.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import xxhash

from app.errors import PlanError
from app.kinds.chat.deck import PatternDeck
from app.kinds.chat.gate import TEXT, ChatGate
from app.ledger.misses import read_ledger
from app.store.entry import Entry
from app.store.index import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.report import counts, table


@dataclass
class LearnReport:
    """The numbers of candidates. `rejected` were rejected by a person, now or before."""

    wanted: int = 0
    already: int = 0
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer of the cloud; `asked` is the message, `times` how often it was sent."""

    query: Query
    asked: str
    text: str
    source: str
    model: str
    usd: float
    times: int = 1

    @property
    def name(self) -> str:
        """A hash that identifies this answer to this message."""
        return xxhash.xxh3_128_hexdigest(f"{self.query.key} {self.text}".encode())


def read_candidates(deck: PatternDeck, lines: Iterable[Mapping[str, Any]]) -> list[Candidate]:
    """The newest answer to each message, the most frequent messages first."""
    newest: dict[str, Candidate] = {}
    times: Counter[str] = Counter()
    for line in lines:
        candidate = _candidate(deck, line)
        if candidate:
            times[candidate.query.key] += 1
            newest[candidate.query.key] = candidate
    return [
        Candidate(c.query, c.asked, c.text, c.source, c.model, c.usd, times[key])
        for key, c in sorted(newest.items(), key=lambda item: -times[item[0]])
    ]


def _candidate(deck: PatternDeck, line: Mapping[str, Any]) -> Candidate | None:
    """Parse a line of the ledger with the present deck; None if it has no candidate."""
    try:
        answer = line["candidate"]
        character = deck.character_by_id[line["pattern"]["character"]]
        asked, text = str(answer["asked"]), str(answer["text"])
        return Candidate(
            deck.message_query(character, asked),
            asked,
            text,
            str(answer["source"]),
            str(answer["model"]),
            float(answer["cost_usd"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


# Returns yes, no, another wording, or None to end the review.
Reviewer = Callable[[Candidate], str | bool | None]


class Rejections:
    """The names of rejected candidates, in a file, so that a person is not asked again."""

    def __init__(self, folder: Path, deck: str) -> None:
        self._path = folder / f"{deck}.rejected"
        self._names = (
            set(self._path.read_text("ascii", "replace").split()) if self._path.exists() else set()
        )

    def __contains__(self, candidate: object) -> bool:
        return isinstance(candidate, Candidate) and candidate.name in self._names

    def add(self, candidate: Candidate) -> None:
        self._names.add(candidate.name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="ascii") as file:
            file.write(candidate.name + "\n")


def learn(
    deck: PatternDeck,
    candidates: Iterable[Candidate],
    log: LogWriter,
    index: IndexWriter,
    now: Callable[[], str],
    rejections: Rejections,
    review: Reviewer | None = None,
) -> LearnReport:
    """Store the candidates that pass the gate and, if there is one, the reviewer."""
    gate = ChatGate(deck)
    report = LearnReport()
    index.catch_up()
    for candidate in candidates:
        report.wanted += 1
        if index.has(candidate.query.key):
            report.already += 1
            continue
        text = _accepted(gate, candidate, rejections, review, report)
        if text is None:
            break
        if text:
            log.append([_learned(candidate, text, now())])
            report.taken += 1
    index.catch_up()
    return report


def _accepted(
    gate: ChatGate,
    candidate: Candidate,
    rejections: Rejections,
    review: Reviewer | None,
    report: LearnReport,
) -> str | None:
    """The text to store, empty to store nothing, None to end the review."""
    if candidate in rejections:
        report.rejected += 1
        return ""
    text = candidate.text
    if not _passes(gate, candidate, text, report):
        return ""
    verdict = review(candidate) if review else True
    if verdict is None:
        return None
    if verdict is False:
        rejections.add(candidate)
        report.rejected += 1
        return ""
    if isinstance(verdict, str):
        return verdict if _passes(gate, candidate, verdict, report) else ""
    return text


def _passes(gate: ChatGate, candidate: Candidate, text: str, report: LearnReport) -> bool:
    refusal = gate.examine(candidate.query, {TEXT: text})
    if refusal:
        report.refused[refusal.check] += 1
    return refusal is None


def _learned(candidate: Candidate, text: str, now: str) -> Entry:
    return Entry(
        key=candidate.query.key,
        variant=0,
        query=candidate.query,
        response={TEXT: text, "asked": candidate.asked},
        source=candidate.source,
        model=candidate.model,
        fingerprint="learned",
        created=now,
        cost_usd=candidate.usd,
    )


def build_learned(options: BuildOptions, context: BuildContext, deck: PatternDeck) -> int:
    """Store learned answers and print a report. Raises PlanError if --review has no terminal."""
    settings, err = context.settings, context.err
    if options.review and not (err.is_terminal and sys.stdin.isatty()):
        raise PlanError("--review asks a person: run it on a terminal")
    candidates = read_candidates(deck, read_ledger(settings.ledger, deck.id))[: options.wanted]
    if not candidates:
        err.print(
            "no candidates in the ledger: they are kept where TSUKURIOKI_CHAT_LEARN=on and "
            "TSUKURIOKI_CHAT_TIERS has cloud",
            highlight=False,
        )
    if options.dry_run:
        rows = [("candidates", f"{len(candidates):,}")]
        table(context.out, "plan (nothing was taken in)", rows)
        return 0
    started = context.clock.now()
    with (
        LogWriter(settings.store, deck.id) as log,
        IndexWriter(settings.store, deck, settings.sources, settings.radius) as index,
    ):
        rejections = Rejections(settings.ledger, deck.id)
        reviewer = _reviewer(deck) if options.review else None
        report = learn(deck, candidates, log, index, context.clock.stamp, rejections, reviewer)
    table(
        context.out,
        f"deck {deck.id}",
        [
            ("taken in", f"{report.taken:,}"),
            ("already there", f"{report.already:,}"),
            ("refused by the gate", f"{report.refused.total():,} ({counts(report.refused)})"),
            ("rejected by a person", f"{report.rejected:,}"),
            ("not taken in", f"{report.wanted - report.already - report.taken:,}"),
            ("time", f"{context.clock.now() - started:.1f} s"),
        ],
    )
    return 0


def _reviewer(deck: PatternDeck) -> Callable[[Candidate], str | bool | None]:
    def ask(candidate: Candidate) -> str | bool | None:
        character = dict(candidate.query.picks)["character"]
        click.echo(f"\n{deck.character_by_id[character].name}, asked {candidate.times} ×")
        click.echo(f"  {candidate.asked}\n  → {candidate.text}   ({candidate.model})")
        verdict = click.prompt(
            "keep it? yes, no, edit, quit", type=click.Choice(["y", "n", "e", "q"]), default="n"
        )
        if verdict == "e":
            return str(click.prompt("her words"))
        return None if verdict == "q" else verdict == "y"

    return ask
