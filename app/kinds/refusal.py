"""Refusals of answers by a gate."""

from __future__ import annotations

from dataclasses import dataclass

# The check that stands for a reviewer who rejected an earlier text.
REVIEWER = "reviewer"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an answer was refused: the check, the figure that it found, and its limit.

    For an answer that is missing, `check` is the fault and there is no limit.
    """

    check: str
    figure: str = ""
    limit: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.figure} (limit: {self.limit})" if self.limit else self.check
