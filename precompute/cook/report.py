"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def table(console: Console, title: str, rows: Iterable[tuple[str, object]]) -> None:
    """Two columns: a name and a figure."""
    grid = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column()
    for name, value in rows:
        # Text, not markup: names of models and messages of services come from elsewhere.
        grid.add_row(Text(name), Text(str(value)))
    console.print(grid)


def one_in(share: Mapping[str, Any]) -> str:
    """A share with its denominator: `37 of 15,998,976 (1 in 432,405)`."""
    told = f"{share['count']:,} of {share['of']:,}"
    if not share["one_in"]:
        return told
    if share["share"] >= 0.01:
        return f"{told} ({share['share']:.1%})"
    return f"{told} (1 in {share['one_in']:,})"


def counts(by: Mapping[str, int]) -> str:
    """`composer 900, gemini 100`, the largest first."""
    ordered = sorted(by.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered) or "none"
