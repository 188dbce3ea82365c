"""Taking in what other tools have recorded: aimock, VCR.py, llm, and OpenAI's batch files.

aimock   fixtures: {"fixtures": [{"match": {"userMessage": …}, "response": {"content": …}}]}
vcrpy    cassettes, YAML or JSON
llm      the database logs.db of https://llm.datasette.io
batch    the input and the output file of a batch, in any order
"""

from __future__ import annotations

import base64
import gzip
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from app.errors import PlanError, RequestError, UpstreamError
from app.kinds.prompts.deck import PromptDeck
from app.kinds.prompts.gate import REPLY, PromptGate
from app.kinds.prompts.key import OPTIONS, query_of
from app.kinds.prompts.reply import Choice, Reply, ReplyReader, Tokens
from app.kinds.prompts.request import Message, PromptRequest, ToolCall
from app.kinds.prompts.service import redacted
from app.kinds.reading import json_lines, text_of
from app.settings import Settings
from app.store.entry import Entry
from app.store.holder import publish
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter, read_records
from precompute.commands.common import yaml_of
from precompute.prompts.bodies import read_sent


class ImportedReply(NamedTuple):
    """A request and its reply. `source` is a provider's name, or the tool's if that is not known."""

    request: PromptRequest
    reply: Reply
    source: str
    created: str = ""


class LeftOut(NamedTuple):
    """Something in a file that is no good reply to a request, and why."""

    why: str


@dataclass
class ImportReport:
    """How many replies were taken, were there already, and were left out, by reason."""

    taken: int = 0
    already: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def take(
    settings: Settings, deck: PromptDeck, found: Iterable[ImportedReply | LeftOut]
) -> ImportReport:
    """Store exchanges that pass the deck's gate; each once, however often they are imported."""
    gate = PromptGate(deck.checks)
    report = ImportReport()
    # Read whole before anything is written: what is wrong with a file must leave no store behind.
    found = list(found)
    with (
        LogWriter(settings.store, deck.id) as log,
        IndexWriter(settings.store, deck, settings.sources, settings.radius) as index,
    ):
        known = {
            (item.entry.key, item.entry.response.get(REPLY)): item.entry.variant
            for item in read_records(log.path)
        }
        variants = Counter(key for key, _ in known)
        fresh: list[Entry] = []
        for item in found:
            entry = _entry(deck, gate, item, report)
            if entry is None:
                continue
            if (entry.key, entry.response[REPLY]) in known:
                report.already += 1
                continue
            known[entry.key, entry.response[REPLY]] = variants[entry.key]
            fresh.append(replace(entry, variant=variants[entry.key]))
            variants[entry.key] += 1
        if fresh:
            log.append(fresh)
        report.taken = len(fresh)
        index.catch_up()
    publish(settings.store_options, deck.id)
    return report


def _entry(
    deck: PromptDeck, gate: PromptGate, item: ImportedReply | LeftOut, report: ImportReport
) -> Entry | None:
    if isinstance(item, LeftOut):
        report.left_out[item.why] += 1
        return None
    query = query_of(deck.id, item.request, deck.rules)
    response = {REPLY: redacted(item.reply, deck.rules.redact).to_text()}
    refusal = gate.examine(query, response)
    if refusal:
        report.left_out[f"refused: {refusal}"] += 1
        return None
    created = item.created or datetime.now(UTC).isoformat()[:19] + "Z"
    return Entry(query.key, 0, query, response, item.source, item.reply.model, "imported", created)


def _json(path: Path) -> Any:
    try:
        return orjson.loads(text_of(path))
    except orjson.JSONDecodeError as error:
        raise PlanError(f"{path}: not JSON: {error.msg}") from None


def aimock(files: Sequence[Path]) -> Iterator[ImportedReply | LeftOut]:
    """Fixtures of aimock. A message that was matched as a part of another is taken as the whole."""
    for path in files:
        value = _json(path)
        fixtures = value.get("fixtures") if isinstance(value, dict) else value
        if not isinstance(fixtures, list):
            raise PlanError(f"{path}: expected a list of fixtures")
        for one in fixtures:
            yield _fixture(one)


def _fixture(value: Any) -> ImportedReply | LeftOut:
    try:
        match, response = value["match"], value["response"]
        text = match["userMessage"]
        calls = tuple(
            ToolCall(one["name"], _parsed(one["arguments"]), one.get("id", ""))
            for one in response.get("toolCalls", ())
        )
        said = response.get("content", "")
    except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError):
        return LeftOut("a fixture without a userMessage, or without a content")
    if not isinstance(text, str) or not isinstance(said, str) or not (said or calls):
        return LeftOut("a fixture that is matched by an expression, or is an error")
    model = match.get("model", "")
    request = PromptRequest("chat", str(model), (Message.of("user", text),))
    choice = Choice(said, calls, "tool_calls" if calls else "stop")
    return ImportedReply(request, Reply((choice,), str(model)), "aimock")


def _parsed(value: Any) -> Any:
    return orjson.loads(value) if isinstance(value, str) else value


def vcrpy(files: Sequence[Path]) -> Iterator[ImportedReply | LeftOut]:
    """Cassettes of VCR.py."""
    for path in files:
        value = _json(path) if path.suffix == ".json" else _yaml(path)
        interactions = value.get("interactions") if isinstance(value, dict) else None
        if not isinstance(interactions, list):
            raise PlanError(f"{path}: expected a cassette with interactions")
        for one in interactions:
            yield _interaction(one)


def _yaml(path: Path) -> Any:
    try:
        return yaml_of(path)
    except ModuleNotFoundError:
        raise PlanError("cassettes in YAML need PyYAML; run: pip install PyYAML") from None


def _interaction(value: Any) -> ImportedReply | LeftOut:
    try:
        asked, answered = value["request"], value["response"]
        if int(answered["status"]["code"]) != 200:
            return LeftOut("a response that is an error")
        headers = {name.lower(): _first(v) for name, v in answered.get("headers", {}).items()}
        raw = _bytes(answered["body"])
        encoding = headers.get("content-encoding", "")
        if encoding in ("gzip", "deflate") and not raw.lstrip().startswith((b"{", b"[", b"data")):
            raw = gzip.decompress(raw) if encoding == "gzip" else zlib.decompress(raw)
        sent = read_sent(asked["uri"], orjson.loads(_bytes(asked["body"])))
        return ImportedReply(sent.request, _reply(sent.reader(), headers, raw), sent.dialect)
    except (KeyError, TypeError, AttributeError, ValueError, OSError, zlib.error):
        return LeftOut("an interaction that cannot be read")
    except RequestError as error:
        return LeftOut(error.detail)
    except UpstreamError as error:
        return LeftOut(f"a reply that is not whole: {error}")


def _first(value: Any) -> str:
    return str(value[0] if isinstance(value, list) and value else value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, Mapping):
        if "base64_string" in value:
            return base64.b64decode(value["base64_string"])
        value = value["string"]
    return value if isinstance(value, bytes) else str(value).encode()


def _reply(reader: ReplyReader, headers: Mapping[str, str], raw: bytes) -> Reply:
    streamed = headers.get("content-type", "").partition(";")[0].strip()
    if streamed not in ("text/event-stream", "application/x-ndjson"):
        return reader.whole(orjson.loads(raw))
    reader.feed(raw)
    return reader.end()


# Columns of llm's table of responses: those of every version, and those with texts.
_NEEDED = ("id", "model", "prompt", "response")
_TEXTS = ("model", "prompt", "response", "system", "options_json")


def llm(files: Sequence[Path]) -> Iterator[ImportedReply | LeftOut]:
    """The responses in a logs.db of llm; those before them in a conversation are their history."""
    for path in files:
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
                file.row_factory = sqlite3.Row
                rows = [dict(row) for row in file.execute("SELECT * FROM responses ORDER BY id")]
                others = _with_more(file)
        except sqlite3.Error as error:
            raise PlanError(f"{path}: is no database of llm: {error}") from None
        if rows and (lacking := [name for name in _NEEDED if name not in rows[0]]):
            raise PlanError(f"{path}: is no database of llm: responses have no {lacking[0]}")
        histories: dict[str, list[Message]] = {}
        for row in rows:
            history = histories.setdefault(row.get("conversation_id") or row["id"], [])
            yield _response(row, history, others)
            history.append(Message.of("user", str(row["prompt"] or "")))
            history.append(Message.of("assistant", str(row["response"] or "")))


def _with_more(file: sqlite3.Connection) -> frozenset[str]:
    """The ids of responses with attachments or calls of tools."""
    tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found: set[str] = set()
    for table in tables & {"prompt_attachments", "tool_calls", "tool_results", "tool_responses"}:
        columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
        if "response_id" in columns:
            found |= {row[0] for row in file.execute(f"SELECT response_id FROM {table}")}  # noqa: S608  # names of our own
    return frozenset(found)


def _response(
    row: Mapping[str, Any], history: Sequence[Message], others: frozenset[str]
) -> ImportedReply | LeftOut:
    if row["id"] in others or row.get("schema_id"):
        return LeftOut("a response with attachments, tools or a schema")
    # SQLite lets any column hold anything.
    if not all(isinstance(row.get(name) or "", str) for name in _TEXTS) or not row["model"]:
        return LeftOut("a response that cannot be read")
    try:
        given = orjson.loads(row.get("options_json") or "{}")
    except orjson.JSONDecodeError:
        return LeftOut("a response that cannot be read")
    if not isinstance(given, dict):
        return LeftOut("a response that cannot be read")
    if given.keys() - set(OPTIONS):
        return LeftOut(f"options that are not known: {', '.join(sorted(given))}")
    system = [Message.of("system", row["system"])] if row.get("system") else []
    messages = (*system, *history, Message.of("user", row["prompt"] or ""))
    request = PromptRequest("chat", row["model"], messages, options=given)
    counts = (row.get(name) for name in ("input_tokens", "output_tokens"))
    tokens = Tokens(*(count if isinstance(count, int) else 0 for count in counts))
    reply = Reply((Choice(row["response"] or ""),), row["model"], tokens)
    return ImportedReply(request, reply, "llm", str(row.get("datetime_utc") or "")[:19])


def batch(files: Sequence[Path]) -> Iterator[ImportedReply | LeftOut]:
    """The lines of batch files: requests and responses, which belong together by their custom_id."""
    requests: dict[str, Mapping[str, Any]] = {}
    responses: dict[str, Mapping[str, Any]] = {}
    for path in files:
        for number, value in json_lines(path):
            try:
                (responses if "response" in value else requests)[value["custom_id"]] = value
            except (TypeError, KeyError):
                raise PlanError(f"{path}: line {number}: is no line of a batch file") from None
    if not requests or not responses:
        raise PlanError("name both files of the batch: the requests and the responses")
    for name, asked in requests.items():
        yield _batched(asked, responses[name]) if name in responses else LeftOut("no response")


def _batched(asked: Mapping[str, Any], answered: Mapping[str, Any]) -> ImportedReply | LeftOut:
    response = answered["response"]
    if not isinstance(response, Mapping) or response.get("status_code") != 200:
        return LeftOut("a response that is an error")
    try:
        sent = read_sent(str(asked.get("url", "")), asked.get("body"))
        return ImportedReply(sent.request, sent.reader().whole(response.get("body")), sent.dialect)
    except RequestError as error:
        return LeftOut(error.detail)
    except UpstreamError as error:
        return LeftOut(f"a reply that is not whole: {error}")


FORMS: Mapping[str, Callable[[Sequence[Path]], Iterator[ImportedReply | LeftOut]]] = {
    "aimock": aimock,
    "vcrpy": vcrpy,
    "llm": llm,
    "batch": batch,
}
