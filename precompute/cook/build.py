"""`precompute build`: from what was asked for to entries in the store, and what is told of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from app.errors import PlanError, UnfinishedError
from app.kinds.cards.figures import coverage, store
from app.kinds.cards.written import WrittenProvider
from app.kinds.tasks import Task
from app.ledger.misses import read_ledger
from app.providers import Model
from app.providers.prices import Price, load_prices
from app.settings import Settings
from app.store.index import IndexWriter
from app.store.log import LogWriter
from precompute.cook import cache, dry_run
from precompute.cook.batch import BatchCook, BatchPace, waiting_job
from precompute.cook.choose import (
    Choice,
    Cook,
    choose,
    make_cook,
    make_model,
    pace_of,
)
from precompute.cook.intake import Intake, Report
from precompute.cook.meter import Meter
from precompute.cook.near_copy import NearCopies
from precompute.cook.options import BuildContext, BuildOptions, limiter_of, price_of
from precompute.cook.progress import Show, show
from precompute.cook.refresh import plan_refresh
from precompute.cook.report import counts, one_in, table
from precompute.cook.runner import Budget, Runner
from precompute.learn.written import written_entries
from precompute.pieces.cooking import cook_pieces
from precompute.plan.strategies import Job, plan_misses, plan_sampled, plan_stock


def build(options: BuildOptions, context: BuildContext) -> int:
    """Cook. Raises OperatorError; what was cooked by then is kept, and told."""
    settings = context.settings
    if options.wanted is None and not (options.refresh or options.pieces):
        raise PlanError("say how many entries the store shall have, for example --n 1000")
    if options.pieces:
        return cook_pieces(options, context)
    choice = choose(settings, options.provider, options.model, options.prompt)
    if choice.why:
        context.err.print(f"provider: {choice.name} ({choice.why})", highlight=False)
    jobs = list(_jobs(options, context, choice))
    if options.dry_run:
        return dry_run.tell(options, context, choice, jobs)
    model = None if choice.local else make_model(choice, settings)
    if model is not None and not choice.model:
        choice = Choice(choice.name, model.model, choice.why, choice.prompt)
    try:
        return _cook(options, context, choice, model, jobs)
    finally:
        if model is not None:
            model.close()


def _jobs(options: BuildOptions, context: BuildContext, choice: Choice) -> Iterator[Job]:
    plan = _plan(options, context, choice)
    return itertools.islice(plan, options.wanted) if options.wanted else plan


def _plan(options: BuildOptions, context: BuildContext, choice: Choice) -> Iterator[Job]:
    settings, deck = context.settings, context.deck
    if options.refresh:
        return plan_refresh(options.refresh, settings, deck, choice, context.err)
    if choice.name == "written":
        queries = WrittenProvider(deck).queries
        return (Job(query, 0, "written") for query in queries)
    if options.strategy == "stock":
        return plan_stock(deck, options.seed, radius_of(options, settings))
    if options.strategy == "sampled":
        return plan_sampled(deck, options.seed)
    return plan_misses(deck, read_ledger(settings.ledger, deck.id))


def radius_of(options: BuildOptions, settings: Settings) -> int:
    """The radius that was asked for."""
    return settings.radius if options.radius is None else options.radius


def _cook(
    options: BuildOptions,
    context: BuildContext,
    choice: Choice,
    model: Model | None,
    jobs: Sequence[Job],
) -> int:
    settings, deck = context.settings, context.deck
    price = price_of(options, context, choice)
    report = Report()
    meter = Meter(model, report, limiter_of(options, context, choice)) if model else None
    cook = make_cook(choice, deck, meter)
    started = context.clock.now()
    unfinished: UnfinishedError | None = None
    with (
        LogWriter(settings.store, deck.id) as log,
        IndexWriter(settings.store, deck, settings.sources, radius_of(options, settings)) as index,
        NearCopies(settings.store, deck.id) as copies,
        show(context.err, len(jobs)) as progress,
    ):
        if log.repaired:
            progress.note(f"a torn tail of {log.repaired} bytes was set aside in {deck.id}.torn")
        for note in index.notes:
            progress.note(note)
        if options.strategy == "misses":
            _take_in(context, log, index, progress)
        source = (cook.provider.name, cook.provider.fingerprint)
        intake = Intake(deck, source, log, index, copies, context.clock.stamp, price, report)
        runner = _runner(options, context, choice, cook, meter, price, intake, index, progress)
        if not options.batch and (waiting := waiting_job(settings.store, deck.id)):
            progress.note(
                f"{waiting}; this build asks directly, build --batch takes its answers in"
            )
        again: Sequence[Task] = ()
        try:
            if options.batch:
                batch = _batch_cook(options, context, choice, cook, model, intake, index, progress)
                jobs, again = batch.run(jobs)
                intake.price = price
            with cache.kept(cook, model, load_prices(settings.prices), price, jobs, progress.note):
                runner.run(jobs, again)
        except UnfinishedError as error:
            unfinished = error
        meta = index.meta()
    seconds = context.clock.now() - started
    missing = max(len(report.unmet), len(jobs) - report.already - report.cooked)
    tell(context, report, price, missing, store(meta), coverage(deck, meta), seconds)
    if unfinished is not None:
        raise unfinished
    return 2 if missing else 0


def _take_in(context: BuildContext, log: LogWriter, index: IndexWriter, progress: Show) -> None:
    """Store what a model wrote at the event, before anything is asked for."""
    index.catch_up()
    lines = read_ledger(context.settings.ledger, context.deck.id)
    found = [
        entry
        for entry in written_entries(context.deck, lines)
        if not index.has(entry.key, entry.variant)
    ]
    if found:
        log.append(found)
        index.catch_up()
        progress.note(f"{len(found):,} answers that a model wrote at the event were taken in")


def _runner(
    options: BuildOptions,
    context: BuildContext,
    choice: Choice,
    cook: Cook,
    meter: Meter | None,
    price: Price | None,
    intake: Intake,
    index: IndexWriter,
    progress: Show,
) -> Runner:
    settings = context.settings
    return Runner(
        cook.provider,
        intake,
        index,
        context.clock,
        pace_of(choice, settings, options.per_request, options.concurrency),
        meter,
        Budget(price, cook.estimate, options.budget_usd),
        settings.sources,
        context.rng,
        progress,
    )


def _batch_cook(
    options: BuildOptions,
    context: BuildContext,
    choice: Choice,
    cook: Cook,
    model: Model | None,
    intake: Intake,
    index: IndexWriter,
    progress: Show,
) -> BatchCook:
    """The way of cooking by batch job, at its own price."""
    from app.providers.gemini import Gemini

    if cook.writer is None or not isinstance(model, Gemini):
        raise PlanError("--batch is there for --provider gemini with whole poems only")
    from app.providers.gemini_batch import GeminiBatch

    settings = context.settings
    intake.price = price_of(options, context, choice, batch=True)
    pace = BatchPace(
        per_request=pace_of(choice, settings, options.per_request, 1).per_request,
        give_up_seconds=options.give_up_hours * 3600,
        poll_seconds=settings.batch_poll,
    )
    return BatchCook(
        settings.store,
        context.deck.id,
        GeminiBatch(model),
        cook.writer,
        intake,
        index,
        context.clock,
        pace,
        Budget(intake.price, cook.estimate, options.budget_usd),
        settings.sources,
        progress,
    )


def tell(
    context: BuildContext,
    report: Report,
    price: Price | None,
    missing: int,
    stored: dict[str, Any],
    covers: dict[str, Any],
    seconds: float,
) -> None:
    """The table at the end."""
    rows = [
        ("cooked", f"{report.cooked:,}"),
        ("already there", f"{report.already:,}"),
        ("refused by the gate", f"{report.refused.total():,} ({counts(report.refused)})"),
        *_quality(report),
        *_faults(report),
        ("not cooked", f"{missing:,}"),
        *_bill(report, price),
        ("by source", counts(stored["by_source"])),
        ("exact plays", one_in(covers["exact"])),
        (
            "stocked hands",
            f"{one_in(covers['stocked_hands'])}, within {covers['radius']} phrase(s)",
        ),
        ("plays of stocked hands", one_in(covers["stocked_plays"])),
        ("plays that composing covers", one_in(covers["composed"])),
        ("time", f"{seconds:.1f} s"),
    ]
    table(context.out, f"deck {context.deck.id}", rows)
    for task, why in report.unmet[:20]:
        told = why.replace("\n", "; ")
        context.err.print(
            f"not cooked: {task.query.key} variant {task.variant}: {told}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if missing:
        more = f" (and {len(report.unmet) - 20:,} more)" if len(report.unmet) > 20 else ""
        context.err.print(
            f"{missing:,} not cooked{more}; what is there is safe, run the same again to "
            "ask for them again",
            highlight=False,
        )


def _quality(report: Report) -> Iterator[tuple[str, object]]:
    of = report.first_drafts
    if not of:
        return
    for name, count in (
        ("passed at the first try", report.first_try),
        ("length kept at the first try", report.first_length),
        ("title verbatim at the first try", report.first_title),
    ):
        yield name, f"{count:,} of {of:,} ({count / of:.1%})"


def _faults(report: Report) -> Iterator[tuple[str, object]]:
    if report.requests and report.usage.prompt:
        yield "requests", f"{report.requests:,}"
    if report.faults:
        yield "faults on the way", f"{report.faults.total():,} ({counts(report.faults)})"


def _bill(report: Report, price: Price | None) -> Iterator[tuple[str, object]]:
    used = report.usage
    if not (used.prompt or used.output or report.unseen):
        return
    tokens = f"{used.prompt:,.0f} in, {used.output:,.0f} out, {used.thoughts:,.0f} thoughts"
    yield "tokens billed", f"{tokens}, {used.cached:,.0f} of them cached"
    requests = f"{report.unseen} requests whose replies did not come or could not be read"
    if price is None:
        yield "spent", "not known: the price table has no price for this model"
        if report.unseen:
            yield "perhaps billed besides", requests
        return
    yield "spent", f"{report.cost_usd:.4f} USD"
    if report.owed_usd:
        yield "of it for answers that none came of", f"{report.owed_usd:.4f} USD"
    if report.unseen:
        yield "perhaps billed besides", f"{report.unseen_usd:.4f} USD for {requests}"
