"""Every request to a model passes here: it waits for its turn, and it is counted.

A provider may make several requests for one answer (the small prompt makes two), so that a limit
held anywhere else would be a limit on something else.
"""

from __future__ import annotations

import threading

from app.providers import Completion, Model, Prompt
from app.providers.tokens import estimate_tokens
from precompute.cook.limiter import Limiter
from precompute.cook.report import Report

# Prompts ask for about three times the room that an answer takes.
_OUTPUT_SHARE = 1 / 3


class StoppedError(Exception):
    """A request that was not made, because the run is over."""


class Meter:
    """A model whose requests are limited and counted. `over` ends them. Safe for several threads."""

    def __init__(self, model: Model, report: Report, limiter: Limiter | None = None) -> None:
        self.name = model.name
        self.model = model.model
        self.over = threading.Event()
        self._inner = model
        self._report = report
        self._limiter = limiter
        self._lock = threading.Lock()

    def complete(self, prompt: Prompt) -> Completion:
        """The model's reply, when it is its turn. Raises StoppedError, ProviderError."""
        limiter = self._limiter
        expected = estimate_tokens(prompt.fixed) + estimate_tokens(prompt.asked)
        slot = limiter.acquire(expected + _OUTPUT_SHARE * prompt.most_tokens) if limiter else None
        if self.over.is_set():
            raise StoppedError
        with self._lock:
            self._report.requests += 1
        completion = self._inner.complete(prompt)
        if limiter and slot and completion.usage:
            used = completion.usage
            limiter.settle(slot, used.prompt + used.output + used.thoughts)
        return completion

    def hold(self, seconds: float) -> bool:
        """Let no request begin for so long; False if nothing here holds requests."""
        if self._limiter:
            self._limiter.hold(seconds)
        return self._limiter is not None

    def close(self) -> None:
        """Close the model."""
        self._inner.close()
