"""`precompute compact`: replaces a log by one that has only what is in force.

Kept are, in their order: the line in force of each key and variant; the texts that a reviewer
rejected, which no build stores again; the text before each edit, of which preference pairs are made. A
text that was deleted leaves no line but its deletion. What dropped lines have cost is added to the line
in force, so that the bill stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isclose
from pathlib import Path
from typing import NamedTuple

from app.errors import StoreWriteError
from app.kinds.kind import AnyDeck
from app.store.decision import DELETED
from app.store.entry import Bill, Entry, Usage, is_bill
from app.store.in_force import in_force, rejected_texts
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter, log_path, read_lines, read_records
from app.store.options import StoreOptions

Name = tuple[str, int]


class Compacted(NamedTuple):
    """Lines and bytes before and after."""

    lines: tuple[int, int]
    size: tuple[int, int]


def compact(options: StoreOptions, deck: AnyDeck, *, keep: Path | None) -> Compacted:
    """Rewrite a deck's log and build its index again.

    The old log stays in its place until the new one is synced, read again and compared, and beside it
    until the index is built; with `keep`, it stays under that name. Raises StoreError.
    """
    path = log_path(options.folder, deck.id)
    old = keep or path.with_name(f"{path.name}.old")
    with LogWriter(options.folder, deck.id) as log:
        log.set_damage_aside()
        before = path.stat().st_size, _count(path)
        log.rewrite(
            kept_lines(path, options.sources), lambda new: _compare(path, new, options.sources), old
        )
        with IndexWriter.at(options, deck) as index:
            index.catch_up()
        if not keep:
            old.unlink(missing_ok=True)
        return Compacted((before[1], _count(path)), (before[0], path.stat().st_size))


def _count(path: Path) -> int:
    return sum(1 for _ in read_lines(path))


def kept_lines(path: Path, order: Sequence[str]) -> Iterator[bytes]:
    """The lines of a log that are kept: its bills, then entries, both in their order."""
    yield from (line for _, line in read_lines(path) if is_bill(line))
    yield from (entry.to_line() for entry in _kept(path, order))


def _kept(path: Path, order: Sequence[str]) -> Iterator[Entry]:
    now = in_force(path, order)
    rejected = rejected_texts(path)
    bills = _bills(path, now)
    # A line may stand twice; the one that counts is the last.
    last: dict[tuple[Name, str, str, str], int] = {}
    for number, entry in enumerate(_entries(path)):
        last[_text(entry)] = number
    for number, entry in enumerate(_entries(path)):
        current = now[entry.name]
        if entry == current and last[_text(entry)] == number:
            usage, cost = bills[entry.name]
            yield replace(entry, usage=usage, cost_usd=cost)
        elif current.verdict == DELETED:
            continue
        elif entry in rejected.get(entry.name, ()) or _is_before(entry, current):
            yield replace(entry, usage=None, cost_usd=0.0)


def _text(entry: Entry) -> tuple[Name, str, str, str]:
    return entry.name, entry.source, entry.created, entry.verdict


def _is_before(entry: Entry, current: Entry) -> bool:
    """Whether an entry has the text that the one in force is an edit of."""
    edit = current.decision
    return bool(
        edit and edit.writer and not current.gone and not entry.verdict
        and (entry.source, entry.created) == (edit.writer, edit.written)
    )  # fmt: skip


def _bills(path: Path, now: dict[Name, Entry]) -> dict[Name, tuple[Usage | None, float]]:
    """What all lines of each name have used and cost."""
    bills: dict[Name, tuple[Usage | None, float]] = {}
    for entry in _entries(path):
        usage, cost = bills.get(entry.name, (None, 0.0))
        if entry.usage:
            usage = entry.usage + (usage or Usage())
        bills[entry.name] = usage, cost + entry.cost_usd
    return bills


def _entries(path: Path) -> Iterator[Entry]:
    return (item.entry for item in read_records(path))


def _compare(old: Path, new: Path, order: Sequence[str]) -> None:
    """Raise StoreWriteError unless both logs have the same in force, rejected the same, cost the same."""
    same = _plain(in_force(old, order)) == _plain(in_force(new, order))
    cost = [_cost(path) for path in (old, new)]
    gone = {name for name, entry in in_force(old, order).items() if entry.verdict == DELETED}
    rejected = [
        {name: [e.response for e in texts] for name, texts in rejected_texts(path).items()
         if texts and name not in gone}
        for path in (old, new)
    ]  # fmt: skip
    if not (same and isclose(*cost, abs_tol=1e-9) and rejected[0] == rejected[1]):
        raise StoreWriteError(f"{new}: does not say what {old} says; the old log stays")


def _cost(path: Path) -> float:
    bills = (Bill.from_line(line).cost_usd for _, line in read_lines(path) if is_bill(line))
    return sum(bills) + sum(entry.cost_usd for entry in _entries(path))


def _plain(entries: dict[Name, Entry]) -> dict[Name, Entry]:
    """Entries without what they cost, which compacting sums up."""
    return {name: replace(entry, usage=None, cost_usd=0.0) for name, entry in entries.items()}
