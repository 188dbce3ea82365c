"""Tables as people edit them: CSV files in UTF-8, or the sheets of an .xlsx workbook.

CSV is written with a byte-order mark, because spreadsheets otherwise take it for an old encoding.
It is read with or without one, with commas, semicolons or tabs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.errors import DeckError, PlanError
from app.kinds.reading import text_of
from precompute.commands.common import needs_extra
from precompute.files import write_whole

CSV, XLSX = ".csv", ".xlsx"
# A table: rows of texts, the first of them the header.
Table = Sequence[Sequence[str]]


def read_tables(source: Path, names: Sequence[str]) -> dict[str, Table]:
    """The tables of a folder of CSV files, of one CSV file (the first name), or of a workbook.

    Raises DeckError for what cannot be read, PlanError if there is none of the tables.
    """
    if source.suffix.lower() == XLSX:
        found = _workbook(source, names)
    elif source.is_dir():
        files = {name: source / f"{name}{CSV}" for name in names}
        found = {name: _csv(path) for name, path in files.items() if path.exists()}
    else:
        found = {names[0]: _csv(source)}
    if not found:
        raise PlanError(f"{source}: expected {', '.join(f'{name}{CSV}' for name in names)}")
    return found


def write_tables(target: Path, tables: Mapping[str, Table]) -> list[Path]:
    """Write tables into a workbook (.xlsx), the first into a file (.csv), or all into a folder.

    Returns what was written. Raises PlanError if one of the files is there already.
    """
    files = {target / f"{name}{CSV}": table for name, table in tables.items()}
    kind = target.suffix.lower()
    if kind == XLSX:
        files = {target: ()}
    elif kind == CSV:
        files = {target: next(iter(tables.values()))}
    for path in files:
        if path.exists():
            raise PlanError(f"{path} is there already; name another, or remove it")
    if kind == XLSX:
        return [_write_workbook(target, tables)]
    for path, table in files.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerows(table)
        write_whole(path, text.getvalue().encode("utf-8-sig"))
    return list(files)


def _csv(path: Path) -> Table:
    text = text_of(path)
    head = text.split("\n", 1)[0]
    # Spreadsheets in many countries write semicolons, because their decimal point is a comma.
    delimiter = max(",;\t", key=head.count)
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [[_cell(value) for value in row] for row in rows]
    except csv.Error as error:
        raise DeckError(str(path), "", f"is no CSV: {error}") from None


def _workbook(path: Path, names: Sequence[str]) -> dict[str, Table]:
    with needs_extra("sheets"):
        import openpyxl
    from zipfile import BadZipFile

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except FileNotFoundError:
        raise DeckError(str(path), "", "the file is missing") from None
    except (BadZipFile, KeyError, ValueError) as error:
        raise DeckError(str(path), "", f"is no workbook: {error}") from None
    by_name = {name.casefold(): name for name in book.sheetnames}
    if names[0] not in by_name and len(book.sheetnames) == 1:
        by_name[names[0]] = book.sheetnames[0]
    return {
        name: [[_cell(value) for value in row] for row in book[by_name[name]].values]
        for name in names
        if name in by_name
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    # A spreadsheet makes numbers of what looks like one.
    whole = isinstance(value, float) and value.is_integer()
    text = str(int(value)) if whole else str(value)  # type: ignore[call-overload]
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _write_workbook(path: Path, tables: Mapping[str, Table]) -> Path:
    with needs_extra("sheets"):
        import openpyxl
    book = openpyxl.Workbook(write_only=True)
    for name, table in tables.items():
        sheet = book.create_sheet(name)
        for row in table:
            cells = []
            for text in row:
                cell = openpyxl.cell.WriteOnlyCell(sheet, value=text)
                # A text that begins with = is no formula.
                cell.data_type = "s"
                cells.append(cell)
            sheet.append(cells)
    saved = io.BytesIO()
    book.save(saved)
    write_whole(path, saved.getvalue())
    return path
