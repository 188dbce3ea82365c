"""The rooms and the arrows between them, read from the imports, those inside functions too."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
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


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, by its full name, wherever the import stands."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
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


def ids(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(REPO)) for path in paths]


def room_of(path: Path) -> str:
    """The room that a module is in."""
    return next(room for room in ARROWS if within(module_name(path), {room}))


@pytest.mark.parametrize("path", ROOMS, ids=ids(ROOMS))
def test_arrows_point_one_way(path: Path) -> None:
    """A room imports only the rooms that it may: edge, web, kinds, store; nothing of precompute in app."""
    allowed = ARROWS[room_of(path)] | {"app.errors", "app.normal_form", "app.recent"}
    for name in imported(path):
        if within(name, {"app", "precompute", "tests", "bench", "demo"}) and name != "app":
            assert within(name, allowed), name


KINDS = {f"app.kinds.{path.parent.name}" for path in (REPO / "app" / "kinds").glob("*/__init__.py")}


@pytest.mark.parametrize("path", ROOMS, ids=ids(ROOMS))
def test_a_kind_knows_no_other(path: Path) -> None:
    """What two kinds of deck need is in app.kinds itself, so that each kind can be taken out."""
    own = next((kind for kind in KINDS if within(module_name(path), {kind})), None)
    for name in imported(path) if own else ():
        assert not within(name, KINDS - {own or ""}), name


@pytest.mark.parametrize("path", ROOMS, ids=ids(ROOMS))
def test_a_room_uses_few_libraries(path: Path) -> None:
    """A room imports the standard library and what it is built on."""
    allowed = LIBRARIES.get(room_of(path))
    for name in imported(path):
        own = within(name, {"app", "precompute"}) or name.split(".")[0] in sys.stdlib_module_names
        assert own or allowed is None or within(name, allowed), name


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_the_environment_is_read_at_the_edges(path: Path) -> None:
    """Only the server's and the command's outermost modules read the environment."""
    reads = [
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        # A request's WSGI environ is not the process's environment.
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in ("environ", "getenv", "environb")
    ]
    if str(path.relative_to(REPO)) not in READERS:
        assert not reads
    else:
        assert reads


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_every_module_says_what_it_is(path: Path) -> None:
    """Each module begins with a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


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


@pytest.mark.parametrize("path", MODULES, ids=ids(MODULES))
def test_what_a_module_names_is_there(path: Path) -> None:
    """A module, a name in a module, a file or folder that a docstring or comment names exists."""
    for name in NAMED.findall(path.read_text("utf-8")):
        module, _, member = name.rpartition(".")
        parent = REPO.joinpath(*module.split(".")).with_suffix(".py")
        found = (REPO / name).exists() or _is_module(name)
        assert found or (parent.is_file() and member in parent.read_text("utf-8")), name


def test_the_page_of_rooms_has_every_room_and_no_other() -> None:
    """ARCHITECTURE.md lists the packages, and the modules beside them, that there are."""
    rooms = (REPO / "ARCHITECTURE.md").read_text("utf-8").split("```")[1]
    for package in (REPO / "app", REPO / "app" / "kinds", REPO / "precompute"):
        for init in package.glob("*/__init__.py"):
            assert f"{init.parent.name}/" in rooms, init.parent
    for module in re.findall(r"\w+\.py", rooms):
        assert any((REPO / place / module).is_file() for place in ("", "app", "precompute")), module
