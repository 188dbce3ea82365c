"""The review as a table: the texts in force with their decisions, edited in a spreadsheet.

Columns: id, mark, status, asked, a column for each text of the answer, source, writer, model, length,
up, down, check, verdict, note, force. `verdict` is for the reader: approve, reject, delete or reopen. A
text that was changed is an edit. `force` is "yes" for an edit that sets the gate aside, with a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from app.errors import DeckError, OperatorError
from app.store.decision import APPROVED, DELETED, REJECTED, REOPENED
from app.store.sources import EDITED
from precompute.decks.sheets import Table
from precompute.review.desk import DecisionRequest, Desk, TextFilter, row_of, status_of

REVIEW = "review"
_FIRST = ("id", "mark", "status", "asked")
_LAST = ("source", "writer", "model", "length", "up", "down", "check", "verdict", "note", "force")
_VERDICTS = {"approve": APPROVED, "reject": REJECTED, "delete": DELETED, "reopen": REOPENED}


class RowResult(NamedTuple):
    """A row that was taken in, or why it was not."""

    row: int
    verdict: str
    fault: str = ""


def table_of(desk: Desk, wanted: TextFilter) -> Table:
    """The texts that are wanted."""
    votes = desk.votes()
    rows = [row_of(desk, e, votes) for name in desk.names(wanted) if (e := desk.entry(name))]
    texts = list(dict.fromkeys(name for row in rows for name in row["texts"]))
    header = [*_FIRST, *texts, *_LAST]
    table = [header]
    for row in rows:
        up, down = row["votes"]
        cells = {
            **row,
            **row["texts"],
            # A slash, so that no spreadsheet takes it for a number.
            "id": f"{row['key']}/{row['variant']}",
            "asked": "\n".join(f"{label}: {text}" for label, text in row["asked"]),
            "up": up,
            "down": down,
            "verdict": "",
            "note": (row["decision"] or {}).get("note", ""),
            "force": "",
        }
        table.append([str(cells.get(name, "")) for name in header])
    return table


def take_in(desk: Desk, table: Table, file: str) -> Iterator[RowResult]:
    """Make the decisions of a table, row by row. Raises DeckError if it is no such table."""
    header = [name.strip() for name in table[0]] if table else []
    missing = [name for name in ("id", "mark", "verdict", "note") if name not in header]
    if missing:
        raise DeckError(file, "row 1", f"there is no column {missing[0]!r}; export makes the table")
    for number, cells in enumerate(table[1:], 2):
        row = dict(zip(header, cells, strict=False))
        if not row.get("id", "").strip():
            continue
        try:
            said = _said(desk, row)
            if said:
                desk.decide(_name(row["id"]), said)
                yield RowResult(number, said.verdict)
        except OperatorError as error:
            yield RowResult(number, "", str(error))


def _name(text: str) -> tuple[str, int]:
    key, _, variant = text.strip().partition("/")
    if not (variant.isascii() and variant.isdigit()):
        raise OperatorError(f"{text!r} is no id of an answer")
    return key, int(variant)


def _said(desk: Desk, row: Mapping[str, str]) -> DecisionRequest | None:
    """The decision of a row, None if there is none in it."""
    entry = desk.entry(_name(row["id"]))
    if entry is None:
        raise OperatorError(f"there is no answer {row['id']}")
    asked = row["verdict"].strip().casefold()
    if asked and asked not in _VERDICTS:
        raise OperatorError(f"verdict is {', '.join(_VERDICTS)}, not {asked!r}")
    texts = {name: row[name] for name in desk.shown(entry).texts if name in row}
    changed = {n: t for n, t in texts.items() if _plain(t) != _plain(desk.shown(entry).texts[n])}
    force = row.get("force", "").strip().casefold() in ("yes", "true", "1")
    mark, note = row["mark"].strip(), row["note"]
    if changed and asked in ("", "approve"):
        return DecisionRequest(EDITED, mark, changed, note, force)
    verdict = _VERDICTS.get(asked)
    # A table may be imported twice.
    done = status_of(entry) in (verdict, EDITED if verdict == APPROVED else verdict)
    return DecisionRequest(verdict, mark, note=note) if verdict and not done else None


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()
