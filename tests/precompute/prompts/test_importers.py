"""Importers: what other tools recorded answers the request that they recorded it for."""

from __future__ import annotations

import base64
import gzip
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from precompute import cli
from tests.making import write_json
from tests.web.clients.test_conformance import ODD, places

Take = Callable[..., tuple[str, str]]
CHAT = {
    "model": "gpt-5-mini",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Capital of Nara Prefecture?"},
    ],
}
SAID = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5-mini-2026",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Nara."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


@pytest.fixture
def take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Take:
    """Imports files in a folder of its own; gives what was printed, and the errors."""
    monkeypatch.setenv("TSUKURIOKI_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    deck = tmp_path / "data" / "decks" / "recorded"
    deck.mkdir(parents=True)
    write_json(deck / "deck.json", {"kind": "prompts", "id": "recorded"})

    def run(*words: str, status: int = 0) -> tuple[str, str]:
        assert cli.main(list(words)) == status
        said = capfd.readouterr()
        return said.out, said.err

    return run


def answered(take: Take, body: dict[str, Any], path: str = "/v1/chat/completions") -> int:
    """How many replies a request now has."""
    write_json(Path("asked.json"), body)
    out, _ = take("why", "asked.json", "--path", path, "--json")
    return int(json.loads(out)["replies"])


def test_fixtures_of_aimock(take: Take) -> None:
    fixtures = [
        {"match": {"userMessage": "hello"}, "response": {"content": "Hi."}},
        {
            "match": {"userMessage": "weather", "model": "gpt-5-mini"},
            "response": {"toolCalls": [{"name": "weather", "arguments": '{"city": "Nara"}'}]},
        },
        {"match": {"userMessage": "down"}, "response": {"error": {"message": "no"}}},
        {"match": {"sequenceIndex": 1}, "response": {"content": "x"}},
    ]
    write_json(Path("fixtures.json"), {"fixtures": fixtures})
    out, err = take("import", "--from", "aimock", "fixtures.json")
    assert "2 replies taken into deck recorded" in out
    assert err.count("1 left out") == 2
    hello = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}
    assert answered(take, hello) == 1


@pytest.mark.parametrize("form", ["aimock", "vcrpy"])
def test_a_file_of_another_shape_is_one_line(take: Take, form: str) -> None:
    """JSON that has no list where the form has one is a sentence that names the file."""
    for value in (None, 1, "x", {}, {"fixtures": 1, "interactions": {}}):
        write_json(Path("odd.json"), value)
        _, err = take("import", "--from", form, "odd.json", status=2)
        assert err.startswith("precompute: odd.json: expected a ")
        assert len(err.splitlines()) == 1


def cassette(*bodies: tuple[dict[str, Any], str, Any, str], status: int = 200) -> dict[str, Any]:
    """A cassette with requests and the response of each."""
    return {
        "version": 1,
        "interactions": [
            {
                "request": {
                    "method": "POST",
                    "uri": uri,
                    "body": json.dumps(asked),
                    "headers": {"authorization": ["Bearer sk-secret"]},
                },
                "response": {
                    "status": {"code": status, "message": "OK"},
                    "headers": {"Content-Type": [mime], "Content-Encoding": ["gzip"]},
                    "body": body,
                },
            }
            for asked, uri, body, mime in bodies
        ],
    }


def test_cassettes_of_vcrpy(take: Take) -> None:
    """Whole and streamed, compressed and not, of every dialect; errors and other calls are left out."""
    uri = "https://api.openai.com/v1/chat/completions"
    packed = base64.b64encode(gzip.compress(json.dumps(SAID).encode())).decode()
    chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": "Na"}}]}
    last = {
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "ra"}, "finish_reason": "stop"}],
    }
    events = f"data: {json.dumps(chunk)}\n\ndata: {json.dumps(last)}\n\ndata: [DONE]\n\n"
    spoken = {"model": "llama", "messages": CHAT["messages"], "stream": False}
    told = {"model": "llama", "message": {"content": "Nara!"}, "done": True, "done_reason": "stop"}
    tape = cassette(
        (CHAT, uri, {"base64_string": packed}, "application/json"),
        ({**CHAT, "stream": True, "seed": 1}, uri, {"string": events}, "text/event-stream"),
        (
            spoken,
            "http://127.0.0.1:11434/api/chat",
            {"string": json.dumps(told)},
            "application/json",
        ),
        (CHAT, "https://example.com/login", {"string": "{}"}, "application/json"),
        ({**CHAT, "seed": 2}, uri, {"string": events[:90]}, "text/event-stream"),
    )
    write_json(Path("tape.json"), tape)
    out, err = take("import", "--from", "vcrpy", "tape.json")
    assert "3 replies taken" in out
    assert err.count("left out") == 2
    assert answered(take, CHAT) == 1
    assert answered(take, {**CHAT, "seed": 1}) == 1
    assert answered(take, spoken, "/api/chat") == 1
    yaml = pytest.importorskip("yaml")
    Path("tape.yaml").write_text(yaml.safe_dump(tape))
    out, _ = take("import", "--from", "vcrpy", "tape.yaml")
    assert "0 replies taken into deck recorded, 3 were there" in out
    store = Path("data/store/recorded.jsonl").read_text()
    assert "sk-secret" not in store
    write_json(Path("bad.json"), cassette((CHAT, uri, {"string": "{}"}, "x"), status=500))
    assert (
        "1 left out: a response that is an error"
        in take("import", "--from", "vcrpy", "bad.json")[1]
    )


LOGS = """
CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
  options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER,
  datetime_utc TEXT, input_tokens INTEGER, output_tokens INTEGER, schema_id TEXT);
CREATE TABLE prompt_attachments (response_id TEXT, attachment_id TEXT);
"""


LLM_ROW = {
    "id": "1", "model": "m-1", "prompt": "Hi", "system": "Be brief.", "options_json": "{}",
    "response": "Hello.", "conversation_id": "c", "datetime_utc": "2026-01-01T00:00:00",
    "input_tokens": 1, "output_tokens": 1, "schema_id": None,
}  # fmt: skip
CELLS = (None, 5, 1.5, b"\xff\xfe", "", "[]", "null", '{"temperature": []}')


def _database(name: str, rows: list[dict[str, Any]]) -> None:
    """A database of llm whose columns are those of the first row, of no type."""
    with closing(sqlite3.connect(name)) as file, file:
        file.execute(f"CREATE TABLE responses ({', '.join(rows[0])})")
        for row in rows:
            values = ", ".join("?" * len(row))
            file.execute(f"INSERT INTO responses VALUES ({values})", list(row.values()))


def test_any_cell_of_a_database_of_llm_is_read_or_left_out(take: Take) -> None:
    """SQLite lets a column hold anything: a bad row costs itself alone, whatever the file is called."""
    odd = [{**LLM_ROW, column: cell} for column in LLM_ROW for cell in CELLS]
    rows = [
        {**row, "prompt": row["prompt"] and f"{row['prompt']} {n}"} for n, row in enumerate(odd)
    ]
    bad = [{**LLM_ROW, "prompt": cell} for cell in (5, 1.5, b"\xff")]
    _database("a?b#c %41.db", [LLM_ROW, *bad, *rows])
    out, err = take("import", "--from", "llm", "a?b#c %41.db")
    assert int(out.split()[0]) > len(rows) / 2
    assert "a response that cannot be read" in err


@pytest.mark.parametrize("column", LLM_ROW)
def test_a_database_that_lacks_a_column_is_read_or_named(take: Take, column: str) -> None:
    """Other versions of llm have fewer columns; without those that matter it is one sentence."""
    _database("logs.db", [{name: cell for name, cell in LLM_ROW.items() if name != column}])
    needed = column in ("id", "model", "prompt", "response")
    out, err = take("import", "--from", "llm", "logs.db", status=2 if needed else 0)
    if needed:
        (line,) = err.splitlines()
        assert line.startswith("precompute: logs.db: is no database of llm: ")
        assert line.endswith(column)
    else:
        assert "1 replies taken" in out


def test_the_database_of_llm(take: Take) -> None:
    """A conversation's turns are the history of the next; options are in the key."""
    rows = [
        ("01", "m-1", "Hi", "Be brief.", "{}", "Hello.", "c1", None),
        ("02", "m-1", "And now?", None, '{"temperature": 0.5}', "Still.", "c1", None),
        ("03", "m-1", "See this", None, "{}", "A cat.", "c2", None),
        ("04", "m-1", "JSON", None, "{}", "{}", "c3", "schema"),
    ]
    with closing(sqlite3.connect("logs.db")) as file, file:
        file.executescript(LOGS)
        file.executemany(
            "INSERT INTO responses (id, model, prompt, system, options_json, response, "
            "conversation_id, schema_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        file.execute("INSERT INTO prompt_attachments VALUES ('03', 'a')")
    out, err = take("import", "--from", "llm", "logs.db")
    assert "2 replies taken" in out
    assert "2 left out" in err
    first = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert answered(take, {"model": "m-1", "messages": first}) == 1
    second = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "And now?"},
    ]
    assert answered(take, {"model": "m-1", "messages": second, "temperature": 0.5}) == 1


def test_batch_files(take: Take) -> None:
    """Requests and responses find each other by their ids, in any order of the files."""
    url = "/v1/chat/completions"
    asked = [
        {"custom_id": f"r{n}", "method": "POST", "url": url, "body": {**CHAT, "seed": n}}
        for n in range(3)
    ]
    answers = [
        {"custom_id": "r1", "response": {"status_code": 200, "body": SAID}, "error": None},
        {"custom_id": "r0", "response": {"status_code": 429, "body": {}}, "error": None},
    ]
    Path("in.jsonl").write_text("\n".join(map(json.dumps, asked)))
    Path("out.jsonl").write_text("\n".join(map(json.dumps, answers)) + "\n")
    out, err = take("import", "--from", "batch", "out.jsonl", "in.jsonl")
    assert "1 replies taken" in out
    assert "left out: no response" in err
    assert answered(take, {**CHAT, "seed": 1}) == 1
    _, err = take("import", "--from", "batch", "in.jsonl", status=2)
    assert "name both files" in err


def whole(form: str) -> Any:
    """What a form's files hold, in order."""
    if form == "aimock":
        call = {"toolCalls": [{"name": "weather", "arguments": "{}"}]}
        return {
            "fixtures": [
                {"match": {"userMessage": "hello"}, "response": {"content": "Hi."}},
                {"match": {"userMessage": "weather"}, "response": call},
            ]
        }
    if form == "vcrpy":
        uri = "https://api.openai.com/v1/chat/completions"
        return cassette((CHAT, uri, {"string": json.dumps(SAID)}, "application/json"))
    asked = {"custom_id": "r", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    return [asked, {"custom_id": "r", "response": {"status_code": 200, "body": SAID}}]


@pytest.mark.parametrize("form", ["aimock", "batch", "vcrpy"])
def test_whatever_stands_in_a_file_is_left_out_or_named(take: Take, form: str) -> None:
    """Files with changed and missing members: what can be read is taken, or one line says what not."""
    rng = random.Random(form)
    path = Path(f"odd.{'jsonl' if form == 'batch' else 'json'}")
    for _ in range(60):
        value = deepcopy(whole(form))
        for _ in range(rng.choice((1, 1, 2, 3))):
            if found := list(places(value)):
                container, key = rng.choice(found)
                container[key] = deepcopy(rng.choice((*ODD, "{", "null")))
        lines = value if form == "batch" else [value]
        path.write_text("\n".join(map(json.dumps, lines)))
        status = cli.main(["import", "--from", form, str(path)])
        _, err = take("prompts")
        assert status in (0, 2)
        assert status == 0 or len(err.splitlines()) == 1, err
        assert "Traceback" not in err
