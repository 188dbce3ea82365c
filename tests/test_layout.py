"""The rooms and the arrows between them, read from the imports, those inside functions too."""

from __future__ import annotations

import ast
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
CORE = [path for path in MODULES if (REPO / "app" / "core") in path.parents]
PRECOMPUTE = [path for path in MODULES if (REPO / "precompute") in path.parents]
APP = [path for path in MODULES if (REPO / "app") in path.parents]
# The bundle's wheels are built by a child, which is handed the environment with one more variable.
READERS = {"wsgi.py", "app/__main__.py", "app/counters.py", "precompute/cli.py"}
READERS |= {"precompute/event/pack.py"}
# The rehearsal climbs the ladder, merging and stats add up counters, the command publishes to Redis.
KNOWS_MORE = {
    "rehearse.py": {"app.tiers"},
    "merge.py": {"app.counters"},
    "stats.py": {"app.counters"},
    "cli.py": {"app.indexes"},
}


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


@pytest.mark.parametrize("path", APP, ids=ids(APP))
def test_what_runs_at_the_event_does_not_know_what_runs_before(path: Path) -> None:
    """No module of app imports precompute."""
    assert not [name for name in imported(path) if within(name, {"precompute", "tests", "bench"})]


@pytest.mark.parametrize("path", CORE, ids=ids(CORE))
def test_the_core_is_pure(path: Path) -> None:
    """app.core imports the standard library, orjson, xxhash, lmdb, re2, app.errors and itself."""
    allowed = {"orjson", "xxhash", "lmdb", "re2", "app.errors", "app.core"}
    impure = {"os.environ", "requests", "urllib", "http", "socket", "subprocess", "asyncio", "time"}
    for name in imported(path):
        standard = name.split(".")[0] in sys.stdlib_module_names
        assert standard or name == "app" or within(name, allowed), name
        assert not within(name, impure), name


@pytest.mark.parametrize("path", PRECOMPUTE, ids=ids(PRECOMPUTE))
def test_what_runs_before_knows_only_what_it_may(path: Path) -> None:
    """precompute imports app's core, providers, errors and settings, click and rich; three modules
    know one thing more of what runs at the event."""
    allowed = {"app.core", "app.providers", "app.errors", "app.settings", "precompute"}
    # The index of near copies is a file beside the store, of the kind that the store has.
    allowed |= {"click", "rich", "orjson", "xxhash", "lmdb"}
    allowed |= KNOWS_MORE.get(path.name, set())
    for name in imported(path):
        standard = name.split(".")[0] in sys.stdlib_module_names
        assert standard or name == "app" or within(name, allowed), name


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
            ["flask", "granian", "whitenoise", "prometheus_client", "ollama", "google.genai"],
        ),
        ("app", ["app.server", "flask", "orjson"]),
        ("wsgi", ["precompute", "rich", "ollama", "google.genai", "google.generativeai", "openai"]),
        ("app.core.index", ["flask", "click", "rich"]),
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
    read = settings.Settings.read({})
    # Where the store's setting is an address of Redis, that has a field of its own.
    fields = {row.field for row in settings.TABLE} | {"redis"}
    assert fields == set(settings.Settings.__dataclass_fields__)
    assert all(hasattr(read, row.field) for row in settings.TABLE)
