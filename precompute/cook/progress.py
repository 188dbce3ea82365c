"""Progress of long work: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from precompute.cook.report import Report

EVERY_SECONDS = 5.0


def bar_on(err: Console, what: str) -> Progress:
    """A bar whose tasks have a text `summary`; it shows nothing unless the console is a terminal."""
    return Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}  {task.fields[summary]}", markup=False),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )


class Show(AbstractContextManager["Show"]):
    """Shows the progress of a build of `total` entries, and notes; nothing without a console."""

    def __init__(self, total: int = 0, err: Console | None = None) -> None:
        self._total = total
        self._err = err or Console(quiet=True)
        self._started = time.monotonic()
        self._next = self._started + EVERY_SECONDS
        self._bar = bar_on(self._err, "cooking")
        self._task = self._bar.add_task("", total=total, summary="")

    def __enter__(self) -> Show:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, report: Report) -> None:
        """Show the progress that a report has."""
        done = report.cooked + report.already
        if self._err.is_terminal:
            self._bar.update(self._task, completed=done, summary=self._summary(report))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_SECONDS
            gone = time.monotonic() - self._started
            left = (self._total - done) * gone / report.cooked if report.cooked else None
            rest = f", about {left:.0f} s left" if left is not None else ""
            self.note(f"{done}/{self._total}  {self._summary(report)}{rest}")

    def note(self, sentence: str) -> None:
        """Show a note."""
        soft = not self._err.is_terminal
        self._err.print(sentence, highlight=False, markup=False, soft_wrap=soft)

    def _summary(self, report: Report) -> str:
        """Rate, refusals, faults and cost."""
        rate = report.cooked / max(1e-9, time.monotonic() - self._started)
        cost = f"  {report.cost_usd:.4f} USD" if report.cost_usd else ""
        faults = f"  faults {report.faults.total()}" if report.faults else ""
        return f"{rate:.1f}/s  refused {report.refused.total()}{faults}{cost}"


@contextmanager
def counting(err: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of counted work; gives a function to call with the number done."""
    with bar_on(err, what) as bar:
        task = bar.add_task("", total=total, summary="")
        due = time.monotonic() + EVERY_SECONDS

        def count(done: int) -> None:
            nonlocal due
            if err.is_terminal:
                bar.update(task, completed=done)
            elif time.monotonic() >= due:
                due = time.monotonic() + EVERY_SECONDS
                err.print(f"{what}: {done:,} of {total:,}", highlight=False)

        yield count
