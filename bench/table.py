"""The figures as tables, with the goals beside them."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.speed import GOAL

# Goals of scale, by figure: (goal, whether it is a least).
GOALS = {
    "build_per_s": (50_000.0, True),
    "start_s": (0.5, False),
    "worker_private_mb": (20.0, False),
    "service_mb": (100.0, False),
    "lookup_growth": (2.0, False),
}


def show_build(told: dict[str, Any] | None, out: Console) -> None:
    """What a build costs beside its provider."""
    if told:
        table = _table("a build beside its provider", ["figure", ""])
        for name, value in told.items():
            table.add_row(name, str(value))
        out.print(table)


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def show_speed(told: dict[str, Any], out: Console) -> None:
    """Contestants side by side."""
    columns = ["one worker on one core", "requests/s", "× nginx", "CPU µs", "× nginx (CPU)"]
    table = _table("speed", [*columns, "p50 µs", "p99 µs", "at/s", "× rivals", f"≥ {GOAL:g}"])
    for row in told["rows"]:
        times = row["times_rivals"]
        table.add_row(
            row["name"] + (f" ({row['failed']} failed)" if row["failed"] else ""),
            f"{row['rate']:,}",
            f"{row.get('ratio', 0):.2f}",
            f"{row['cpu_us']:.1f}",
            f"{row.get('cpu_ratio', 0):.2f}",
            f"{row['p50_us']:,}",
            f"{row['p99_us']:,}",
            f"{row['rate_half']:,}",
            "" if times is None else f"{times:.1f}",
            _met(None if times is None else times >= GOAL),
        )
    out.print(table)
    out.print(
        f"medians of {told['rounds']} rounds of {told['seconds']:g} s, every contestant in turn; "
        "p50 and p99 at about half of the rate; CPU: the server's processor time for a request",
        highlight=False,
    )
    if told["key_us"]:
        line = f"static edition: a browser computes the keys of a play in {told['key_us']} µs (in Node)"
        out.print(line, highlight=False)
    for reason in told["left_out"]:
        out.print(f"left out: {reason}", highlight=False)


def _met(met: bool | None) -> str:
    return "" if met is None else "yes" if met else "no"


def show_scale(told: dict[str, Any], out: Console) -> None:
    """Figures by the size of the store."""
    rows = told["rows"]
    for row in rows:
        row["lookup_growth"] = round(row["lookup_us"] / rows[0]["lookup_us"], 2)
    table = _table("scale", ["", *(f"{row['entries']:,}" for row in rows), "goal", "met"])
    for name, title in {
        "build_per_s": "index build, entries/s",
        "build_private_mb": "its greatest private memory, MB",
        "start_s": "start to first answer, s",
        "start_read_mb": "read for it, MB",
        "worker_private_mb": "private memory of a worker, MB",
        "lookup_us": "a lookup, µs",
        "lookup_growth": "times that of the smallest",
        "append_ms": "appending 1,000 entries, ms",
        "seen_ms": "until a server gives them, ms",
        "index_bytes": "bytes of the index",
    }.items():
        values = [row[name] for row in rows]
        table.add_row(title, *(f"{value:,}" for value in values), *_judged(name, values))
    service = told["service"]
    for name, title in {
        "start_s": "whole service: start, s",
        "smallest_start_s": "a Flask application with one route: start, s",
        "at_start_mb": "whole service at its start, MB",
        "smallest_mb": "a Flask application with one route, MB",
        "service_mb": "whole service after everything, MB",
    }.items():
        goal = _judged(name, [service[name]]) if name == "service_mb" else ("", "")
        table.add_row(title, f"{service[name]:,}", *[""] * (len(rows) - 1), *goal)
    out.print(table)
    for reason in told["left_out"]:
        out.print(f"left out: {reason}", highlight=False)


def _judged(name: str, values: list[float]) -> tuple[str, str]:
    if name not in GOALS or not values:
        return "", ""
    goal, least = GOALS[name]
    met = min(values) >= goal if least else max(values) <= goal
    return f"{'≥' if least else '≤'} {goal:,g}", _met(met)
