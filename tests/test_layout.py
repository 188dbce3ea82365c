"""The rooms and the arrows between them, read from the imports, those inside functions too."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app import settings
from tests.making import REPO, environment

MODULES = sorted(
    [REPO / "wsgi.py", *(REPO / "app").rglob("*.py"), *(REPO / "precompute").rglob("*.py")]
)
# What each room may import of the others; app.errors, app.normal_form and app.recent are everybody's.
ARROWS = {
    "app.store": {"app.store"},
    "app.ledger": {"app.ledger", "app.store"},
    "app.providers": {"app.providers", "app.store"},
    "app.kinds": {"app.kinds", "app.providers", "app.ledger", "app.store", "app.settings"},
    "app.web": {"app.web", "app.kinds", "app.providers", "app.ledger", "app.store", "app.settings"},
    "app.edge": {"app.edge", "app.web", "app.kinds", "app.ledger", "app.store", "app.settings"},
    "precompute": {
        "precompute", "app.launch", "app.kinds", "app.providers", "app.ledger", "app.store", "app.settings",
    },
}  # fmt: skip
# What each room may import besides the standard library; a provider imports its own client.
LIBRARIES = {
    "app.store": {"orjson", "xxhash", "lmdb", "redis"},
    "app.ledger": {"orjson", "xxhash"},
    "app.kinds": {"orjson", "xxhash", "re2", "rfc8785", "jsonschema_rs"},
    "app.web": {"flask", "werkzeug", "whitenoise", "orjson", "xxhash"},
    "app.edge": {"granian", "werkzeug", "orjson", "xxhash"},
    "precompute": {
        "click", "rich", "orjson", "xxhash", "lmdb", "psutil", "httpx", "ollama", "torch",
        "transformers", "trl", "peft", "datasets", "yaml", "pytest", "openpyxl", "jinja2", "brotli",
        "packaging", "flask", "werkzeug",
    },
}  # fmt: skip
# The bundle's wheels are built by a child, which is handed the environment with one more variable.
READERS = {"wsgi.py", "app/start.py", "precompute/cli.py", "precompute/commands/common.py"}
# pytest loads the fixture by itself.
READERS |= {"precompute/prompts/fixture.py"}
READERS |= {"precompute/event/wheels.py"}
ROOMS = [path for path in MODULES if path.parent not in (REPO, REPO / "app")]


def module_name(path: Path) -> str:
    parts = path.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree(path: Path) -> ast.Module:
    """A module's syntax."""
    return ast.parse(path.read_text("utf-8"))


@cache
def imported(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, by its full name, wherever the import stands."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            for alias in node.names:
                if _is_module(f"{stem}.{alias.name}"):
                    yield f"{stem}.{alias.name}"


def _is_module(name: str) -> bool:
    path = REPO.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def room_of(path: Path) -> str:
    """The room that a module is in."""
    return next(room for room in ARROWS if within(module_name(path), {room}))


# One test for each rule, not for each module: 1,800 tests took longer than what they ask.
def test_arrows_point_one_way() -> None:
    """A room imports only the rooms that it may: edge, web, kinds, store; nothing of precompute in app."""
    wrong = [
        (module_name(path), name)
        for path in ROOMS
        for name in imported(path)
        if within(name, {"app", "precompute", "tests", "bench", "demo"})
        and name != "app"
        and not within(
            name, ARROWS[room_of(path)] | {"app.errors", "app.normal_form", "app.recent"}
        )
    ]
    assert wrong == []


KINDS = {f"app.kinds.{path.parent.name}" for path in (REPO / "app" / "kinds").glob("*/__init__.py")}


def test_a_kind_knows_no_other() -> None:
    """What two kinds of deck need is in app.kinds itself, so that each kind can be taken out."""
    wrong = [
        (module_name(path), name)
        for path in ROOMS
        for own in KINDS
        if within(module_name(path), {own})
        for name in imported(path)
        if within(name, KINDS - {own})
    ]
    assert wrong == []


def test_a_room_uses_few_libraries() -> None:
    """A room imports the standard library and what it is built on."""
    wrong = [
        (module_name(path), name)
        for path in ROOMS
        if room_of(path) in LIBRARIES
        for name in imported(path)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not within(name, {"app", "precompute"} | LIBRARIES[room_of(path)])
    ]
    assert wrong == []


def reads_the_environment(path: Path) -> bool:
    """Whether a module asks for the process's environment; a request's WSGI environ is another."""
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in ("environ", "getenv", "environb")
        for node in ast.walk(tree(path))
    )


def test_the_environment_is_read_at_the_edges() -> None:
    """Only the server's and the command's outermost modules read the environment."""
    assert {
        str(path.relative_to(REPO)) for path in MODULES if reads_the_environment(path)
    } == READERS


def test_every_module_says_what_it_is() -> None:
    """Each module begins with a docstring."""
    assert [module_name(path) for path in MODULES if not ast.get_docstring(tree(path))] == []


@pytest.mark.parametrize(
    ("module", "without"),
    [
        (
            "precompute.cli",
            ["flask", "granian", "whitenoise", "ollama", "google.genai"],
        ),
        ("app", ["app.web", "flask", "orjson"]),
        ("wsgi", ["precompute", "rich", "ollama", "google.genai", "google.generativeai", "openai"]),
        ("app.store.index", ["flask", "click", "rich"]),
    ],
)
def test_a_room_loads_only_what_it_needs(module: str, without: list[str], tmp_path: Path) -> None:
    """Importing a room does not import what only another room needs."""
    code = f"import sys, {module}; print([m for m in {without!r} if m in sys.modules])"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPO,
        env=environment(TSUKURIOKI_DECKS=REPO / "data" / "decks", TSUKURIOKI_DATA=tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "[]\n"


def test_the_table_of_settings_is_whole() -> None:
    """Each setting has a name of its own, a meaning, a default that can be read, and a field."""
    names = [row.name for row in settings.TABLE]
    assert len(set(names)) == len(names)
    # Ours, and the names that people already have.
    ours = ("TSUKURIOKI_", "GEMINI_", "GOOGLE_", "OLLAMA_", "OPENAI_")
    assert all(row.meaning and row.name.startswith(ours) for row in settings.TABLE)
    assert settings.Settings.read({})


NAMED = re.compile(r"`((?:app|precompute|tests)[./][\w./]+)`")


def is_there(name: str) -> bool:
    """Whether it is a file, a folder, a module, or stands in the module before its last part."""
    module, _, member = name.rpartition(".")
    parent = REPO.joinpath(*module.split(".")).with_suffix(".py")
    found = (REPO / name).exists() or _is_module(name)
    return found or (parent.is_file() and member in parent.read_text("utf-8"))


def test_what_a_module_names_is_there() -> None:
    """A module, a name in a module, a file or folder that a docstring or comment names exists."""
    named = [(path, name) for path in MODULES for name in NAMED.findall(path.read_text("utf-8"))]
    assert len(named) > 10
    assert [(module_name(path), name) for path, name in named if not is_there(name)] == []


def test_the_page_of_rooms_has_every_room_and_no_other() -> None:
    """ARCHITECTURE.md lists the packages, and the modules beside them, that there are."""
    rooms = (REPO / "ARCHITECTURE.md").read_text("utf-8").split("```")[1]
    for package in (REPO / "app", REPO / "app" / "kinds", REPO / "precompute"):
        for init in package.glob("*/__init__.py"):
            assert f"{init.parent.name}/" in rooms, init.parent
    for module in re.findall(r"\w+\.py", rooms):
        assert any((REPO / place / module).is_file() for place in ("", "app", "precompute")), module
