"""What is in force of a log, by the rules in `app.store.decision`, and the log without the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from app.errors import DamagedLineError
from app.store.decision import REJECTED, REOPENED
from app.store.entry import Entry
from app.store.log import read_lines, read_records

# How every decision begins in a line: JSON in a text has its quotation marks escaped.
_MARK = b'"decision":{'


class InForce:
    """What is in force of a log: give it each entry in order.

    `order` is that of the sources. The index follows the same rules, line by line; a test holds the
    two together.
    """

    def __init__(self, order: Sequence[str]) -> None:
        self._order = order
        # By key and variant: the entry of the text in force, or the line that took it away.
        self.entries: dict[tuple[str, int], Entry] = {}

    def take(self, entry: Entry) -> bool:
        """Take the next line in; returns whether something else is in force now."""
        old = self.entries.get(entry.name)
        if old is not None and not old.gone and not replaces(self._order, entry, old):
            return False
        self.entries[entry.name] = entry
        return True


def in_force(path: Path, order: Sequence[str]) -> dict[tuple[str, int], Entry]:
    """The entries of a log's texts in force, or the lines that took them away, by key and variant."""
    found = InForce(order)
    for item in read_records(path):
        found.take(item.entry)
    return found.entries


def replaces(order: Sequence[str], entry: Entry, old: Entry) -> bool:
    """Whether a line replaces the text that is in force."""
    if entry.gone or entry.verdict == REOPENED:
        return entry.same_text(old)
    return entry.rank(order) <= old.rank(order)


def decided(path: Path) -> Iterator[Entry]:
    """The lines of a log that are decisions, oldest first; others are not parsed."""
    for _, line in read_lines(path):
        if _MARK in line and line.endswith(b"\n"):
            try:
                entry = Entry.from_line(line)
            except DamagedLineError:
                continue
            if entry.decision:
                yield entry


def rejected_texts(path: Path) -> dict[tuple[str, int], list[Entry]]:
    """The texts of a log that a reviewer rejected, by key and variant, without those taken back."""
    return rejected_of(decided(path))


def rejected_of(lines: Iterable[Entry]) -> dict[tuple[str, int], list[Entry]]:
    """The same of the lines of a log, in their order."""
    found: dict[tuple[str, int], list[Entry]] = {}
    for entry in lines:
        others = [old for old in found.get(entry.name, ()) if old.response != entry.response]
        found[entry.name] = [*others, entry] if entry.verdict == REJECTED else others
    return found
