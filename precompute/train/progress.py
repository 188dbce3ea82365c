"""Progress of a training: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from precompute.cook.progress import bar_on


class Steps:
    """Shows steps and losses."""

    def __init__(self, err: Console) -> None:
        self._err = err
        self._bar = bar_on(err, "training")
        self._task = self._bar.add_task("", total=None, summary="")
        self._total = 0

    def begin(self, total: int) -> None:
        """Training begins; it has so many steps."""
        self._total = total
        self._bar.update(self._task, total=total)
        self._bar.start()

    def step(self, done: int) -> None:
        """So many steps are done."""
        self._bar.update(self._task, completed=done)

    def losses(self, logs: Mapping[str, Any]) -> None:
        """Show the losses in a trainer's log entry."""
        names = {"loss": "loss", "eval_loss": "held-out loss"}
        shown = "  ".join(f"{names[n]} {logs[n]:.3f}" for n in names if n in logs)
        if not shown:
            return
        self._bar.update(self._task, summary=shown)
        if not self._err.is_terminal:
            done = int(self._bar.tasks[0].completed)
            self._err.print(f"training {done}/{self._total}  {shown}", highlight=False)

    def end(self) -> None:
        """Training has ended."""
        self._bar.stop()
