"""The report of a build, and printing figures for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.kinds.tasks import Task
from app.store.entry import Usage


@dataclass
class Report:
    """What a run did, in numbers of entries if not said otherwise.

    `already` were in the store; `unmet` are tasks that could not be cooked, with the reason.
    `first_*` count drafts that were asked for the first time. `unseen` are requests without a reply
    that may have been billed, `unseen_usd` is their estimated cost, `owed_usd` the cost that is
    part of no entry. `limited`: some were not asked for again, because the run had made all requests
    that it may.
    """

    already: int = 0
    cooked: int = 0
    requests: int = 0
    first_drafts: int = 0
    first_try: int = 0
    first_kept: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    unmet: list[tuple[Task, str]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    owed_usd: float = 0.0
    limited: bool = False
    unseen: int = 0
    unseen_usd: float = 0.0


def table(console: Console, title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Print a table of two columns: name and figure."""
    grid = Table(
        title=Text(title, "italic"),
        title_justify="left",
        show_header=False,
        box=None,
        pad_edge=False,
    )
    grid.add_column(style="bold")
    grid.add_column()
    for name, value in rows:
        # Text, not markup: names and messages of services may contain square brackets.
        grid.add_row(Text(name), Text(str(value)))
    console.print(grid)


def one_in(share: Mapping[str, Any]) -> str:
    """A share with its denominator: `37 of 15,998,976 (1 in 432,405)`."""
    numbers = f"{share['count']:,} of {share['of']:,}"
    if not share["one_in"]:
        return numbers
    if share["share"] >= 0.01:
        return f"{numbers} ({share['share']:.1%})"
    return f"{numbers} (1 in {share['one_in']:,})"


def counts(by: Mapping[str, int]) -> str:
    """`composer 900, gemini 100`, the largest first."""
    ordered = sorted(by.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered) or "none"
