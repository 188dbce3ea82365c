"""Progress of long work: a bar on a terminal, a line now and then where nobody watches one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from precompute.runner import Report

# Seconds between two lines, where there is no terminal; and between two looks at a bar.
LINE_EVERY = 5.0
BAR_EVERY = 0.1


@contextmanager
def _shown(err: Console, what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """Gives a function of what is done and what else to say."""
    if err.is_terminal:
        columns = (
            TextColumn(what),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err) as bar:
            task = bar.add_task("", total=total, told="")
            yield _sparing(
                BAR_EVERY, lambda done, told: bar.update(task, completed=done, told=told)
            )
            return

    def line(done: int, told: str) -> None:
        err.print(f"{what}: {done:,} of {total:,}  {told}".rstrip(), highlight=False)

    yield _sparing(LINE_EVERY, line)


def _sparing(every: float, show: Callable[[int, str], None]) -> Callable[[int, str], None]:
    """Calls through at most once in so many seconds."""
    due = time.monotonic() + every

    def shown(done: int, told: str) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + every
            show(done, told)

    return shown


@contextmanager
def counting(err: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """For work that is a plain count."""
    with _shown(err, what, total) as show:
        yield lambda done: show(done, "")


@contextmanager
def cooking(err: Console, total: int) -> Iterator[Callable[[Report], None]]:
    """For a build: rate and refusals beside the count."""
    started = time.monotonic()
    with _shown(err, "cooking", total) as show:

        def told(report: Report) -> None:
            rate = report.cooked / max(1e-9, time.monotonic() - started)
            figures = f"{rate:.1f}/s, refused {report.refused.total():,}, {report.cost_usd:.4f} USD"
            show(report.cooked + report.already, figures)

        yield told
