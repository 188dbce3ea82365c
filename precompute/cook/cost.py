"""What cooking costs: estimates before, the bill after. The prices are in `app.providers.prices`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.kinds.tasks import Task
from app.providers import Prompt
from app.providers.prices import Price
from app.providers.tokens import estimate_tokens
from app.store.entry import Usage

# An estimate of a prompt may be short; no prompt has more tokens than this times it.
CAUTION = 1.6
# Characters of JSON around an answer, its title and its idea.
_AROUND = 75


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request, or many, will take: tokens, and how many there may be of the output at most."""

    requests: int = 0
    prompt: float = 0.0
    fixed: float = 0.0
    output: float = 0.0
    most_output: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.requests + other.requests,
            self.prompt + other.prompt,
            self.fixed + other.fixed,
            self.output + other.output,
            self.most_output + other.most_output,
        )

    def cost(self, price: Price) -> float:
        """USD, as far as can be told."""
        return price.cost(Usage(prompt=self.prompt, output=self.output))

    def bound(self, price: Price) -> float:
        """USD that it will not pass: what a budget is held against."""
        return price.cost(Usage(prompt=CAUTION * self.prompt, output=self.most_output))


NOTHING = Estimate()
Estimator = Callable[[Sequence[Task]], Estimate]


def estimator(
    characters: tuple[int, int], prompt_of: Callable[[Sequence[Task]], Prompt], steps: int = 0
) -> Estimator:
    """Estimates requests by the prompts that they would send.

    `characters`: how long an answer is, from and to. `steps`: the requests for one answer if each
    has its own, 0 if all share one.
    """
    least, most = characters
    answer = estimate_tokens("字" * ((least + most) // 2 + 14)) + estimate_tokens("x" * _AROUND)

    def estimate(tasks: Sequence[Task]) -> Estimate:
        prompt = prompt_of(tasks)
        fixed = estimate_tokens(prompt.fixed)
        return Estimate(
            requests=steps * len(tasks) if steps else 1,
            prompt=fixed + estimate_tokens(prompt.asked),
            fixed=fixed,
            output=answer * len(tasks),
            most_output=prompt.most_tokens,
        )

    return estimate
