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


def _in_lines(record: Callable[[Any], Mapping[str, Any]]) -> Callable[[str, Sequence[Any]], Files]:
    """Writes one file with a record a line."""
    return lambda side, rows: {f"{side}.jsonl": _lines(map(record, rows))}


def _in_list(record: Callable[[Any], Mapping[str, Any]]) -> Callable[[str, Sequence[Any]], Files]:
    """Writes one file with a list of records."""
    return lambda side, rows: {f"{side}.json": orjson.dumps([record(row) for row in rows])}


def _said(turns: Iterable[Message]) -> list[Message]:
    return [turn for turn in turns if turn.role != SYSTEM]


def _system(turns: Iterable[Message]) -> str:
    return "\n".join(turn.content for turn in turns if turn.role == SYSTEM)


def _sharegpt(row: Row) -> dict[str, Any]:
    return {
        "conversations": [
            {"from": _SHAREGPT[t.role], "value": t.content} for t in _said(row.turns)
        ],
        "system": _system(row.turns),
        "metadata": row.metadata(),
    }


def _alpaca(row: Row) -> dict[str, Any]:
    *earlier, asked = [turn.content for turn in _said(row.prompt)]
    return {
        "instruction": asked,
        "input": "",
        "output": row.answer,
        "system": _system(row.turns),
        "history": [list(two) for two in zip(earlier[::2], earlier[1::2], strict=True)],
        "metadata": row.metadata(),
    }


def _conversation(row: Row) -> dict[str, Any]:
    return {
        "system": _system(row.turns),
        "messages": _messages(_said(row.turns)),
        "metadata": row.metadata(),
    }


def _conversations(side: str, rows: Sequence[Row]) -> Files:
    listed = {"conversations": [_conversation(row) for row in rows]}
    return {f"{side}.json": orjson.dumps(listed)}


def _llamafactory(side: str, rows: Sequence[Row | Pair]) -> Files:
    pairs = [row for row in rows if isinstance(row, Pair)]
    whole = [row for row in rows if isinstance(row, Row)]
    files = {f"{side}.json": orjson.dumps([_conversation(row) for row in whole])}
    if pairs:
        files[f"{side}.preferences.json"] = orjson.dumps([_ranked(pair) for pair in pairs])
    return files


def _ranked(pair: Pair) -> dict[str, Any]:
    return {
        "messages": _messages(_said(pair.prompt)),
        "system": _system(pair.prompt),
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


def _dpo(pair: Pair) -> dict[str, Any]:
    return {
        "prompt": _messages(pair.prompt),
        "chosen": [Message(ASSISTANT, pair.chosen).message()],
        "rejected": [Message(ASSISTANT, pair.rejected).message()],
        "metadata": pair.metadata(),
    }


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


def _csv(side: str, rows: Sequence[Row]) -> Files:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(_COLUMNS)
    for row in rows:
        said = "\n".join(turn.content for turn in _said(row.prompt))
        origin = row.origin
        cells = (
            row.id,
            row.group,
            _system(row.turns),
            said,
            row.answer,
            origin.source,
            origin.model,
        )
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
        Format("sharegpt", _in_lines(_sharegpt)),
        Format("alpaca", _in_list(_alpaca)),
        Format("llamafactory", _llamafactory),
        Format("dpo", _in_lines(_dpo), pairs=True),
        Format("kto", _kto, pairs=True),
        Format("conversations", _conversations),
        Format("csv", _csv),
    )
}
