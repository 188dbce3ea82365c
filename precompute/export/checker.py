"""Checks a file in any of the export's forms: which line, which field, what is wrong.

The form is found by a record's members. For files that people or other tools have changed: those
that `precompute export` writes are in order.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import PlanError
from precompute.export.rows import ASSISTANT, SYSTEM, USER

# A member of a record, and what is wrong with it.
Fault = tuple[str, str]
_ROLES = (SYSTEM, USER, ASSISTANT)
# Marks of chat templates: a text that holds them was rendered already, and would be once more.
_RENDERED = ("<|im_start|>", "<|im_end|>", "[INST]", "<|start_header_id|>", "<start_of_turn>")


class Finding(NamedTuple):
    """What is wrong: the line or item (from 1), the field, the fault."""

    place: str
    field: str
    fault: str

    def __str__(self) -> str:
        return (
            f"{self.place}: {self.field}: {self.fault}"
            if self.field
            else f"{self.place}: {self.fault}"
        )


class Checked(NamedTuple):
    """A file's form, its number of records and its findings."""

    form: str
    records: int
    findings: tuple[Finding, ...]


def check_file(path: Path) -> Checked:
    """Check a file. Raises PlanError if it cannot be read or is of none of the forms."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from None
    if path.suffix == ".csv":
        return _check_csv(content)
    records, findings = _records(path, content)
    form = _form_of([record for _, record in records])
    if form is None:
        if findings:
            return Checked("unknown", 0, tuple(findings))
        known = ", ".join(_MEMBERS)
        raise PlanError(f"{path}: the records are of none of the forms {known}")
    for place, record in records:
        findings += [Finding(place, *fault) for fault in _faults(form, record)]
    return Checked(form, len(records), tuple(findings))


def _records(path: Path, content: bytes) -> tuple[list[tuple[str, Any]], list[Finding]]:
    if path.suffix == ".json":
        try:
            value = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            return [], [Finding(f"line {error.lineno}", "", f"not JSON: {error.msg}")]
        listed = value.get("conversations") if isinstance(value, dict) else value
        if isinstance(value, dict) and not isinstance(listed, list):
            listed = [value]
        items = listed if isinstance(listed, list) else []
        return [(f"item {number}", item) for number, item in enumerate(items, 1)], []
    records, findings = [], []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            records.append((f"line {number}", orjson.loads(line)))
        except orjson.JSONDecodeError as error:
            findings.append(Finding(f"line {number}", "", f"not JSON: {error.msg}"))
    return records, findings


def _form_of(records: list[Any]) -> str | None:
    """The form that most records look like."""
    found = Counter(
        next((form for form, members in _MEMBERS.items() if members <= record.keys()), "")
        for record in records
        if isinstance(record, dict)
    )
    del found[""]
    return found.most_common(1)[0][0] if found else None


def _messages(record: Mapping[str, Any], field: str, last: str | None) -> Iterator[Fault]:
    """Faults of a list of messages, of which the last must be of a role (None: any)."""
    value = record.get(field)
    if not isinstance(value, list) or not value:
        yield field, "expected a list of messages that is not empty"
        return
    before = ""
    for number, message in enumerate(value):
        place = f"{field}[{number}]"
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            yield place, "expected an object with role and content"
            continue
        role = message["role"]
        if role not in _ROLES:
            yield f"{place}.role", f"{role!r} is none of {', '.join(_ROLES)}"
        elif role == SYSTEM and number:
            yield f"{place}.role", "the system's message comes first"
        elif role == before:
            yield f"{place}.role", f"two messages of {role} in a row"
        before = role
        yield from _text(message["content"], f"{place}.content")
    if last and isinstance(value[-1], dict) and value[-1].get("role") != last:
        yield f"{field}[{len(value) - 1}].role", f"the last message must be of {last}"


def _text(value: Any, place: str) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield place, "expected a text"
    elif not value.strip():
        yield place, "is empty"
    elif mark := next((mark for mark in _RENDERED if mark in value), ""):
        yield place, f"holds {mark}: a chat template was rendered into it"


def _system(record: Any) -> Iterator[Fault]:
    """It may be missing or empty: not every prompt has one."""
    value = record.get("system", "")
    if value != "":
        yield from _text(value, "system")


def _prompt_completion(record: Any) -> Iterator[Fault]:
    yield from _messages(record, "prompt", USER)
    yield from _messages(record, "completion", ASSISTANT)


def _preferences(record: Any) -> Iterator[Fault]:
    yield from _messages(record, "prompt", USER)
    yield from _messages(record, "chosen", ASSISTANT)
    yield from _messages(record, "rejected", ASSISTANT)
    if record.get("chosen") == record.get("rejected"):
        yield "rejected", "is the same as chosen"


def _labels(record: Any) -> Iterator[Fault]:
    yield from _prompt_completion(record)
    if not isinstance(record.get("label"), bool):
        yield "label", "expected true or false"


def _sharegpt(record: Any) -> Iterator[Fault]:
    value = record["conversations"]
    if not isinstance(value, list) or not value:
        yield "conversations", "expected a list that is not empty"
        return
    for number, said in enumerate(value):
        place = f"conversations[{number}]"
        if not isinstance(said, dict) or not {"from", "value"} <= said.keys():
            yield place, "expected an object with from and value"
            continue
        expected = ("human", "gpt")[number % 2]
        if said["from"] != expected:
            yield f"{place}.from", f"expected {expected}, not {said['from']!r}"
        yield from _text(said["value"], f"{place}.value")
    yield from _system(record)
    if len(value) % 2:
        yield f"conversations[{len(value) - 1}].from", "the last must be gpt"


def _alpaca(record: Any) -> Iterator[Fault]:
    yield from _text(record["instruction"], "instruction")
    # Trainers turn another type into its Python notation.
    yield from _text(record["output"], "output")
    if not isinstance(record.get("input", ""), str):
        yield "input", "expected a text"
    yield from _system(record)
    history = record.get("history", [])
    if not isinstance(history, list):
        yield "history", "expected a list of [question, answer]"
        return
    for number, said in enumerate(history):
        place = f"history[{number}]"
        if not isinstance(said, list) or len(said) != 2:
            yield place, "expected [question, answer]"
            continue
        for part, text in enumerate(said):
            yield from _text(text, f"{place}[{part}]")


def _ranked(record: Any) -> Iterator[Fault]:
    yield from _messages(record, "messages", USER)
    yield from _system(record)
    for name in ("chosen", "rejected"):
        answer = record[name]
        if not isinstance(answer, dict) or answer.get("role") != ASSISTANT:
            yield name, f"expected a message of {ASSISTANT}"
        else:
            yield from _text(answer.get("content"), f"{name}.content")
    if record["chosen"] == record["rejected"]:
        yield "rejected", "is the same as chosen"


def _conversation(record: Any) -> Iterator[Fault]:
    yield from _system(record)
    yield from _messages(record, "messages", ASSISTANT)
    if not isinstance(record["metadata"], dict):
        yield "metadata", "expected an object"


# In the order in which they are tried: those with more members first.
_MEMBERS: Mapping[str, frozenset[str]] = {
    "dpo": frozenset({"prompt", "chosen", "rejected"}),
    "llamafactory preferences": frozenset({"messages", "chosen", "rejected"}),
    "kto": frozenset({"prompt", "completion", "label"}),
    "trl": frozenset({"prompt", "completion"}),
    "conversations": frozenset({"system", "messages", "metadata"}),
    "messages": frozenset({"messages"}),
    "sharegpt": frozenset({"conversations"}),
    "alpaca": frozenset({"instruction", "output"}),
}
_FIELDS: Mapping[str, Callable[[Any], Iterator[Fault]]] = {
    "dpo": _preferences,
    "llamafactory preferences": _ranked,
    "kto": _labels,
    "trl": _prompt_completion,
    "conversations": _conversation,
    "messages": partial(_messages, field="messages", last=ASSISTANT),
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
}


def _faults(form: str, record: Any) -> Iterator[Fault]:
    """The faults of a record: of its members, then of what they hold."""
    if not isinstance(record, dict):
        yield "", "expected an object"
    elif missing := sorted(_MEMBERS[form] - record.keys()):
        yield missing[0], "is missing"
    else:
        yield from _FIELDS[form](record)


def _check_csv(content: bytes) -> Checked:
    try:
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        rows = list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        return Checked("csv", 0, (Finding("line 1", "", f"not a table in UTF-8: {error}"),))
    missing = {"user", "assistant"} - set(table.fieldnames or ())
    if missing:
        return Checked("csv", 0, (Finding("line 1", min(missing), "the column is missing"),))
    findings = [
        Finding(f"row {number}", *fault)
        for number, row in enumerate(rows, 1)
        for name in ("user", "assistant")
        for fault in _text(row[name], name)
    ]
    return Checked("csv", len(rows), tuple(findings))
