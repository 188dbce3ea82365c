"""Wrong values for every option and argument of every command, made from click's own list of them.

Whatever is typed: no exception, exit status 2 with one line that begins with the program's name, and
what is on the disk stays as it is. A command or an option that is added is tried without a line here;
only a new command needs its row in `RIGHT`.
"""

from __future__ import annotations

import io
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import click
import orjson
import pytest

from precompute.cli import cli, main
from precompute.commands.types import WrittenFile
from tests.making import DECKS, PATIENCE, REPO, environment

MUSEUM_TEXT = {
    "picks": [["card-001", "card-001-a"], ["card-006", "card-006-a"], ["card-021", "card-021-a"]],
    "title": "A Second Look",
    "text": "At noon, by its own account, the kitchen voted for independence.\n"
    "Somebody passed round the soup, once, and nobody was offered more. The talk turned to other "
    "shores, and everyone agreed to sail there after lunch.\n"
    "It was never settled when lunch would be.",
}
# Words with which each command is right, or ends before it has done anything: with a port that is
# taken, a program that does not exist, a service that does not answer.
RIGHT = {
    "export": "--format trl --out new-set",
    "train": "--out model --recipe bad/page.html",
    "evaluate": "--data sets --provider store --n 1",
    "models list": "",
    "models ps": "",
    "models show": "m",
    "models pull": "m",
    "models create": "m --from n",
    "models copy": "a b",
    "models remove": "a",
    "models unload": "a",
    "models fit": "",
    "talk": "--deck pepper",
    "publish": "--static edition",
    "why": "request.json",
    "record": "--redact ( -- /nowhere/program",
    "replay": "-- /nowhere/program",
    "import": "--from aimock fixtures.json",
    "prompts": "",
    "new-deck": "fresh --language en --hand 3",
    "cards export": "tables",
    "cards import": "sheets",
    "preview": "--port {port}",
    "bundle": "new.tar",
    "verify": "good.tar",
    "unpack": "good.tar",
    "rollback": "",
    "review": "--terminal",
    "review export": "new.csv",
    "review import": "texts.csv",
    "compact": "",
    "build": "--n 1 --provider written",
    "stats": "",
    "rehearse": "--plays 3",
    "check": "",
}
# Exit statuses: of a slip, of a file that was read and is wrong, of what may be right.
SLIP, FAULTY, ANY = (2,), (1, 2), (0, 1, 2)
# Of another program, which may have any words.
ANOTHERS = "command"
NUMBERS = ("", "x", "1,000", "0x10", "9" * 30, "9" * 5000)
WHOLE = (*NUMBERS, "1.5")
FLOATS = (*NUMBERS[:4], "nan", "inf", "-inf", "1e999", "-1")
CHOICES = ("", "nobody", "x" * 5000)
TEXTS = ("", " ", "../..", "http://[(\n💥")
NO_FILES = ("", "missing/below", "x" * 300, "good.tar/below", "loop")
# No file that a command reads is one of these.
BAD = {
    "empty": b"",
    "binary": bytes(range(256)) * 40,
    "page.html": b"<html>Bad Gateway</html>",
    "list.json": b"[1, null, {}]",
    "deep.json": b"[" * 5_000,
    "deep.yaml": b"[" * 5_000,
    "day.yaml": b"2026-13-45",
    "binary.csv": bytes(range(256)) * 40,
    "binary.xlsx": bytes(range(256)) * 40,
    "utf16.csv": "category,card".encode("utf-16"),
}
# Nothing is lost with an empty file, and of a list an import takes what it can.
MAYBE = ("empty", "list.json")


def leaves(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, by their words."""
    if isinstance(command, click.Group):
        if command.invoke_without_command:
            yield " ".join(words), command
        for name, inner in command.commands.items():
            yield from leaves(inner, (*words, name))
    else:
        yield " ".join(words), command


cli.load()
COMMANDS = dict(leaves(cli))


@dataclass(frozen=True)
class Said:
    """What a command exited with and said."""

    status: int
    out: str
    err: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a deck of each kind, a store, and a file of each kind that commands read."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patched, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for name in set(os.environ) - set(environment()):
            patched.delenv(name)
        patched.setenv("COLUMNS", "200")
        patched.setenv("TSUKURIOKI_DATA", "data")
        patched.setenv("TSUKURIOKI_DECK", "museum")
        patched.setenv("OLLAMA_HOST", "http://127.0.0.1:9")
        patched.setenv("PORT_TAKEN", str(taken.getsockname()[1]))
        patched.chdir(folder)
        museum = folder / "data" / "decks" / "museum"
        right(f"new-deck museum --language en --hand 3 --from {REPO / 'docs' / 'museum.csv'}")
        right("new-deck pepper --kind chat --language en")
        right("new-deck welcome --kind prompts --language en")
        (museum / "written.jsonl").write_bytes(orjson.dumps(MUSEUM_TEXT))
        shutil.copy(DECKS / "poem" / "training.json", museum)
        for words in ("build --n 5 --provider written", "bundle good.tar", "cards export sheets",
                      "export --format trl --out sets", "review export texts.csv", "unpack good.tar",
                      "rehearse --plays 3"):  # fmt: skip
            right(words)
        message = {"role": "user", "content": "hi"}
        (folder / "request.json").write_bytes(orjson.dumps({"model": "m", "messages": [message]}))
        fixture = {"match": {"userMessage": "a"}, "response": {"content": "b"}}
        (folder / "fixtures.json").write_bytes(orjson.dumps({"fixtures": [fixture]}))
        for name, data in BAD.items():
            (folder / "bad" / name).parent.mkdir(exist_ok=True)
            (folder / "bad" / name).write_bytes(data)
        (folder / "loop").symlink_to("loop")
        yield folder


def right(words: str) -> None:
    """Run a command that must end well."""
    said = run(words.split())
    assert said.status == 0, (words, said)


def run(words: Sequence[str]) -> Said:
    """Run a command in this process, with nothing to read from its standard input."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patched:
        patched.setattr("sys.stdin", io.StringIO())
        status = main(list(words))
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode())
    return Said(status, texts[0], texts[1].splitlines())


@dataclass(frozen=True)
class Tried:
    """Words to be tried, and the statuses with which the command may end."""

    words: list[str]
    statuses: tuple[int, ...]


def tried(name: str) -> Iterator[Tried]:
    """Everything that is wrong with the words of a command, one thing at a time."""
    command = COMMANDS[name]
    base = RIGHT[name].format(port=os.environ["PORT_TAKEN"]).split()
    yield Tried(["--no-such-option", *base], SLIP)
    if not any(isinstance(p, click.Argument) and p.nargs == -1 for p in command.params):
        yield Tried([*base, "one", "more", "still"], SLIP)
    for param in command.params:
        if isinstance(param, click.Argument):
            if param.name != ANOTHERS:
                yield Tried(
                    [word for word in base if word not in _values(command, base, param)], SLIP
                )
        elif getattr(param, "is_flag", False):
            yield Tried([f"{param.opts[0]}=yes", *base], SLIP)
            continue
        else:
            yield Tried([param.opts[0]], SLIP)
        for value, statuses in values(param):
            yield Tried(_with(command, base, param, value), statuses)


def values(param: click.Parameter) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Values for a parameter, and the statuses with which the command may end."""
    if param.name == ANOTHERS:
        return
    kind = param.type
    if isinstance(kind, (click.IntRange, click.FloatRange)):
        whole = isinstance(kind, click.IntRange)
        yield from ((value, SLIP) for value in (WHOLE if whole else FLOATS))
        if kind.min is not None:
            yield str(kind.min - 1), SLIP
        if kind.max is not None:
            yield str(kind.max + 1), SLIP
    elif isinstance(kind, click.Choice):
        yield from ((value, ANY if value in kind.choices else SLIP) for value in CHOICES)
    elif isinstance(kind, click.Path):
        yield from ((value, SLIP if kind.exists or not value else ANY) for value in NO_FILES)
        if not kind.file_okay:
            yield "request.json", SLIP
        elif not kind.dir_okay:
            yield "data/decks", SLIP
        bad = SLIP if isinstance(kind, WrittenFile) else FAULTY if kind.exists else ANY
        yield from ((f"bad/{name}", ANY if name in MAYBE else bad) for name in BAD)
    else:
        yield from ((value, ANY) for value in TEXTS)
    yield "a\udcffb", SLIP


def _values(command: click.Command, base: list[str], param: click.Argument) -> list[str]:
    """The words of `base` that an argument takes."""
    context = command.make_context("x", list(base), resilient_parsing=True)
    found = context.params[str(param.name)]
    return [str(one) for one in found] if isinstance(found, tuple) else [str(found)]


def _with(command: click.Command, base: list[str], param: click.Parameter, value: str) -> list[str]:
    """The words with another value for a parameter."""
    if isinstance(param, click.Argument):
        old = _values(command, base, param)[0]
        return [value if word == old else word for word in base]
    words = list(base)
    if param.opts[0] in words:
        words[words.index(param.opts[0]) + 1] = value
        return words
    return [param.opts[0], value, *words]


def on_disk() -> dict[str, bytes]:
    """All files below this folder that a person would miss: no index and no lock."""
    return {
        str(path): path.read_bytes()
        for path in Path().rglob("*")
        if path.is_file() and ".lmdb" not in path.name and path.suffix != ".lock"
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("export --check sets/train.jsonl --out new-set", "--out means nothing beside --check"),
        ("train --write-recipe new.yaml --out model", "--out means nothing beside --write-recipe"),
        ("evaluate --count request.json --n 3", "--n means nothing beside --count"),
        ("evaluate --data sets --provider store --model m", "--model is for a provider"),
        ("evaluate --data sets --provider store --judge-model m", "--judge-model is the model of"),
        ("stats --merge data --misses", "--misses means nothing beside --merge"),
        ("review --terminal --port 9", "--port means nothing beside --terminal"),
        ("review --terminal export new.csv", "--terminal means nothing beside export"),
        ("review --source written", "--source is for --terminal"),
        ("record --deck nowhere -- true", "there is no deck 'nowhere'"),
        ("record --deck museum -- true", "is not a deck of prompts"),
        ("bundle new.tar --python 3.11", "add --wheels"),
        ("build --n 1 --take", "--take"),
        ("build --n 1 --provider written --batch", "--batch"),
        ("new-deck fresh --language en --kind chat --hand 3", "--hand means nothing"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words: str, told: str, made: Path) -> None:
    """Who gives an option that has no meaning beside another hears it, and nothing is done."""
    before = on_disk()
    said = run(words.split())
    assert (said.status, len(said.err)) == (2, 1), said
    assert told in said.err[0]
    assert on_disk() == before


ADDRESSES = ("TSUKURIOKI_GEMINI_BASE_URL", "OLLAMA_HOST", "OPENAI_BASE_URL", "TSUKURIOKI_LINE_BASE_URL")  # fmt: skip


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize("value", ["http://[", "http://h:port", "h:99999", "http://h\n", "a b"])
def test_an_address_that_is_none_is_a_sentence(
    name: str, value: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Client libraries raise for it as soon as they are loaded: every command names the setting first."""
    monkeypatch.setenv(name, value)
    for words in ("models list", "stats", "build --n 1 --provider ollama --model m"):
        said = run(words.split())
        assert (said.status, said.out, len(said.err)) == (2, "", 1), said
        assert said.err[0].startswith(f"precompute: {name}="), said


@pytest.mark.parametrize("words", ["preview --port", "review --no-open --port"])
def test_a_port_that_is_taken_is_a_sentence(words: str, made: Path) -> None:
    """A second page on the same port: what is wrong and which option names another."""
    said = run([*words.split(), os.environ["PORT_TAKEN"]])
    assert (said.status, len(said.err)) == (2, 1), said
    assert said.err[0].startswith(f"precompute: port {os.environ['PORT_TAKEN']}: ")
    assert "--port" in said.err[0]


# They start processes of their own, or end before they write.
WRITE_NOTHING = ("record", "replay", "preview", "train")


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in WRITE_NOTHING])
def test_no_room_on_the_disk_costs_nothing(name: str, made: Path, tmp_path: Path) -> None:
    """No file can be written: one line that says so, no table in half, and all that was there is there."""
    clean = tmp_path / "clean"
    shutil.copytree(made, clean, symlinks=True)
    before = on_disk()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        said = run([*name.split(), *RIGHT[name].split()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    after = on_disk()
    assert {path for path in before if after.get(path) != before[path]} == set()
    assert not {path for path in after.keys() - before.keys() if path.endswith(".csv")}
    assert said.status in ANY
    if said.status == 2:
        lines = [line for line in said.err if not line.startswith("provider: ")]
        assert len(lines) == 1, said
        assert "precompute: file:" not in lines[0]
        assert len(lines[0]) < 500, said
    restore(made, clean)


@pytest.mark.parametrize("encoding", ["ascii", "euc-jp", "utf-8"])
def test_a_terminal_of_another_encoding_stops_no_command(encoding: str, made: Path) -> None:
    """What cannot be shown is shown as an escape, what cannot be read as a mark: no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "precompute", "talk", "--deck", "pepper"],
        cwd=made,
        env={
            **environment(PYTHONIOENCODING=encoding, TSUKURIOKI_DATA="data"),
            "PYTHONPATH": str(REPO),
        },
        input="ただいま 💥 ".encode() + b"\xff\xfe\nhello\n",
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 2


def test_every_command_has_its_row() -> None:
    """A new command is tried as soon as it has words with which it is right."""
    assert set(RIGHT) == set(COMMANDS)


def restore(folder: Path, clean: Path) -> None:
    """Make a folder what its copy is."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shutil.copytree(clean, folder, symlinks=True, dirs_exist_ok=True)


def _changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize("name", RIGHT)
def test_a_slip_is_one_line_and_costs_nothing(name: str, made: Path, tmp_path: Path) -> None:
    """Every wrong value of every option: status 2, one line, nothing changed on the disk."""
    clean = tmp_path / "clean"
    shutil.copytree(made, clean, symlinks=True)
    before = on_disk()
    for one in tried(name):
        said = run([*name.split(), *one.words])
        lines = [line for line in said.err if not line.startswith("provider: ")]
        told = (one.words, said)
        assert said.status in one.statuses, told
        assert all(len(line) < 1200 for line in lines), told
        if said.status == 2:
            assert len(lines) == 1, told
            assert lines[0].startswith("precompute: "), told
        after = on_disk()
        if said.status == 2:
            assert _changed(before, after) == set(), told
        assert before.keys() <= after.keys(), told
        if after != before:
            restore(made, clean)
