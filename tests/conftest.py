"""Fixtures: the deck in the box, a command runner and a running server, each with its own data."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from app.kinds.cards.deck import Deck
from tests.forks import trust_nobody
from tests.kit import poem_deck
from tests.making import DECKS, Precompute, Server, serving

# Two busy cores: how long an example takes says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

Serve = Callable[..., Server]


# What starts a process or a browser; `make quick` does without.
SLOW_FIXTURES = frozenset(
    {
        "serve",
        "server",
        "starting",
        "precompute",
        "visit",
        "page",
        "plain",
        "local",
        "cloud",
        "ollama",
    }
    | {
        "new_server",
        "running",
        "_running",
        "stand_in",
        "booth",
        "keeper",
        "site",
        "visitor",
        "doomed",
    }
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`: only the tests that start no process."""
    parser.addoption("--quick", action="store_true", help="leave out what starts a process")


def pytest_configure() -> None:
    """Ctrl-C can be sent to what tests start, and clients cost little.

    A shell starts what runs in the background with this signal ignored, and programs inherit that.
    """
    trust_nobody()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what starts a process, if that was asked for."""
    if not config.getoption("--quick"):
        return
    slow = [item for item in items if SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in set(slow)]


@pytest.fixture(scope="session")
def poem() -> Deck:
    """The deck in the box."""
    return poem_deck()


@pytest.fixture(scope="session")
def poem_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of decks with nothing but the poem deck: loading and checking all takes its time."""
    folder = tmp_path_factory.mktemp("decks")
    (folder / "poem").symlink_to(DECKS / "poem")
    return folder


@pytest.fixture
def decks(poem_alone: Path) -> Path:
    """The decks of `precompute` and `serve`; a module that needs all in the box has its own."""
    return poem_alone


@pytest.fixture
def precompute(tmp_path: Path, decks: Path) -> Precompute:
    """Runs `precompute` on the decks, in a data folder of its own."""
    return Precompute({"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_DECKS": decks})


@pytest.fixture
def serve(tmp_path: Path, decks: Path) -> Iterator[Serve]:
    """Starts servers on the data folder of `precompute`; they end with the test."""
    with ExitStack() as stack:
        count = iter(range(100))

        def start(**more: object) -> Server:
            known = {"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_DECKS": decks}
            log = tmp_path / f"server-{next(count)}.log"
            return stack.enter_context(serving({**known, **more}, log))

        yield start


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers and a stocked store, for all tests of the group "http"."""
    folder = tmp_path_factory.mktemp("server")
    known = {"TSUKURIOKI_DATA": folder / "data", "TSUKURIOKI_DECKS": DECKS}
    Precompute(known)("build", "--n", 270)
    with serving({**known, "TSUKURIOKI_WORKERS": 2}, folder / "server.log") as started:
        yield started
