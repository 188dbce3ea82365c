"""A refusal: why an answer did not pass the gate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an answer was refused: the check, what it saw, and the limit that it set.

    An answer that never came has a refusal too, with the fault as `check` and no limit.
    """

    check: str
    figure: str = ""
    limit: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.figure} (limit: {self.limit})" if self.limit else self.check
