"""`--dry-run`: prints what a build would cook, what that would cost and how long it would take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from app.errors import IndexUnusableError
from app.kinds.tasks import Task
from app.providers import NamedModel
from app.providers.prices import PriceTable, load_prices
from app.store.index import Index
from precompute.cook.choose import GEMINI, ProviderChoice, is_limited, pace_of
from precompute.cook.cost import Estimate
from precompute.cook.kinds import cooking_of
from precompute.cook.limiter import REQUESTS, TOKENS
from precompute.cook.options import BuildContext, BuildOptions
from precompute.cook.refresh import estimate_all
from precompute.cook.report import table
from precompute.cook.runner import is_cooked
from precompute.plan.strategies import Job

# Requests a day to a Flash-Lite model on Gemini's free tier, as of the date of the price table.
FREE_REQUESTS_A_DAY = 500


def missing(context: BuildContext, choice: ProviderChoice, jobs: Sequence[Job]) -> list[Task]:
    """The tasks of a plan that would be cooked."""
    settings = context.settings
    try:
        index = Index(settings.store, context.deck.id)
    except IndexUnusableError:
        return [job.task for job in jobs]
    order = settings.sources
    left = [job.task for job in jobs if not is_cooked(index.source_of, job, order, choice.name)]
    index.close()
    return left


def print_plan(
    options: BuildOptions, context: BuildContext, choice: ProviderChoice, jobs: Sequence[Job]
) -> int:
    """Print the plan; returns the exit status. Asks no model, needs no key, writes nothing."""
    tasks = missing(context, choice, jobs)
    cooking = cooking_of(context.deck)
    # Loads the prompts, so that errors in them are found now.
    cooking.cook(choice, None if choice.local else NamedModel(choice.name, choice.model))
    rows: list[tuple[str, object]] = [
        ("provider", f"{choice.name} {choice.model}".strip()),
        ("entries planned", f"{len(jobs):,}"),
        ("already there", f"{len(jobs) - len(tasks):,}"),
        ("to cook", f"{len(tasks):,}"),
        *cooking.plan_rows(jobs),
    ]
    if not choice.local:
        rows += _requests(options, context, choice, tasks)
    table(context.out, "plan (nothing was cooked)", rows)
    return 0


def _requests(
    options: BuildOptions, context: BuildContext, choice: ProviderChoice, tasks: Sequence[Task]
) -> Iterator[tuple[str, object]]:
    settings = context.settings
    estimate = estimate_all(settings, context.deck, choice, tasks, options.per_request)
    per_request = pace_of(choice, settings, options.per_request, None).per_request
    yield "answers a request", f"{per_request}"
    yield from estimate_rows(options, context, choice, estimate)


def estimate_rows(
    options: BuildOptions, context: BuildContext, choice: ProviderChoice, estimate: Estimate
) -> Iterator[tuple[str, object]]:
    """Requests, tokens, price and time, as rows of a table."""
    settings = context.settings
    yield "requests", f"{estimate.requests:,}"
    yield "tokens, about", f"{estimate.prompt:,.0f} in, {estimate.output:,.0f} out"
    prices = load_prices(settings.prices)
    today = context.clock.stamp()
    yield from _price(options, prices, choice, estimate, today)
    closes = prices.closes(choice.model)
    if closes:
        yield "note", f"{choice.model} is shut down on {closes}"
    rpm, tpm = options.rpm or REQUESTS, options.tpm or TOKENS
    if is_limited(choice, settings) or options.rpm:
        minutes = at_limit(estimate, rpm, tpm)
        yield "time at the rate limit", f"{minutes} min at {rpm} requests and {tpm:,} tokens a min"
    if choice.name.startswith("gemini") and "lite" in choice.model:
        days = max(1, math.ceil(estimate.requests / FREE_REQUESTS_A_DAY))
        yield "on the free tier", f"{days} day(s), at about {FREE_REQUESTS_A_DAY} requests a day"


def _price(
    options: BuildOptions,
    prices: PriceTable,
    choice: ProviderChoice,
    estimate: Estimate,
    today: str,
) -> Iterator[tuple[str, object]]:
    price = prices.price(choice.name, choice.model, today)
    if price is None:
        named = (
            repr(choice.model) if choice.model else "the model of your server; --model names one"
        )
        yield "price", f"not known: the table of {prices.dated} has none for {named}"
        return
    yield "price, about", f"{estimate.cost(price):.4f} USD by the prices of {prices.dated}"
    if choice.name in GEMINI and "lite" not in choice.model:
        yield "besides", "the thoughts of this model, billed as output; --budget-usd holds them too"
    half = prices.price(choice.name, choice.model, today, batch=True)
    if half and half != price and not options.pieces:
        yield "price with --batch, about", f"{estimate.cost(half):.4f} USD"


def at_limit(estimate: Estimate, rpm: int, tpm: int) -> int:
    """Minutes, rounded up, that the requests take at these limits."""
    tokens = estimate.prompt + estimate.output
    return max(1, math.ceil(max(estimate.requests / rpm, tokens / tpm)))
