"""A real server in a process of its own, and a real browser that looks at it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests import forks

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

ROOT = Path(__file__).resolve().parents[3]
DECKS = ROOT / "data" / "decks"
ARTIFACTS = ROOT / "artifacts"
SHOTS = ARTIFACTS / "screenshots"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Names for pages that are not the server's, as an attacker's DNS would have it.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
]
AXE = "axe-core@4.11.0"
ENTRIES = 54

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
TABLET: dict[str, Any] = {"viewport": {"width": 820, "height": 1180}, "has_touch": True}
KIOSK: dict[str, Any] = {"viewport": {"width": 1920, "height": 1080}}


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Server:
    """`python -m app` on a port of its own; it can be stopped and started again."""

    environ: dict[str, str]
    port: int = field(default_factory=free_port)
    process: forks.Process | None = None

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        environ = {**self.environ, "TSUKURIOKI_PORT": str(self.port)}
        self.process = forks.start(
            [sys.executable, "-m", "app"], cwd=ROOT, env=environ, streams=(None, None, None)
        )
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, "the server ended while it was started"
            assert time.monotonic() < deadline, "the server did not answer within 30 s"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """End it and wait for its end."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def call(self, path: str, body: Any = None, method: str | None = None, token: str = "") -> Any:
        """One request; the JSON of its reply, or None."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else orjson.dumps(body)
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            text = reply.read()
        return orjson.loads(text) if text else None

    def deal(self) -> list[dict[str, Any]]:
        """Five cards."""
        cards: list[dict[str, Any]] = self.call("/api/decks/poem/deal")["cards"]
        return cards


def hand_of(cards: list[dict[str, Any]], pick: int = 0) -> list[dict[str, str]]:
    """A play of some cards: the same phrase of each."""
    return [{"card": card["id"], "phrase": card["poems"][pick]["id"]} for card in cards]


def choosing(decks: Path) -> Path:
    """A folder of decks with the poem deck in it, whose cards visitors pick themselves."""
    shutil.copytree(ROOT / "data" / "decks" / "poem", decks / "poem")
    rules = orjson.loads((decks / "poem" / "deck.json").read_bytes())
    rules["hand"]["choose"] = True
    (decks / "poem" / "deck.json").write_bytes(orjson.dumps(rules))
    return decks


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, poem_alone: Path) -> Path:
    """A small stock, cooked by the real command with the composer."""
    folder = tmp_path_factory.mktemp("data")
    environ = clean_environ() | {
        "TSUKURIOKI_DATA": str(folder),
        "TSUKURIOKI_DECKS": str(poem_alone),
    }
    command = [
        sys.executable,
        "-m",
        "precompute",
        "build",
        "--n",
        str(ENTRIES),
        "--provider",
        "composer",
    ]
    forks.run(command, cwd=ROOT, env=environ, timeout=240).check_returncode()
    return folder / "store"


def clean_environ() -> dict[str, str]:
    """The environment without anybody's settings or keys."""
    mine = ("TSUKURIOKI_", "GEMINI_", "GOOGLE_", "OPENAI_", "PROMETHEUS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(mine)}


@pytest.fixture(scope="session")
def new_server(
    store: Path, poem_alone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Makes servers over the same stock, each with a ledger of its own; all are ended.

    They have the poem deck alone: to load all decks takes longer than all else of a start.
    """
    made: list[Server] = []

    def make(**settings: str) -> Server:
        folder = tmp_path_factory.mktemp("event")
        environ = clean_environ() | {
            "TSUKURIOKI_DATA": str(folder),
            "TSUKURIOKI_DECKS": str(poem_alone),
            "TSUKURIOKI_STORE": str(store),
            **settings,
        }
        server = Server(environ)
        server.start()
        made.append(server)
        return server

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def server(new_server: Callable[..., Server]) -> Server:
    """The server that most tests share."""
    return new_server(TSUKURIOKI_DECKS=str(DECKS))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, or a skip that says what is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is missing: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@dataclass
class Watch:
    """What a page did that it should not have done."""

    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    # Parts of messages that a test brings about on purpose.
    expected: list[str] = field(default_factory=list)

    def attend(self, page: Page, origin: str) -> None:
        """Listen to a page."""

        def heard(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                self.errors.append(message.text)

        def asked(request: Request) -> None:
            if not request.url.startswith((origin + "/", "data:", "blob:")):
                self.strangers.append(request.url)

        page.on("console", heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", asked)

    def unexpected(self) -> list[str]:
        """The errors that no test has asked for."""
        return [one for one in self.errors if not any(part in one for part in self.expected)]


@pytest.fixture
def watch() -> Watch:
    """The record of this test's pages."""
    return Watch()


@pytest.fixture
def visit(browser: Browser, watch: Watch) -> Iterator[Callable[..., Page]]:
    """Opens a page; at the end it must have logged no error and asked no other origin."""
    contexts: list[BrowserContext] = []

    def open_page(
        server: Server,
        path: str = "/",
        *,
        language: str = "ja-JP",
        ready: str = "body[data-ready]",
        **options: Any,
    ) -> Page:
        options.setdefault("reduced_motion", "reduce")
        context = browser.new_context(locale=language, **(options or KIOSK))
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        watch.attend(page, server.url)
        page.goto(server.url + path)
        page.wait_for_selector(ready)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert watch.unexpected() == []
    assert watch.strangers == []


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, fetched once into the artefacts; a skip where npm cannot."""
    script = ARTIFACTS / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("axe-core is missing, and so is npm to fetch it")
        ARTIFACTS.mkdir(exist_ok=True)
        command = [
            npm,
            "install",
            "--prefix",
            str(ARTIFACTS),
            "--no-save",
            "--no-audit",
            "--no-fund",
            AXE,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        if done.returncode or not script.exists():
            pytest.skip(f"axe-core is missing: {done.stderr[-200:]}")
    return script.read_text(encoding="utf-8")


def keep(page: Page, name: str) -> None:
    """A screenshot among the artefacts of the run."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
