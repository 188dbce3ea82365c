"""Progress of long work: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from precompute.cook.report import Report

EVERY_SECONDS = 5.0


class Show(AbstractContextManager["Show"]):
    """Shows the progress of a build, and notes. This class shows nothing."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._started = time.monotonic()

    def __call__(self, report: Report) -> None:
        """Show the progress that a report has."""

    def note(self, sentence: str) -> None:
        """Show a note."""

    def summary(self, report: Report) -> str:
        """Rate, refusals, faults and cost."""
        rate = report.cooked / max(1e-9, time.monotonic() - self._started)
        cost = f"  {report.cost_usd:.4f} USD" if report.cost_usd else ""
        faults = f"  faults {report.faults.total()}" if report.faults else ""
        return f"{rate:.1f}/s  refused {report.refused.total()}{faults}{cost}"

    def __exit__(self, *error: object) -> None:
        """Do nothing."""


class Bar(Show):
    """A progress bar."""

    def __init__(self, err: Console, total: int) -> None:
        super().__init__(total)
        self._bar = Progress(
            TextColumn("cooking"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}  {task.fields[summary]}", markup=False),
            TimeRemainingColumn(),
            console=err,
        )
        self._task = self._bar.add_task("", total=total, summary="")

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, report: Report) -> None:
        done = report.cooked + report.already
        self._bar.update(self._task, completed=done, summary=self.summary(report))

    def note(self, sentence: str) -> None:
        self._bar.console.print(sentence, highlight=False, markup=False)


class ProgressLines(Show):
    """Prints a line every `EVERY_SECONDS`."""

    def __init__(self, err: Console, total: int) -> None:
        super().__init__(total)
        self._err = err
        self._next = time.monotonic() + EVERY_SECONDS

    def __call__(self, report: Report) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_SECONDS
        done = report.cooked + report.already
        gone = time.monotonic() - self._started
        left = (self._total - done) * gone / report.cooked if report.cooked else None
        rest = f", about {left:.0f} s left" if left is not None else ""
        self.note(f"{done}/{self._total}  {self.summary(report)}{rest}")

    def note(self, sentence: str) -> None:
        self._err.print(sentence, highlight=False, markup=False, soft_wrap=True)


def show(err: Console, total: int) -> Show:
    """A bar if the console is a terminal, else lines."""
    return Bar(err, total) if err.is_terminal else ProgressLines(err, total)


@contextmanager
def counting(err: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show the progress of counted work; gives a function to call with the number done."""
    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task("", total=total)
        due = time.monotonic() + EVERY_SECONDS

        def count(done: int) -> None:
            nonlocal due
            if err.is_terminal:
                bar.update(task, completed=done)
            elif time.monotonic() >= due:
                due = time.monotonic() + EVERY_SECONDS
                err.print(f"{what}: {done:,} of {total:,}", highlight=False)

        yield count
