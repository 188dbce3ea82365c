"""`precompute record`, `replay` and `why`: a program's model calls, recorded and given back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from demo.standins import StandIns, stand_ins
from precompute import cli
from tests.making import REPO, Precompute, environment, wait_for, write_json

# A program as its own author would write it: it knows nothing of us but the usual variables.
PROGRAM = """
import json, os, sys, urllib.request

def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "text/json"})
    try:
        return json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return {"message": {"content": f"failed: {error}"}}

for text in sys.argv[1:]:
    messages = [{"role": "user", "content": text}]
    body = {"model": "m-1", "messages": messages}
    said = post(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body)
    print((said.get("choices") or [said])[0]["message"]["content"])
    said = post(os.environ["OLLAMA_HOST"] + "/api/chat", {**body, "stream": False})
    print(said["message"]["content"])
"""
LEAVING = """
import socket
try:
    socket.create_connection(("192.0.2.1", 9), timeout=2)
except OSError as error:
    print("no way out:", error)
"""


def settings(models: StandIns) -> dict[str, Any]:
    """The settings by which stand-ins are asked."""
    return {**models.environment()}


Main = Callable[..., tuple[int, str, str]]


@pytest.fixture
def main(
    kitchen: Precompute, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Main:
    """Runs a command in this process: (exit status, what it printed, its errors)."""
    monkeypatch.setenv("TSUKURIOKI_DATA", str(kitchen.folder / "data"))
    monkeypatch.chdir(kitchen.folder)

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(list(words))
        said = capfd.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Precompute:
    """A folder without decks, in which two prompts were recorded."""
    folder = tmp_path_factory.mktemp("kitchen")
    (folder / "program.py").write_text(PROGRAM)
    run = Precompute({"TSUKURIOKI_DATA": folder / "data"})
    with stand_ins() as models:
        words = ("record", "--", sys.executable, "program.py", "hello", "bye")
        done = run(*words, **settings(models))
        assert len(models.asked) == 2 + 2
    assert "4 replies recorded" in done.stderr
    return run


def test_a_program_is_replayed_as_it_was_recorded_with_no_network(kitchen: Precompute) -> None:
    """It prints what it printed, in order, cannot go elsewhere, and keeps its exit status."""
    (kitchen.folder / "leaving.py").write_text(LEAVING)
    script = f"{sys.executable} program.py hello bye && {sys.executable} leaving.py && exit 7"
    done = kitchen("replay", "--", "sh", "-c", script, status=7)
    *said, left = done.stdout.splitlines()
    assert said == [
        "You asked: hello (reply 1)",
        "You asked: hello (reply 2)",
        "You asked: bye (reply 3)",
        "You asked: bye (reply 4)",
    ]
    assert "no way out" in left
    assert "network taken away" in done.stderr
    # Counted by the kernel, or written down by the sockets that refuse.
    assert "to leave" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize("command", ["record", "replay"])
def test_a_killed_session_leaves_no_server(kitchen: Precompute, command: str) -> None:
    """Whoever kills `record` or `replay` outright (SIGKILL) leaves no server running."""
    program = "import os, sys; print(os.environ['TSUKURIOKI_URL'], flush=True); sys.stdin.read()"
    words = ("-m", "precompute", command, "--", sys.executable, "-c", program)
    with subprocess.Popen(
        (sys.executable, *words),
        cwd=kitchen.folder,
        env=environment(PYTHONPATH=REPO, **kitchen.settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as session:
        assert session.stdout
        port = session.stdout.readline().rstrip().rpartition(b":")[2]
        assert servers(port)
        session.kill()
    wait_for(lambda: not servers(port), "the server to end")


def servers(port: bytes) -> list[str]:
    """The ids of the processes that serve at a port, perhaps in a network of their own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if b"TSUKURIOKI_PORT=%b\0" % port in path.read_bytes():
                found.append(path.parent.name)
    return found


def test_what_was_not_recorded_fails_a_replay(kitchen: Precompute) -> None:
    """The program's requests are refused; a program that hides that is told on all the same."""
    script = f"{sys.executable} program.py bye new; true"
    done = kitchen("replay", "--", "sh", "-c", script, status=1)
    assert done.stdout.splitlines()[2:] == ["failed: HTTP Error 404: Not Found"] * 2
    assert "2 exact, 2 missed" in done.stderr


def test_why_explains_a_hit_and_a_miss(main: Main) -> None:
    """A hit with its key; a miss with the nearest recording and each field that differs."""
    request = {"model": "m-1", "messages": [{"role": "user", "content": "hello"}], "user": "me"}
    write_json(Path("hit.json"), request)
    status, out, _ = main("why", "hit.json")
    assert status == 0
    assert "hit: deck recorded answers by the prompt itself" in out
    assert "replies: 2" in out
    for sent_to, body in (
        ("/v1/chat/completions", {**request, "temperature": 0.5}),
        ("/api/chat", {**request, "options": {"temperature": 0.5}}),
        ("/v1beta/models/m-1:generateContent", gemini("hello", temperature=0.5)),
    ):
        write_json(Path("miss.json"), body)
        status, out, _ = main("why", "miss.json", "--path", sent_to, "--json")
        found = json.loads(out)
        assert status == 1
        assert list(found["differs in"]) == ["options.temperature"]
        assert found["differs in"]["options.temperature"] == {"asked": 0.5, "recorded": None}
    _, out, _ = main("why", "miss.json", "--path", sent_to)
    assert "asked:    0.5" in out


def test_what_was_not_kept_is_told_and_explained(kitchen: Precompute, tmp_path: Path) -> None:
    """`record` counts replies that were not kept and faults of upstreams; `why` says it of a prompt."""
    run = Precompute({"TSUKURIOKI_DATA": tmp_path / "data"})
    program = kitchen.folder / "program.py"
    body = {"model": "m-1", "messages": [{"role": "user", "content": "hello"}]}
    write_json(tmp_path / "miss.json", body)
    with stand_ins() as models:
        models.told = lambda question, number: " "
        broken = {**settings(models), "OLLAMA_HOST": "http://127.0.0.1:9"}
        done = run("record", "--", sys.executable, str(program), "hello", **broken)
    assert "0 replies recorded" in done.stderr
    assert "1 empty" in done.stderr.partition("not kept: ")[2]
    assert "1 upstream 502" in done.stderr.partition("not kept: ")[2]
    run("replay", "--", sys.executable, str(program), "hello", status=1)
    done = run("why", str(tmp_path / "miss.json"), status=1)
    assert "not kept: a reply came 1 times and was refused: empty" in done.stdout
    assert "missed: 2 times" in done.stdout


def test_why_reads_requests_as_files_of_prompts_have_them(main: Main) -> None:
    """A body in its envelope, as in batch files; of Gemini's, the path has the model, and it says so."""
    write_json(
        Path("line.json"), {"url": "/v1beta/models/m-1:generateContent", "body": gemini("hello")}
    )
    assert main("why", "line.json")[0] == 0
    write_json(Path("bare.json"), gemini("hello"))
    status, out, _ = main("why", "bare.json")
    assert status == 1
    assert "model: none; a request to Gemini has it in its path: say --path" in out


def test_what_is_recorded_is_listed_and_exported(main: Main, tmp_path: Path) -> None:
    """As JSON Lines, with everything; and as chats for training, in the same form as all decks."""
    status, out, _ = main("prompts")
    listed = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [one["reply"]["choices"][0]["text"] for one in listed if one["variant"] == 1] == [
        "You asked: hello (reply 2)",
        "You asked: bye (reply 4)",
    ]
    words = ("--deck", "recorded", "--format", "openai", "--validation", "0", "--restricted")
    status, _, err = main("export", *words, "--out", str(tmp_path / "chats"))
    assert status == 0, err
    rows = [
        json.loads(line)
        for path in (tmp_path / "chats").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    said = {row["messages"][-1]["content"] for row in rows if "messages" in row}
    assert said == {one["reply"]["choices"][0]["text"] for one in listed}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("build", "--deck", "recorded", "--n", "3"), "nothing in the box can answer prompts"),
        (("build", "--deck", "recorded", "--refresh", "disliked"), "nobody votes"),
        (("rehearse", "--deck", "recorded"), "is no deck of cards"),
        (("talk", "--deck", "recorded"), "no characters"),
    ],
)
def test_what_means_nothing_for_prompts_is_refused(
    main: Main, words: tuple[str, ...], told: str
) -> None:
    status, _, err = main(*words)
    assert status == 2
    assert told in err
    assert "Traceback" not in err


def gemini(text: str, **config: object) -> dict[str, object]:
    """A body of Gemini's clients."""
    contents = [{"role": "user", "parts": [{"text": text}]}]
    return {"contents": contents, "generationConfig": config}


def test_what_is_missing_is_recorded_without_what_is_private(
    kitchen: Precompute, tmp_path: Path
) -> None:
    """--missing replays what is there; what --redact matches is never written, and still found.

    An upstream that fails is passed on with a status, and not kept.
    """
    shutil.copytree(kitchen.folder, tmp_path, dirs_exist_ok=True)
    run = Precompute({"TSUKURIOKI_DATA": tmp_path / "data"})
    private = "mail me at jo@home.example"
    program = ("--", sys.executable, "program.py", "hello", private)
    with stand_ins() as models:
        words = ("record", "--missing", "--redact", r"[\w.]+@[\w.]+", *program)
        broken = {**settings(models), "OLLAMA_HOST": "http://127.0.0.1:9"}
        done = run(*words, **broken)
        assert done.stdout.splitlines()[0] == "You asked: hello (reply 1)"
        assert [private in str(asked) for asked in models.asked] == [True]
    assert "1 replies recorded" in done.stderr
    done = run("replay", *program)
    assert done.stdout.splitlines()[2:] == ["You asked: mail me at *** (reply 1)"] * 2
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not any(b"jo@home" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("why", "nothing.json"), "does not exist"),
        (("why", "program.py"), "not JSON"),
        (("why", "hit.json", "--path", "/nowhere"), "is no path of OpenAI"),
        (("why", "hit.json", "--deck", "poem"), "there is no deck"),
        (("record", "--redact", "(", "--", "true"), "--redact"),
        (("record", "--redact", "x*", "--", "true"), "matches what is empty"),
        (("record",), "COMMAND"),
        (("import", "--from", "aimock", "program.py"), "not JSON"),
        (("import", "--from", "vcrpy", "hit.json"), "cassette"),
        (("import", "--from", "llm", "program.py"), "is no database of llm"),
        (("import", "--from", "batch", "hit.json"), "line 1"),
    ],
)
def test_bad_input_is_told_in_one_line(main: Main, words: tuple[str, ...], told: str) -> None:
    write_json(Path("hit.json"), {"messages": [{"role": "user", "content": "hello"}]})
    status, _, err = main(*words)
    (line,) = err.strip().splitlines()
    assert status == 2
    assert told in line


TESTS = """
import json, os, socket, urllib.request
import pytest

def ask(url, text):
    body = {"model": "m-1", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode())
    return json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]

def test_one(tsukurioki_replay):
    assert ask(os.environ["OPENAI_BASE_URL"], "bye").startswith("You asked: bye")
    assert ask(tsukurioki_replay.openai, "bye").startswith("You asked: bye")
    with pytest.raises(OSError, match="forbidden"):
        socket.create_connection(("192.0.2.1", 9), timeout=2)

def test_other():
    assert "TSUKURIOKI_URL" not in os.environ
"""


@pytest.mark.long
def test_the_fixture_replays_in_somebodys_tests(kitchen: Precompute, tmp_path: Path) -> None:
    """Their tests are answered from their recordings, and go nowhere else."""
    shutil.copytree(kitchen.folder / "data", tmp_path / "recordings")
    (tmp_path / "test_theirs.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntsukurioki_data = recordings\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "precompute.prompts.fixture"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        # Where the package is installed, pytest would load the plugin a second time.
        env=environment(PYTHONPATH=REPO, PYTEST_DISABLE_PLUGIN_AUTOLOAD=1),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
