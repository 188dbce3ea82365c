"""`precompute build`: from what was asked for to entries in the store, and what is told of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from app.errors import PlanError, UnfinishedError
from app.kinds.cards.figures import coverage, store
from app.ledger.misses import read_ledger
from app.providers import Model, Task
from app.providers.prices import Price, load_prices
from app.settings import Settings
from app.store.index import IndexWriter
from app.store.log import LogWriter
from precompute.cook import cache, dry_run
from precompute.cook.batch import BatchCook, BatchPace
from precompute.cook.choose import (
    Choice,
    Cook,
    choose,
    is_limited,
    make_cook,
    make_model,
    pace_of,
)
from precompute.cook.intake import Intake, Report
from precompute.cook.limiter import Limiter
from precompute.cook.near_copy import NearCopies
from precompute.cook.order import Kitchen, Order, price_of
from precompute.cook.progress import Show, show
from precompute.cook.refresh import plan_refresh
from precompute.cook.report import counts, one_in, table
from precompute.cook.runner import Purse, Runner
from precompute.pieces.cooking import cook_pieces
from precompute.plan.strategies import Job, plan_misses, plan_sampled, plan_stock


def build(order: Order, kitchen: Kitchen) -> int:
    """Cook. Raises OperatorError; what was cooked by then is kept, and told."""
    settings = kitchen.settings
    if order.wanted is None and not (order.refresh or order.pieces):
        raise PlanError("say how many entries the store shall have, for example --n 1000")
    if order.pieces:
        return cook_pieces(order, kitchen)
    choice = choose(settings, order.provider, order.model, order.prompt)
    if choice.why:
        kitchen.err.print(f"provider: {choice.name} ({choice.why})", highlight=False)
    jobs = list(_jobs(order, kitchen, choice))
    if order.dry_run:
        return dry_run.tell(order, kitchen, choice, jobs)
    model = None if choice.local else make_model(choice, settings)
    if model is not None and not choice.model:
        choice = Choice(choice.name, model.model, choice.why, choice.prompt)
    try:
        return _cook(order, kitchen, choice, model, jobs)
    finally:
        if model is not None:
            model.close()


def _jobs(order: Order, kitchen: Kitchen, choice: Choice) -> Iterator[Job]:
    plan = _plan(order, kitchen, choice)
    return itertools.islice(plan, order.wanted) if order.wanted else plan


def _plan(order: Order, kitchen: Kitchen, choice: Choice) -> Iterator[Job]:
    settings, deck = kitchen.settings, kitchen.deck
    if order.refresh:
        return plan_refresh(order.refresh, settings, deck, choice, kitchen.err)
    if order.strategy == "stock":
        return plan_stock(deck, order.seed, radius_of(order, settings))
    if order.strategy == "sampled":
        return plan_sampled(deck, order.seed)
    return plan_misses(deck, read_ledger(settings.ledger, deck.id))


def radius_of(order: Order, settings: Settings) -> int:
    """The radius that was asked for."""
    return settings.radius if order.radius is None else order.radius


def _cook(
    order: Order, kitchen: Kitchen, choice: Choice, model: Model | None, jobs: Sequence[Job]
) -> int:
    settings, deck = kitchen.settings, kitchen.deck
    price = price_of(order, kitchen, choice)
    cook = make_cook(choice, deck, model)
    started = kitchen.clock.now()
    unfinished: UnfinishedError | None = None
    with (
        LogWriter(settings.store, deck.id) as log,
        IndexWriter(settings.store, deck, settings.sources, radius_of(order, settings)) as index,
        NearCopies(settings.store, deck.id) as copies,
        show(kitchen.err, len(jobs)) as progress,
    ):
        if log.repaired:
            progress.note(f"a torn tail of {log.repaired} bytes was set aside in {deck.id}.torn")
        for note in index.notes:
            progress.note(note)
        source = (cook.provider.name, cook.provider.fingerprint)
        report = Report()
        intake = Intake(deck, source, log, index, copies, kitchen.clock.stamp, price, report)
        runner = _runner(order, kitchen, choice, cook, price, intake, index, progress)
        again: Sequence[Task] = ()
        try:
            if order.batch:
                batch = _batch_cook(order, kitchen, choice, cook, model, intake, index, progress)
                jobs, again = batch.run(jobs)
                intake.price = price
            with cache.kept(cook, model, load_prices(settings.prices), price, jobs, progress.note):
                runner.run(jobs, again)
        except UnfinishedError as error:
            unfinished = error
        meta = index.meta()
    seconds = kitchen.clock.now() - started
    tell(kitchen, report, price, store(meta), coverage(deck, meta), seconds)
    if unfinished is not None:
        raise unfinished
    return 2 if report.unmet else 0


def _runner(
    order: Order,
    kitchen: Kitchen,
    choice: Choice,
    cook: Cook,
    price: Price | None,
    intake: Intake,
    index: IndexWriter,
    progress: Show,
) -> Runner:
    settings = kitchen.settings
    limiter = None
    if is_limited(choice, settings) or (order.rpm and not choice.local):
        limiter = Limiter(kitchen.clock, order.rpm or settings.rpm, order.tpm or settings.tpm)
    return Runner(
        cook.provider,
        intake,
        index,
        kitchen.clock,
        pace_of(choice, settings, order.per_request, order.concurrency),
        limiter,
        Purse(price, cook.estimate, order.budget_usd),
        settings.sources,
        kitchen.rng,
        progress,
    )


def _batch_cook(
    order: Order,
    kitchen: Kitchen,
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

    settings = kitchen.settings
    intake.price = price_of(order, kitchen, choice, batch=True)
    pace = BatchPace(
        per_request=pace_of(choice, settings, order.per_request, 1).per_request,
        give_up_seconds=order.give_up_hours * 3600,
        poll_seconds=settings.batch_poll,
    )
    return BatchCook(
        settings.store,
        kitchen.deck.id,
        GeminiBatch(model),
        cook.writer,
        intake,
        index,
        kitchen.clock,
        pace,
        Purse(intake.price, cook.estimate, order.budget_usd),
        settings.sources,
        progress,
    )


def tell(
    kitchen: Kitchen,
    report: Report,
    price: Price | None,
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
        ("not cooked", f"{len(report.unmet):,}"),
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
    table(kitchen.out, f"deck {kitchen.deck.id}", rows)
    for task, why in report.unmet[:20]:
        told = why.replace("\n", "; ")
        kitchen.err.print(
            f"not cooked: {task.query.key} variant {task.variant}: {told}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    if report.unmet:
        more = f" (and {len(report.unmet) - 20:,} more)" if len(report.unmet) > 20 else ""
        kitchen.err.print(
            f"{len(report.unmet):,} not cooked{more}; what is there is safe, run the same again to "
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
    if price is None:
        yield "spent", "not known: the price table has no price for this model"
        return
    yield "spent", f"{report.cost_usd:.4f} USD"
    if report.owed_usd:
        yield "of it for answers that none came of", f"{report.owed_usd:.4f} USD"
    if report.unseen:
        yield (
            "perhaps billed besides",
            f"{report.unseen_usd:.4f} USD for {report.unseen} requests without a reply",
        )
