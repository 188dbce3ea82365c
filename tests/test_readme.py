"""What the documents say is what the program does, and what they point to is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import unicodedata
from collections import Counter
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import orjson
import pytest

from app.settings import TABLE
from tests.conftest import Serve
from tests.making import REPO, Precompute, environment, free_port, wait_for_port

READMES = [REPO / "README.md", REPO / "README.ja.md"]
DOCUMENTS = sorted([*REPO.glob("*.md"), *REPO.glob("docs/*.md")])
# A path of this repository in backquotes, but for patterns and what a program writes.
_PATH = re.compile(r"`((?:app|bench|demo|deploy|docs|precompute|tests|tools)/[\w./-]+|[\w-]+\.(?:md|toml))`")  # fmt: skip


def name_of(path: Path) -> str:
    """A document's name in a test's id."""
    return str(path.relative_to(REPO))


def outside_code(text: str) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def rows_of(text: str) -> list[list[str]]:
    """The cells of the rows of tables that begin with a name in backquotes."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def anchors(document: Path) -> set[str]:
    """What a link can name in a document, as GitHub makes it from the headings."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(
        r"^#+ (.+)$", outside_code(document.read_text("utf-8")), re.MULTILINE
    ):
        kept = (c for c in heading.lower() if c in " -_" or unicodedata.category(c)[0] in "LNM")
        name = "".join(kept).strip().replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


@pytest.mark.parametrize("language", ["md", "ja.md"])
def test_every_setting_is_documented(language: str) -> None:
    """docs/settings lists the settings that there are, each once, with its default."""
    rows = rows_of((REPO / "docs" / f"settings.{language}").read_text("utf-8"))
    expected = sorted((f"`{row.name}`", f"`{row.default}`" if row.default else "") for row in TABLE)
    assert sorted((cells[0], cells[1]) for cells in rows) == expected


def test_settings_mean_what_the_table_says() -> None:
    """A setting's meaning is the same sentence in docs/settings.md and in the table of the code."""
    rows = rows_of((REPO / "docs" / "settings.md").read_text("utf-8"))
    assert {cells[0]: cells[2] for cells in rows} == {f"`{r.name}`": r.meaning for r in TABLE}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    """A link to a file of the repository finds it, and its heading where it names one."""
    text = outside_code(document.read_text("utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_paths_that_are_named_are_there(document: Path) -> None:
    """A path of the repository that a document names in backquotes is there."""
    missing = [p for p in _PATH.findall(document.read_text("utf-8")) if not (REPO / p).exists()]
    assert missing == []


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d.name.endswith(".ja.md")], ids=name_of
)
def test_both_languages_say_the_same(document: Path) -> None:
    """A Japanese document has its English one's sections, tables, commands and links."""
    japanese = document.read_text("utf-8")
    english = document.with_name(document.name.replace(".ja.md", ".md")).read_text("utf-8")
    for pattern in (r"^#+ ", r"^\|", r"^```", r"\]\("):
        found = [len(re.findall(pattern, text, re.MULTILINE)) for text in (english, japanese)]
        assert found[0] == found[1], pattern
    named = [
        {name for name in re.findall(r"`([A-Z_]{8,})\b", text) if "_" in name}
        for text in (english, japanese)
    ]
    assert named[0] == named[1]


# Ports of this machine that are another program's: of Ollama, LM Studio and Valkey.
_OTHERS = {"11434", "1234", "6379"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_ports_are_the_servers_own(document: Path) -> None:
    """A reader who opens an address of this machine finds the server there, as it starts by default."""
    ports = re.findall(r"(?:localhost|127\.0\.0\.1):(\d+)", document.read_text("utf-8"))
    default = next(row.default for row in TABLE if row.name == "TSUKURIOKI_PORT")
    assert set(ports) - _OTHERS <= {default}


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_the_answer_and_the_figures_shown_are_given(
    readme: Path, precompute: Precompute, serve: Serve
) -> None:
    """The poem in the README is what its request gets, the figures what the commands above print."""
    text = readme.read_text(encoding="utf-8")
    commands, shown = text.split("$ precompute stats\n")
    precompute(*commands.rsplit("$ precompute ", 1)[1].split())
    printed = [line.rstrip() for line in precompute("stats").stdout.splitlines()]
    assert shown.split("```")[0].splitlines() == printed
    body = text.split("-d '")[1].split("'")[0]
    with serve().client() as client:
        answer = client.post("/api/decks/poem/answer", json=orjson.loads(body)).json()
    quoted = [line[2:] for line in text.splitlines() if line.startswith("> ") and line != ">"]
    assert quoted == [f"**{answer['title']}**", *answer["poem"].split("\n\n")]
    assert f'`"tier":"{answer["tier"]}","source":"{answer["source"]}"`' in text


@pytest.mark.parametrize("name", ["security.md", "security.ja.md"])
def test_every_promise_names_a_test_that_exists(name: str) -> None:
    """The tests that docs/security names as holding its promises are there."""
    named = set(re.findall(r"`(test_\w+)`", (REPO / "docs" / name).read_text("utf-8")))
    sources = "".join(p.read_text("utf-8") for p in (REPO / "tests").rglob("test_*.py"))
    assert len(named) > 10
    assert named <= set(re.findall(r"def (test_\w+)", sources))


def commands_of(readme: Path) -> list[str]:
    """The blocks of commands of a document."""
    return re.findall(r"^```sh\n(.*?)^```$", readme.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_both_readmes_have_the_same_commands() -> None:
    """What is to be typed is the same in both languages, but for the comments."""
    bare = [re.sub(r" +#.*", "", "".join(commands_of(readme))) for readme in READMES]
    assert bare[0] == bare[1]


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not there")
def test_the_commands_run_as_they_stand_in_a_fresh_shell(tmp_path: Path) -> None:
    """Each block of commands of the README, in a shell of its own, in the order of the page."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "decks").symlink_to(REPO / "data" / "decks")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    if not (tmp_path / ".venv" / "bin" / "activate").exists():
        pytest.skip("the tests do not run in a virtual environment")
    port = free_port()
    # Nothing of ours on the path: what a block needs, it must say.
    fresh = {**environment(TSUKURIOKI_PORT=port, HOME=tmp_path), "PATH": "/usr/bin:/bin"}
    run = partial(subprocess.run, env=fresh, capture_output=True, text=True, check=False)
    install, asked, *rest = commands_of(READMES[0])
    for line in install.splitlines():
        goal = line.partition("#")[0].split()
        assert goal[0] == "make"
        assert run(["make", "--dry-run", *goal[1:]], cwd=REPO).returncode == 0
    for block in rest:
        cook, served, _ = block.rstrip().partition("TSUKURIOKI_DATA=")
        done = run(["bash", "-euc", cook], cwd=tmp_path)
        assert done.returncode == 0, (cook, done.stderr)
        if served:
            last = block.rstrip().splitlines()[-1]
            script = f". .venv/bin/activate; {last.replace('python', 'exec python')}"
            shell = ["bash", "-euc", script]
            with subprocess.Popen(shell, cwd=tmp_path, env=fresh, stderr=subprocess.PIPE) as server:
                wait_for_port(port)
                done = run(["bash", "-euc", asked.replace(":8000", f":{port}")], cwd=tmp_path)
                server.terminate()
            assert done.returncode == 0, done.stderr
            assert done.stdout.count('"tier":"exact"') == 1
            assert '"mode":"stocked"' in done.stdout
