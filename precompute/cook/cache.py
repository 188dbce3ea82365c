"""Explicit context caching: the service caches the fixed part of prompts, at a lower price.

It is used if the fixed part has enough tokens and if it saves money by the price table: storage is
billed by the hour. Otherwise a note says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from app.errors import ProviderError
from app.providers.prices import MILLION, Price, PriceTable
from app.providers.tokens import estimate_tokens
from precompute.cook.choose import PER_REQUEST
from precompute.cook.kinds import Cook
from precompute.plan.strategies import Job

# Seconds for which the cache is kept, enough for a build of a thousand entries.
SECONDS = 3600


@runtime_checkable
class CachingModel(Protocol):
    """A model whose service can cache the fixed part of prompts."""

    model: str

    def cache(self, fixed: str, seconds: int) -> object:
        """Have the service cache it. Raises ProviderError."""

    def drop_cache(self) -> None:
        """Have the service delete the cache. Raises ProviderError."""


def why_not(
    fixed_tokens: int, requests: int, least: int | None, price: Price | None, model: str
) -> str:
    """Why caching is not used; empty if it saves money. `least` is the least number of tokens."""
    if least is None:
        return f"the price table does not say from how many tokens {model} caches"
    if fixed_tokens < least:
        return f"the fixed part has about {fixed_tokens:,} tokens, {model} caches from {least:,}"
    if price is None or price.cached is None or price.storage_hour is None:
        return f"the price table has no price for what {model} keeps"
    # Caching costs one reading at the full price, and storage.
    kept = fixed_tokens * (price.input + price.storage_hour * SECONDS / 3600) / MILLION
    saved = requests * fixed_tokens * (price.input - price.cached) / MILLION
    if saved <= kept:
        return f"it would save {saved:.4f} USD over {requests:,} requests and cost {kept:.4f}"
    return ""


@contextmanager
def caching(
    cook: Cook,
    model: object,
    prices: PriceTable,
    price: Price | None,
    jobs: Sequence[Job],
    note: Callable[[str], None],
) -> Iterator[None]:
    """Cache the fixed part while cooking if that saves money; `note` gets a sentence that says so, or why not."""
    if cook.writer is None or not isinstance(model, CachingModel) or not jobs:
        yield
        return
    fixed = cook.writer.prompt([jobs[0].task]).fixed
    tokens = estimate_tokens(fixed)
    requests = -(-len(jobs) // PER_REQUEST)
    reason = why_not(tokens, requests, prices.caches_from(model.model), price, model.model)
    if reason:
        note(f"context caching is not used: {reason}")
        yield
        return
    try:
        model.cache(fixed, SECONDS)
        note(f"context caching: {tokens:,} tokens are kept by the service for {SECONDS // 60} min")
    except ProviderError as error:
        note(f"context caching is not used: {error}")
    try:
        yield
    finally:
        try:
            model.drop_cache()
        except ProviderError as error:
            note(f"what was cached was not removed, it ends by itself: {error}")
