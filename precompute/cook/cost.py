"""Estimates of what requests cost. The prices are in `app.providers.prices`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.kinds.tasks import Task
from app.providers import Prompt
from app.providers.prices import Price
from app.providers.tokens import estimate_tokens
from app.store.entry import Usage

# The factor by which a prompt may have more tokens than estimated.
CAUTION = 1.6
# Characters of JSON around an answer, its title and its idea.
_AROUND = 75


@dataclass(frozen=True, slots=True)
class Estimate:
    """What requests take: tokens of prompts and of output.

    `most_output` is the greatest number of output tokens.
    """

    requests: int = 0
    prompt: float = 0.0
    output: float = 0.0
    most_output: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.requests + other.requests,
            self.prompt + other.prompt,
            self.output + other.output,
            self.most_output + other.most_output,
        )

    def cost(self, price: Price) -> float:
        """The estimated cost in USD."""
        return price.cost(Usage(prompt=self.prompt, output=self.output))

    def bound(self, price: Price) -> float:
        """The greatest cost in USD, which is compared with a budget."""
        return price.cost(Usage(prompt=CAUTION * self.prompt, output=self.most_output))


NOTHING = Estimate()
Estimator = Callable[[Sequence[Task]], Estimate]


def estimator(
    length: tuple[int, int],
    prompt_of: Callable[[Sequence[Task]], Prompt],
    steps: int = 0,
    sample: str = "字",
) -> Estimator:
    """A function that estimates the cost of tasks from their prompt.

    `length` is the least and greatest length of an answer, in units like `sample`. `steps` is the number of requests
    for each answer, 0 if one request is for all of them.
    """
    least, most = length
    answer = estimate_tokens(sample * ((least + most) // 2 + 14)) + estimate_tokens("x" * _AROUND)

    def estimate(tasks: Sequence[Task]) -> Estimate:
        prompt = prompt_of(tasks)
        return Estimate(
            requests=steps * len(tasks) if steps else 1,
            prompt=estimate_tokens(prompt.fixed) + estimate_tokens(prompt.asked),
            output=answer * len(tasks),
            most_output=prompt.most_tokens,
        )

    return estimate
