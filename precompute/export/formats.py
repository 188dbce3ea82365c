"""The forms in which trainers read data sets. A form turns rows into the records of its files.

None of them holds a rendered chat template: a trainer renders its own model's.

    trl            prompt and completion as messages (train on the completion only), and
                   train.messages.jsonl with whole conversations
                   https://huggingface.co/docs/trl/dataset_formats
    openai         messages alone, as fine-tuning services accept them; metadata in a file beside it
    sharegpt       conversations with from and value
    alpaca         instruction, input, output, history
    llamafactory   messages with dataset_info.json, preferences with ranking
                   https://llamafactory.readthedocs.io/en/latest/getting_started/data_preparation.html
    dpo            prompt, chosen, rejected as lists of messages
    kto            prompt, completion, label
    conversations  one JSON object: conversations of system, messages, metadata
    csv            a table for people
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from precompute.export.rows import ASSISTANT, SYSTEM, USER, Message, Pair, Row

# File names without their ending → content.
Files = dict[str, bytes]
_SHAREGPT = {USER: "human", ASSISTANT: "gpt"}
_COLUMNS = (
    "id", "group", "system", "user", "assistant", "source", "model", "licence", "up", "down",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """A form. `write` makes the files of one side, whose names begin with the side's.

    `pairs` is whether its rows are preferences.
    """

    name: str
    write: Callable[[str, Sequence[Any]], Files]
    pairs: bool = False


def _messages(turns: Iterable[Message]) -> list[dict[str, str]]:
    return [turn.message() for turn in turns]


def _lines(records: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(r, option=orjson.OPT_APPEND_NEWLINE) for r in records)


def _trl(side: str, rows: Sequence[Row]) -> Files:
    pairs = (
        {
            "prompt": _messages(row.prompt),
            "completion": _messages(row.turns[-1:]),
            "metadata": row.metadata(),
        }
        for row in rows
    )
    whole = ({"messages": _messages(r.turns), "metadata": r.metadata()} for r in rows)
    return {f"{side}.jsonl": _lines(pairs), f"{side}.messages.jsonl": _lines(whole)}


def _openai(side: str, rows: Sequence[Row]) -> Files:
    return {
        f"{side}.jsonl": _lines({"messages": _messages(row.turns)} for row in rows),
        # The services refuse members that they do not know.
        f"{side}.metadata.jsonl": _lines(row.metadata() for row in rows),
    }


def _sharegpt(side: str, rows: Sequence[Row]) -> Files:
    return {f"{side}.jsonl": _lines(_as_sharegpt(row) for row in rows)}


def _as_sharegpt(row: Row) -> dict[str, Any]:
    said = [turn for turn in row.turns if turn.role != SYSTEM]
    return {
        "conversations": [{"from": _SHAREGPT[t.role], "value": t.content} for t in said],
        "system": _system(row),
        "metadata": row.metadata(),
    }


def _system(row: Row) -> str:
    return "\n".join(turn.content for turn in row.turns if turn.role == SYSTEM)


def _alpaca(side: str, rows: Sequence[Row]) -> Files:
    return {f"{side}.json": orjson.dumps([_as_alpaca(row) for row in rows])}


def _as_alpaca(row: Row) -> dict[str, Any]:
    said = [turn.content for turn in row.prompt if turn.role != SYSTEM]
    *earlier, asked = said
    return {
        "instruction": asked,
        "input": "",
        "output": row.answer,
        "system": _system(row),
        "history": [list(two) for two in zip(earlier[::2], earlier[1::2], strict=True)],
        "metadata": row.metadata(),
    }


def _llamafactory(side: str, rows: Sequence[Row | Pair]) -> Files:
    pairs = [row for row in rows if isinstance(row, Pair)]
    whole = [row for row in rows if isinstance(row, Row)]
    files = {f"{side}.json": orjson.dumps([_for_llamafactory(row) for row in whole])}
    if pairs:
        files[f"{side}.preferences.json"] = orjson.dumps([_ranked(pair) for pair in pairs])
    return files


def _for_llamafactory(row: Row) -> dict[str, Any]:
    said = [turn for turn in row.turns if turn.role != SYSTEM]
    return {"messages": _messages(said), "system": _system(row), "metadata": row.metadata()}


def _ranked(pair: Pair) -> dict[str, Any]:
    return {
        "messages": _messages(t for t in pair.prompt if t.role != SYSTEM),
        "system": "\n".join(t.content for t in pair.prompt if t.role == SYSTEM),
        "chosen": Message(ASSISTANT, pair.chosen).message(),
        "rejected": Message(ASSISTANT, pair.rejected).message(),
        "metadata": pair.metadata(),
    }


def dataset_info(deck: str, names: Iterable[str]) -> dict[str, Any]:
    """LLaMA-Factory's description of the files `names`, whose tags fit what `_llamafactory` writes."""
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": USER,
        "assistant_tag": ASSISTANT,
        "system_tag": SYSTEM,
    }
    info = {}
    for name in names:
        ranked = ".preferences." in name
        columns = {"messages": "messages", "system": "system"}
        if ranked:
            columns |= {"chosen": "chosen", "rejected": "rejected"}
        key = f"{deck}_{name.removesuffix('.json').replace('.', '_')}"
        info[key] = {
            "file_name": name,
            "formatting": "sharegpt",
            **({"ranking": True} if ranked else {}),
            "columns": columns,
            "tags": tags,
        }
    return info


def _dpo(side: str, pairs: Sequence[Pair]) -> Files:
    records = (
        {
            "prompt": _messages(pair.prompt),
            "chosen": [Message(ASSISTANT, pair.chosen).message()],
            "rejected": [Message(ASSISTANT, pair.rejected).message()],
            "metadata": pair.metadata(),
        }
        for pair in pairs
    )
    return {f"{side}.jsonl": _lines(records)}


def _kto(side: str, pairs: Sequence[Pair]) -> Files:
    return {f"{side}.jsonl": _lines(_labelled(pairs))}


def _labelled(pairs: Iterable[Pair]) -> Iterator[dict[str, Any]]:
    """Each answer once, labelled by whether it was chosen more often than rejected; no ties."""
    balance: Counter[tuple[tuple[Message, ...], str]] = Counter()
    about: dict[tuple[tuple[Message, ...], str], Pair] = {}
    for pair in pairs:
        for text, won in ((pair.chosen, 1), (pair.rejected, -1)):
            balance[pair.prompt, text] += won
            about.setdefault((pair.prompt, text), pair)
    for (prompt, text), won in balance.items():
        if won:
            yield {
                "prompt": _messages(prompt),
                "completion": [Message(ASSISTANT, text).message()],
                "label": won > 0,
                "metadata": about[prompt, text].metadata(),
            }


def _conversations(side: str, rows: Sequence[Row]) -> Files:
    listed = [
        {
            "system": _system(row),
            "messages": _messages(t for t in row.turns if t.role != SYSTEM),
            "metadata": row.metadata(),
        }
        for row in rows
    ]
    return {f"{side}.json": orjson.dumps({"conversations": listed})}


def _csv(side: str, rows: Sequence[Row]) -> Files:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(_COLUMNS)
    for row in rows:
        said = "\n".join(t.content for t in row.prompt if t.role != SYSTEM)
        origin = row.origin
        cells = (row.id, row.group, _system(row), said, row.answer, origin.source, origin.model)
        table.writerow([*map(_cell, (*cells, origin.licence)), *origin.votes])
    # With a byte-order mark, by which spreadsheets know UTF-8.
    return {f"{side}.csv": b"\xef\xbb\xbf" + out.getvalue().encode()}


def _cell(text: str) -> str:
    """A spreadsheet takes a text that begins so for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


FORMS: Mapping[str, Format] = {
    form.name: form
    for form in (
        Format("trl", _trl),
        Format("openai", _openai),
        Format("sharegpt", _sharegpt),
        Format("alpaca", _alpaca),
        Format("llamafactory", _llamafactory),
        Format("dpo", _dpo, pairs=True),
        Format("kto", _kto, pairs=True),
        Format("conversations", _conversations),
        Format("csv", _csv),
    )
}
