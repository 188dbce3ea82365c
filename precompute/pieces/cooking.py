"""`precompute build --pieces`: sentences and frames for composing, cooked by a model."""

from __future__ import annotations

from dataclasses import replace

from app.errors import PlanError, UnfinishedError
from app.kinds.cards.deck import Deck
from app.kinds.tasks import Task
from app.providers import Model
from app.store.log import LogWriter
from precompute.cook import dry_run
from precompute.cook.choose import Choice, Planned, choose, group, make_model, pace_of
from precompute.cook.cost import NOTHING
from precompute.cook.meter import Meter
from precompute.cook.options import BuildContext, BuildOptions, limiter_of, price_of
from precompute.cook.progress import show
from precompute.cook.report import Report, counts, table
from precompute.cook.runner import Budget, Runner
from precompute.pieces import sentences as pieces
from precompute.plan.strategies import Job


def cook_pieces(options: BuildOptions, context: BuildContext, deck: Deck) -> int:
    """Cook what a deck lacks of pieces, and put them in place if that was asked for."""
    settings = context.settings
    choice = choose(settings, options.provider, options.model, "whole")
    if choice.local:
        raise PlanError("--pieces needs a provider that writes, for example --provider gemini")
    if options.batch:
        raise PlanError("--pieces takes a few requests only; leave --batch away")
    if options.dry_run:
        return _tell_plan(options, context, deck, choice)
    model = make_model(choice, settings)
    choice = replace(choice, model=model.model)
    try:
        with LogWriter(settings.store, deck.id):
            kept = pieces.PieceStore(settings.store, deck, pieces.themes_of(deck))
            status = _cook(options, context, choice, model, kept)
            if options.take:
                for path in pieces.take(kept):
                    context.out.print(f"written: {path}", highlight=False, markup=False)
    finally:
        model.close()
    return status


def _steps(kept: pieces.PieceStore) -> tuple[tuple[list[Job], int], ...]:
    """Jobs and how many there are in a request: frames, then sentences."""
    phrases = max(len(card.phrases) for card in kept.deck.cards)
    return (
        (pieces.theme_jobs(kept.deck, kept.themes), pieces.THEMES_PER_REQUEST),
        (pieces.phrase_jobs(kept.deck), pieces.CARDS_PER_REQUEST * phrases),
    )


def _cook(
    options: BuildOptions,
    context: BuildContext,
    choice: Choice,
    model: Model,
    kept: pieces.PieceStore,
) -> int:
    settings = context.settings
    price = price_of(options, context, choice)
    report = Report()
    meter = Meter(model, report, limiter_of(options, context, choice))
    writer = pieces.PieceWriter(kept.deck, meter)
    intake = pieces.PieceIntake(
        kept, (writer.name, writer.fingerprint), context.clock.stamp, price, report
    )
    pace = pace_of(choice, settings, None, options.concurrency)
    unfinished: UnfinishedError | None = None
    with show(context.err, sum(len(jobs) for jobs, _ in _steps(kept))) as progress:
        for jobs, per_request in _steps(kept):
            runner = Runner(
                writer,
                intake,
                kept,
                context.clock,
                replace(pace, per_request=per_request),
                meter,
                Budget(price, writer.estimate, options.budget_usd),
                settings.sources,
                context.rng,
                progress,
                keep_awake=True,
            )
            try:
                runner.run(jobs)
            except UnfinishedError as error:
                unfinished = error
                break
    _tell(context, intake, kept, price is not None)
    if unfinished is not None:
        raise unfinished
    return 2 if intake.report.unmet else 0


def _tell(
    context: BuildContext, intake: pieces.PieceIntake, kept: pieces.PieceStore, priced: bool
) -> None:
    report = intake.report
    tried = report.first_drafts
    rows = [
        ("pieces kept", f"{len(kept.texts):,}"),
        ("requests", f"{report.requests:,}"),
        ("refused by the gate", f"{report.refused.total():,} ({counts(report.refused)})"),
        ("passed at the first try", f"{report.first_try:,} of {tried:,}"),
        ("faults on the way", f"{report.faults.total():,} ({counts(report.faults)})"),
        ("phrases and themes not done", f"{len(report.unmet):,}"),
        ("spent", f"{report.cost_usd:.4f} USD" if priced else "not known"),
    ]
    table(context.out, f"pieces of deck {kept.deck.id}, in {kept.path}", rows)
    for task, why in report.unmet[:20]:
        told = why.replace("\n", "; ")
        said = f"not done: {task.query.picks[0][1]}: {told}"
        context.err.print(said, highlight=False, markup=False)


def _tell_plan(options: BuildOptions, context: BuildContext, deck: Deck, choice: Choice) -> int:
    writer = pieces.PieceWriter(deck, Planned(choice))
    kept = pieces.PieceStore(context.settings.store, deck, pieces.themes_of(deck))
    estimate = NOTHING
    for jobs, per_request in _steps(kept):
        tasks = [Task(j.query) for j in jobs if kept.source_of(j.query.key) is None]
        estimate = sum(map(writer.estimate, group(tasks, per_request)), start=estimate)
    rows = [("provider", f"{choice.name} {choice.model}".strip())]
    table(
        context.out,
        "plan of pieces (nothing was cooked)",
        [*rows, *dry_run.told_estimate(options, context, choice, estimate)],
    )
    return 0
