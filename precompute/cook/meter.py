"""Limits and counts all requests of a build to a model.

This is done around the model, because a provider may make several requests for one answer (with the
small prompt two).
"""

from __future__ import annotations

import threading

from app.providers import Completion, Model, Prompt
from app.providers.tokens import estimate_tokens
from precompute.cook.limiter import Limiter
from precompute.cook.report import Report

# The share of a prompt's greatest number of output tokens that a reply usually has.
_OUTPUT_SHARE = 1 / 3


class StoppedError(Exception):
    """A request was not made, because the run is over."""


class Meter:
    """A model whose requests are limited and counted; `over` stops them. Thread-safe."""

    def __init__(self, model: Model, report: Report, limiter: Limiter | None = None) -> None:
        self.name = model.name
        self.model = model.model
        self.over = threading.Event()
        self._inner = model
        self._report = report
        self._limiter = limiter
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Completion:
        """Wait as the limits require, then ask the model. Raises StoppedError, ProviderError."""
        limiter = self._limiter
        expected = estimate_tokens(prompt.fixed) + estimate_tokens(prompt.asked)
        tokens = expected + _OUTPUT_SHARE * prompt.most_tokens
        reservation = limiter.acquire(tokens) if limiter else None
        if self.over.is_set():
            raise StoppedError
        with self._lock:
            self._report.requests += 1
        completion = self._inner.complete(prompt)
        if limiter and reservation and completion.usage:
            used = completion.usage
            limiter.settle(reservation, used.prompt + used.output + used.thoughts)
        return completion

    def hold(self, seconds: float) -> bool:
        """Let no request begin for some seconds; returns False if there is no limiter to do so."""
        if self._limiter:
            self._limiter.hold(seconds)
        return self._limiter is not None

    def close(self) -> None:
        self._inner.close()
