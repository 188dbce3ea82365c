"""`precompute models` with Ollama's own client, against a server that speaks Ollama's protocol."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.errors import PlanError
from precompute import cli
from precompute.models.modelfile import read_modelfile
from tests.making import free_port
from tests.precompute.export.kit import Place
from tests.precompute.models.standin import Ollama, serving

pytest.importorskip("ollama", reason="ollama is missing; pip install 'tsukurioki[build]'")


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    with serving() as state:
        yield state


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, {})


@pytest.mark.long
def test_a_model_from_fetching_to_removing(place: Place, ollama: Ollama) -> None:
    """Fetch, list, show, copy, see loaded, unload, remove: each says what it did."""

    def run(*arguments: str) -> str:
        done = place.run("models", *arguments, OLLAMA_HOST=ollama.url)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "gemma2:2b is there" in run("pull", "gemma2:2b")
    assert "gemma2:2b" in run("list")
    assert "379 MiB  494M  Q4_K_M" in run("list")
    assert "{{ .Prompt }}" in run("show", "qwen2.5:0.5b")
    run("copy", "qwen2.5:0.5b", "mine")
    assert "515 MiB" in run("ps")
    run("unload", "qwen2.5:0.5b")
    assert "0 models loaded" in run("ps")
    run("remove", "mine")
    assert set(ollama.models) == {"qwen2.5:0.5b", "gemma2:2b"}


def test_a_model_with_a_characters_voice(place: Place, ollama: Ollama) -> None:
    """A model is made of another one with a persona as its system text."""
    done = place.run(
        "models", "create", "botan", "--from", "qwen2.5:0.5b", "--deck", "chat",
        "--character", "botan", OLLAMA_HOST=ollama.url,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ollama.created[0]["from"] == "qwen2.5:0.5b"
    assert "牡丹" in ollama.created[0]["system"]


def test_a_merged_folder_becomes_a_model(place: Place, ollama: Ollama, tmp_path: Path) -> None:
    """All files of a merged model are sent with their digests, and its template by its marks."""
    merged = tmp_path / "merged"
    merged.mkdir()
    (merged / "config.json").write_text("{}")
    (merged / "model.safetensors").write_bytes(random.Random(1).randbytes(100_000))
    (merged / "chat_template.jinja").write_text("{{ '<|im_start|>' }}")
    done = place.run("models", "create", "mine", "--from", merged, OLLAMA_HOST=ollama.url)
    assert done.returncode == 0, done.stderr
    made = ollama.created[0]
    assert set(made["files"]) == {"config.json", "model.safetensors", "chat_template.jinja"}
    for name, digest in made["files"].items():
        assert ollama.blobs[digest.removeprefix("sha256:")] == (merged / name).read_bytes()
    assert "<|im_start|>assistant" in made["template"]
    assert made["parameters"]["stop"] == ["<|im_end|>"]
    assert made["parameters"]["temperature"] == 0.8
    assert made["parameters"]["num_ctx"] == 4096


FAULTS: dict[str, tuple[tuple[str, ...], tuple[int, str] | None, str]] = {
    "unknown to show": (("show", "x"), None, "has no model 'x'"),
    "unknown to copy": (("copy", "x", "y"), None, "has no model 'x'"),
    "unknown to remove": (("remove", "x"), None, "has no model 'x'"),
    "unknown to unload": (("unload", "x"), None, "has no model 'x'"),
    "unknown to make from": (("create", "y", "--from", "x"), None, "has no model"),
    "busy": (("list",), (503, "server busy"), "server busy (503)"),
    "memory": (("show", "x"), (500, "model requires more system memory"), "more system memory"),
    "markup": (("list",), (500, "[red]oh[/INST]"), "[red]oh[/INST]"),
    "an unknown character": (
        ("create", "y", "--from", "x", "--deck", "chat", "--character", "z"), None, "not 'z'"
    ),
    "a deck without characters": (
        ("create", "y", "--from", "x", "--deck", "poem"), None, "no characters"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_a_sentence(place: Place, ollama: Ollama, fault: str) -> None:
    """What goes wrong ends with status 2, one line, and no traceback."""
    arguments, ollama.fault, said = FAULTS[fault]
    done = place.run("models", *arguments, OLLAMA_HOST=ollama.url)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


# Replies of servers that are no Ollama, or that stopped in the middle.
STRANGE = (
    b"", b"<html></html>", b"[1]", b"3", b'{"models": null}', b'{"models": [{"a": 5}', b'{"a": 1}\n{"b"',
    b'{"status": "pulling manifest"}',
)  # fmt: skip


@pytest.mark.parametrize("raw", STRANGE)
def test_what_is_no_ollama_is_a_sentence(
    ollama: Ollama, raw: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever comes with status 200, each command succeeds or says in one line what answered."""
    monkeypatch.setenv("OLLAMA_HOST", ollama.url)
    ollama.fault = 200, raw
    failed = 0
    for words in (("list",), ("ps",), ("show", "x"), ("pull", "x"), ("unload", "x"),
                  ("create", "y", "--from", "x")):  # fmt: skip
        status = cli.main(["models", *words])
        error = capsys.readouterr().err.strip().splitlines()
        assert status in (0, 2)
        assert status == 0 or "is no Ollama" in error[-1] or "ended before" in error[-1]
        assert status == 2 or words[0] not in ("pull", "create")
        failed += status == 2
    assert failed >= 2


@pytest.mark.parametrize("command", [("list",), ("pull", "x"), ("unload", "x"), ("ps",)])
def test_where_no_ollama_is(place: Place, command: tuple[str, ...]) -> None:
    """A server that is not there is named with what to do."""
    done = place.run("models", *command, OLLAMA_HOST=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 2
    assert "start it, or set OLLAMA_HOST" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_fits_a_small_server(place: Place) -> None:
    """On 2 GB the smallest model fits beside the server, and none of 7 billion does."""
    done = place.run("models", "fit", "--memory-mb", 2048)
    assert done.returncode == 0
    fits = {line.split()[0]: "does not" not in line for line in done.stdout.splitlines()[1:]}
    assert fits["qwen2.5:0.5b"]
    assert not fits["qwen2.5:7b"]


def test_modelfiles_are_read(tmp_path: Path) -> None:
    """FROM, long and short texts, numbers and repeated stops; a system text given counts first."""
    path = tmp_path / "Modelfile"
    path.write_text(
        '# a comment\nFROM qwen2.5:0.5b\nSYSTEM """two\nlines"""\nPARAMETER temperature 0.8\n'
        'PARAMETER num_ctx 4096\nPARAMETER stop "<a>"\nPARAMETER stop <b>\nTEMPLATE "{{ .Prompt }}"\n',
        "utf-8",
    )
    made = read_modelfile(str(path))
    assert made.arguments == {
        "from_": "qwen2.5:0.5b",
        "system": "two\nlines",
        "template": "{{ .Prompt }}",
        "parameters": {"temperature": 0.8, "num_ctx": 4096, "stop": ["<a>", "<b>"]},
    }
    assert read_modelfile(str(path), "another").arguments["system"] == "another"


@pytest.mark.parametrize(
    "text",
    ["", "SYSTEM x", "FROM", "FORM x", 'FROM x\nSYSTEM """never closed', "ADAPTER a\nFROM x"],
)
def test_a_wrong_modelfile_is_named(tmp_path: Path, text: str) -> None:
    """A Modelfile that cannot be read is an error of one sentence."""
    path = tmp_path / "Modelfile"
    path.write_text(text, "utf-8")
    with pytest.raises(PlanError, match="Modelfile"):
        read_modelfile(str(path))
