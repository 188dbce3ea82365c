"""Storing what the cloud answered in chats at the event: `build --strategy misses` for a chat deck.

Candidates come from the ledger. They must pass the gate and, with --review, be accepted by a
person.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from app.errors import PlanError
from app.kinds.chat.deck import PatternDeck
from app.kinds.chat.gate import TEXT, ChatGate
from app.ledger.misses import read_ledger
from app.store.decision import REJECTED, Decision
from app.store.entry import Entry
from app.store.in_force import rejected_texts
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


# What a reviewer says of an answer that shall not be stored: no text has a line break.
REJECT = "\n"
# Returns the text to store, perhaps in another wording, REJECT, or None to end the review.
Reviewer = Callable[[Candidate], str | None]


def rejections(log: Path) -> set[tuple[str, str]]:
    """Key and text of the answers that a person rejected, here or while reviewing the store."""
    found = rejected_texts(log).items()
    return {(key, entry.response[TEXT]) for (key, _), entries in found for entry in entries}


def learn(
    deck: PatternDeck,
    candidates: Iterable[Candidate],
    log: LogWriter,
    index: IndexWriter,
    now: Callable[[], str],
    review: Reviewer | None = None,
) -> LearnReport:
    """Store the candidates that pass the gate and, if there is one, the reviewer."""
    gate = ChatGate(deck)
    report = LearnReport()
    index.catch_up()
    rejected = rejections(log.path)
    for candidate in candidates:
        report.wanted += 1
        if index.has(candidate.query.key):
            report.already += 1
            continue
        if (candidate.query.key, candidate.text) in rejected:
            report.rejected += 1
            continue
        verdict = _verdict(gate, candidate, review, report)
        if verdict is None:
            break
        if verdict is REJECT:
            report.rejected += 1
            decision = Decision(REJECTED, now())
            log.append([replace(_learned(candidate, candidate.text, now()), decision=decision)])
        elif verdict:
            log.append([_learned(candidate, verdict, now())])
            report.taken += 1
    index.catch_up()
    return report


def _verdict(
    gate: ChatGate, candidate: Candidate, review: Reviewer | None, report: LearnReport
) -> str | None:
    """The text to store, empty to store nothing, REJECT, or None to end the review."""
    if not _passes(gate, candidate, candidate.text, report):
        return ""
    verdict = review(candidate) if review else candidate.text
    if verdict in (None, REJECT, candidate.text):
        return verdict
    return verdict if _passes(gate, candidate, str(verdict), report) else ""


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
        IndexWriter.at(settings.store_options, deck) as index,
    ):
        reviewer = _reviewer(deck) if options.review else None
        report = learn(deck, candidates, log, index, context.clock.stamp, reviewer)
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


def _reviewer(deck: PatternDeck) -> Reviewer:
    def ask(candidate: Candidate) -> str | None:
        character = dict(candidate.query.picks)["character"]
        click.echo(f"\n{deck.character_by_id[character].name}, asked {candidate.times} ×")
        click.echo(f"  {candidate.asked}\n  → {candidate.text}   ({candidate.model})")
        verdict = click.prompt(
            "keep it? yes, no, edit, quit", type=click.Choice(["y", "n", "e", "q"]), default="n"
        )
        if verdict == "e":
            return str(click.prompt("her words"))
        return {"q": None, "n": REJECT}.get(verdict, candidate.text)

    return ask
