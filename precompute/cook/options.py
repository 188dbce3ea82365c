"""The options of a build, and its context."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from rich.console import Console

from app.errors import PlanError
from app.kinds.kind import AnyDeck
from app.providers.prices import Price, load_prices
from app.settings import Settings
from precompute.cook.choose import ProviderChoice, is_limited
from precompute.cook.clock import Clock
from precompute.cook.limiter import REQUESTS, TOKENS, Limiter


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of the command line; None stands for the settings' value."""

    wanted: int | None = None
    provider: str | None = None
    model: str | None = None
    prompt: str | None = None
    strategy: str = "stock"
    refresh: str | None = None
    radius: int | None = None
    seed: int = 0
    per_request: int | None = None
    concurrency: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    budget_usd: float | None = None
    extra_requests: int | None = None
    batch: bool = False
    give_up_hours: float = 24.0
    dry_run: bool = False
    pieces: bool = False
    take: bool = False

    def radius_in(self, settings: Settings) -> int:
        return settings.radius if self.radius is None else self.radius


@dataclass(frozen=True, slots=True)
class BuildContext:
    """Everything that a build needs besides its options."""

    settings: Settings
    deck: AnyDeck
    out: Console
    err: Console
    clock: Clock
    rng: Random

    def note(self, sentence: str) -> None:
        """Print what a person should know. As text, not markup: names may contain square brackets."""
        self.err.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def say(self, sentence: str) -> None:
        """Print a result in the same way."""
        self.out.print(sentence, highlight=False, markup=False, soft_wrap=True)


def limiter_of(
    options: BuildOptions, context: BuildContext, choice: ProviderChoice
) -> Limiter | None:
    """The limiter of this build; None if neither options nor the provider require limits."""
    settings = context.settings
    if choice.local or not (is_limited(choice, settings) or options.rpm or options.tpm):
        return None
    return Limiter(context.clock, options.rpm or REQUESTS, options.tpm or TOKENS)


def price_of(
    options: BuildOptions, context: BuildContext, choice: ProviderChoice, *, batch: bool = False
) -> Price | None:
    """The model's price today. Raises PlanError if it is unknown and there is a budget."""
    prices = load_prices(context.settings.prices)
    today = context.clock.stamp()
    price = prices.price(choice.name, choice.model, today, batch=batch)
    if price is None and options.budget_usd is not None:
        raise PlanError(
            f"--budget-usd: the price table of {prices.dated} has no price for {choice.model!r}; "
            "add it to a file and name that with TSUKURIOKI_PRICES"
        )
    closes = prices.closes(choice.model)
    if closes:
        gone = "has been" if closes <= today[:10] else "will be"
        context.note(f"note: {choice.model} {gone} shut down on {closes}")
    return price
