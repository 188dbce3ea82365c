"""`precompute build --pieces`: cooks the pieces for composing that a deck lacks, by a model."""

from __future__ import annotations

from dataclasses import replace

from app.errors import PlanError, UnfinishedError
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import IDEAS_FILE
from app.kinds.tasks import Task
from app.providers import Model, NamedModel
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter
from precompute.cook import dry_run
from precompute.cook.choose import ProviderChoice, choose, group, make_model, pace_of
from precompute.cook.cost import NOTHING
from precompute.cook.meter import Meter
from precompute.cook.options import BuildContext, BuildOptions, limiter_of, price_of
from precompute.cook.progress import Show
from precompute.cook.report import Report, counts, table
from precompute.cook.runner import Budget, Runner
from precompute.pieces.intake import PieceIntake
from precompute.pieces.store import PieceStore, take
from precompute.pieces.writer import CARDS_PER_REQUEST, PieceWriter, card_jobs, card_of


def cook_pieces(options: BuildOptions, context: BuildContext, deck: Deck) -> int:
    """Cook the pieces that a deck lacks, and with --take write them to its file.

    Returns the exit status. Raises OperatorError.
    """
    settings = context.settings
    choice = choose(settings, options.provider, options.model, "whole")
    if choice.local:
        raise PlanError("--pieces needs a provider that writes, for example --provider gemini")
    if not deck.pieces.ideas:
        raise PlanError(f"--pieces needs ideas: deck {deck.id!r} has no {IDEAS_FILE}")
    if options.dry_run:
        return _print_plan(options, context, deck, choice)
    model = make_model(choice, settings)
    choice = replace(choice, model=model.model)
    try:
        with LogWriter(settings.store, deck.id) as log:
            kept = PieceStore(settings.store, deck)
            status = _cook(options, context, choice, model, kept, log)
            if options.take:
                context.say(f"written: {take(kept)}")
    finally:
        model.close()
    return status


def _cook(
    options: BuildOptions,
    context: BuildContext,
    choice: ProviderChoice,
    model: Model,
    kept: PieceStore,
    log: LogWriter,
) -> int:
    settings = context.settings
    price = price_of(options, context, choice)
    report = Report()
    meter = Meter(model, report, limiter_of(options, context, choice))
    writer = PieceWriter(kept.deck, meter)
    source = (writer.name, writer.fingerprint)
    intake = PieceIntake(kept, log, source, context.clock.stamp, price, report)
    pace = pace_of(choice, settings, None, options.concurrency)
    pace = replace(pace, per_request=CARDS_PER_REQUEST, extra=options.extra_requests)
    budget = Budget(price, writer.estimate, options.budget_usd)
    unfinished: UnfinishedError | None = None
    jobs = card_jobs(kept.deck)
    with Show(len(jobs), context.err) as progress:
        runner = Runner(
            writer, intake, kept, context.clock, pace, meter, budget, settings.sources,
            context.rng, progress, keep_awake=True,
        )  # fmt: skip
        try:
            runner.run(jobs)
        except UnfinishedError as error:
            unfinished = error
    radius = options.radius_in(settings)
    with IndexWriter(settings.store, kept.deck, settings.sources, radius) as index:
        index.catch_up()
    _print_report(context, intake, kept, price is not None)
    if unfinished is not None:
        raise unfinished
    return 2 if intake.report.unmet else 0


def _print_report(
    context: BuildContext, intake: PieceIntake, kept: PieceStore, priced: bool
) -> None:
    report = intake.report
    tried = report.first_drafts
    rows = [
        ("pieces kept", f"{len(kept.texts):,}"),
        ("requests", f"{report.requests:,}"),
        ("refused by the gate", f"{report.refused.total():,} ({counts(report.refused)})"),
        ("passed at the first try", f"{report.first_try:,} of {tried:,}"),
        ("faults on the way", f"{report.faults.total():,} ({counts(report.faults)})"),
        ("cards not done", f"{len(report.unmet):,}"),
        ("spent", f"{report.cost_usd:.4f} USD" if priced else "not known"),
    ]
    table(context.out, f"pieces of deck {kept.deck.id}, in {kept.path}", rows)
    for task, why in report.unmet[:20]:
        reason = why.replace("\n", "; ")
        context.note(f"not done: {card_of(task)}: {reason}")


def _print_plan(
    options: BuildOptions, context: BuildContext, deck: Deck, choice: ProviderChoice
) -> int:
    writer = PieceWriter(deck, NamedModel(choice.name, choice.model))
    kept = PieceStore(context.settings.store, deck)
    tasks = [Task(j.query) for j in card_jobs(deck) if kept.source_of(j.query.key) is None]
    estimate = sum(map(writer.estimate, group(tasks, CARDS_PER_REQUEST)), start=NOTHING)
    rows = [("provider", f"{choice.name} {choice.model}".strip())]
    table(
        context.out,
        "plan of pieces (nothing was cooked)",
        [*rows, *dry_run.estimate_rows(options, context, choice, estimate)],
    )
    return 0
