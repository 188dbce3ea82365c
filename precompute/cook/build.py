"""`precompute build`: runs a build and prints its report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from app.errors import PlanError, UnfinishedError
from app.kinds.figures import store
from app.kinds.tasks import Task
from app.providers import Model
from app.providers.prices import Price, load_prices
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter
from app.store.rows import Meta
from precompute.cook import cache, dry_run
from precompute.cook.batch import BatchCook, BatchPace, waiting_job
from precompute.cook.choose import ProviderChoice, choose, make_model, pace_of
from precompute.cook.intake import Intake
from precompute.cook.kinds import Cook, Cooking, cooking_of
from precompute.cook.meter import Meter
from precompute.cook.options import BuildContext, BuildOptions, limiter_of, price_of
from precompute.cook.progress import Show
from precompute.cook.refresh import plan_refresh, with_rejections
from precompute.cook.report import Report, counts, table
from precompute.cook.runner import Budget, Runner
from precompute.plan.strategies import Job


def build(options: BuildOptions, context: BuildContext) -> int:
    """Run a build; returns the exit status. Raises OperatorError; what was cooked is kept."""
    settings = context.settings
    if options.wanted is None and not options.refresh:
        raise PlanError("say how many entries the store shall have, for example --n 1000")
    cooking = cooking_of(context.deck)
    prompt = "whole" if cooking.whole_only else options.prompt
    choice = choose(settings, options.provider, options.model, prompt)
    if options.dry_run and choice.why and choice.local and not cooking.in_the_box:
        # What nothing here can cook is cooked by a model some day: say what that would cost.
        priced = choose(settings, "gemini", options.model, prompt)
        choice = replace(priced, why="no GEMINI_API_KEY is set; cooking will need it")
    if choice.why:
        context.note(f"provider: {choice.name} ({choice.why})")
    jobs = list(_jobs(options, context, cooking, choice))
    if options.dry_run:
        return dry_run.print_plan(options, context, choice, jobs)
    model = None if choice.local else make_model(choice, settings)
    if model is not None:
        choice = replace(choice, model=model.model)
    try:
        return _Build(options, context, cooking, choice, model).cook(jobs)
    finally:
        if model is not None:
            model.close()


def _jobs(
    options: BuildOptions, context: BuildContext, cooking: Cooking, choice: ProviderChoice
) -> Iterator[Job]:
    if options.refresh:
        plan = plan_refresh(options.refresh, context, choice)
    else:
        plan = cooking.plan(options, context, choice)
    plan = with_rejections(context.settings, context.deck, plan)
    return itertools.islice(plan, options.wanted) if options.wanted else plan


@dataclass(frozen=True, slots=True)
class _Build:
    """One build; `model` is None if the provider asks none."""

    options: BuildOptions
    context: BuildContext
    cooking: Cooking
    choice: ProviderChoice
    model: Model | None

    def cook(self, jobs: Sequence[Job]) -> int:
        """Cook the jobs and print the report; returns the exit status."""
        context, settings = self.context, self.context.settings
        price = price_of(self.options, context, self.choice)
        report = Report()
        limiter = limiter_of(self.options, context, self.choice)
        meter = Meter(self.model, report, limiter) if self.model else None
        cook = self.cooking.cook(self.choice, meter)
        started = context.clock.now()
        unfinished: UnfinishedError | None = None
        store = settings.store_options._replace(radius=self.options.radius_in(settings))
        with (
            LogWriter(settings.store, context.deck.id) as log,
            IndexWriter.at(store, self.cooking.deck) as index,
            Show(len(jobs), context.err) as progress,
        ):
            for note in self._notes(log, index):
                progress.note(note)
            self.cooking.before(self.options, context, log, index, progress)
            source = (cook.provider.name, cook.provider.fingerprint)
            judge, stamp = self.cooking.judge(settings.store), context.clock.stamp
            intake = Intake(self.cooking, judge, source, log, index, stamp, price, report)
            try:
                self._run(jobs, cook, meter, price, intake, index, progress)
            except UnfinishedError as error:
                unfinished = error
            meta = index.meta()
        missing = max(len(report.unmet), len(jobs) - report.already - report.cooked)
        self._print_report(report, price, missing, meta, context.clock.now() - started)
        if unfinished is not None:
            raise unfinished
        return 2 if missing else 0

    def _run(
        self, jobs: Sequence[Job], cook: Cook, meter: Meter | None, price: Price | None,
        intake: Intake, index: IndexWriter, progress: Show,
    ) -> None:  # fmt: skip
        """Cook by batch job, if that is wanted, and directly. Raises UnfinishedError, PlanError."""
        runner = self._runner(cook, meter, price, intake, index, progress)
        again: Sequence[Task] = ()
        if self.options.batch:
            jobs, again = self._batch(cook, intake, index, progress).run(jobs)
            intake.price = price
        prices = load_prices(self.context.settings.prices)
        with cache.caching(cook, self.model, prices, price, jobs, progress.note):
            runner.run(jobs, again)

    def _notes(self, log: LogWriter, index: IndexWriter) -> Iterator[str]:
        deck = self.context.deck.id
        if log.repaired:
            yield f"a torn tail of {log.repaired} bytes was set aside in {deck}.torn"
        yield from index.notes
        waiting = "" if self.options.batch else waiting_job(self.context.settings.store, deck)
        if waiting:
            yield f"{waiting}; this build asks directly, build --batch takes its answers in"

    def _runner(
        self, cook: Cook, meter: Meter | None, price: Price | None, intake: Intake,
        index: IndexWriter, progress: Show,
    ) -> Runner:  # fmt: skip
        options, context = self.options, self.context
        pace = pace_of(self.choice, context.settings, options.per_request, options.concurrency)
        return Runner(
            cook.provider,
            intake,
            index,
            context.clock,
            pace if options.extra_requests is None else replace(pace, extra=options.extra_requests),
            meter,
            Budget(price, cook.estimate, options.budget_usd),
            context.settings.sources,
            context.rng,
            progress,
        )

    def _batch(self, cook: Cook, intake: Intake, index: IndexWriter, progress: Show) -> BatchCook:
        """Cooking by batch job, at its own price. Raises PlanError if that is not possible."""
        from app.providers.gemini import Gemini

        options, context = self.options, self.context
        if cook.writer is None or not isinstance(self.model, Gemini):
            raise PlanError("--batch is there for --provider gemini with --prompt whole only")
        from app.providers.gemini_batch import GeminiBatch

        settings = context.settings
        intake.price = price_of(options, context, self.choice, batch=True)
        pace = BatchPace(
            per_request=pace_of(self.choice, settings, options.per_request, 1).per_request,
            give_up_seconds=options.give_up_hours * 3600,
        )
        return BatchCook(
            settings.store,
            context.deck.id,
            GeminiBatch(self.model),
            cook.writer,
            intake,
            index,
            context.clock,
            pace,
            Budget(intake.price, cook.estimate, options.budget_usd),
            settings.sources,
            progress,
        )

    def _print_report(
        self, report: Report, price: Price | None, missing: int, meta: Meta, seconds: float
    ) -> None:
        context = self.context
        rows = [
            ("cooked", f"{report.cooked:,}"),
            ("already there", f"{report.already:,}"),
            ("refused by the gate", f"{report.refused.total():,} ({counts(report.refused)})"),
            *_quality(report),
            *_faults(report),
            ("not cooked", f"{missing:,}"),
            *_bill(report, price),
            ("by source", counts(store(meta)["by_source"])),
            *self.cooking.stored_rows(meta),
            ("time", f"{seconds:.1f} s"),
        ]
        table(context.out, f"deck {context.deck.id}", rows)
        for line in _missing_lines(report, missing):
            context.note(line)


def _missing_lines(report: Report, missing: int) -> Iterator[str]:
    for task, why in report.unmet[:20]:
        yield f"not cooked: {task.query.key} variant {task.variant}: {why}"
    if report.limited:
        yield "no more was asked again, as the run has made all requests it may; see --extra-requests"
    if missing:
        more = f" (and {len(report.unmet) - 20:,} more)" if len(report.unmet) > 20 else ""
        yield (
            f"{missing:,} not cooked{more}; what is there is safe, run the same again to ask for "
            "them again"
        )


def _quality(report: Report) -> Iterator[tuple[str, object]]:
    of = report.first_drafts
    if not of:
        return
    for name, count in {"passed at the first try": report.first_try, **report.first_kept}.items():
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
