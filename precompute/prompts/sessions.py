"""`precompute record` and `precompute replay`: a program runs against a server of its own.

The server listens on a port of its own on 127.0.0.1 for as long as the program runs. The program
finds it by the variables that the client libraries read. For a replay, server and program run with
the network taken away.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import orjson

from app.errors import PlanError
from app.kinds.decks import load_all
from app.kinds.prompts.deck import RECORDED, PromptDeck
from app.kinds.prompts.reply import ASKED
from app.kinds.reading import DECK_FILE, text_of
from app.settings import Settings
from precompute.files import write_whole
from precompute.learn.recordings import take_deck_in
from precompute.prompts.isolation import isolate, raise_loopback, tries_to_leave

# Seconds in which a server must have started, and in which it must have stopped.
_PATIENCE = 30.0
# Libraries refuse to start without a key; the server asks for none.
_ANY_KEY = "tsukurioki"
_KEYS = ("OPENAI_API_KEY", "GEMINI_API_KEY")
# The number of this option of Linux's prctl: a signal to the process when its parent ends.
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """How a program ended, and how the server answered it, by tier.

    `refused` are replies that were not kept, by reason; `tried` how often something tried to leave.
    """

    status: int
    answers: Mapping[str, int]
    refused: Mapping[str, int]
    tried: int = 0


def client_environment(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables by which client libraries find a server at `url`."""
    return {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "OLLAMA_HOST": url,
        "GOOGLE_GEMINI_BASE_URL": url,
        "TSUKURIOKI_GEMINI_BASE_URL": url,
        "TSUKURIOKI_URL": url,
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **{name: environ.get(name) or _ANY_KEY for name in _KEYS},
    }


@contextmanager
def server(mode: str, environ: Mapping[str, str], log: Path) -> Iterator[str]:
    """A server in a mode, with its output in a file; gives its address. Raises PlanError."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "TSUKURIOKI_MODE": mode,
        "TSUKURIOKI_HOST": "127.0.0.1",
        "TSUKURIOKI_PORT": str(port),
        "TSUKURIOKI_WORKERS": "1",
        "PYTHONSAFEPATH": "1",
    }
    # -P: the program's folder may have an app.py of its own.
    words = [sys.executable, "-P", "-m", "app"]
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter, with words of our own
            words,
            env={**environ, **settings},
            stdout=out,
            stderr=out,
            preexec_fn=_ending_with_us(),  # noqa: PLW1509  # there are no other threads yet
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url, log)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ending_with_us() -> Callable[[], object] | None:
    """What a child does first, so that it is stopped if this process is killed; Linux alone has it."""
    if sys.platform != "linux":
        return None
    # Loaded before the fork, after which a child may do little.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            _get(url, "/healthz")
        except OSError:
            time.sleep(0.05)
        else:
            return
    said = log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
    raise PlanError(f"the server did not start: {said[-1]}")


def _get(url: str, path: str) -> Any:
    # Never through a proxy.
    with build_opener(ProxyHandler({})).open(url + path, timeout=5) as response:
        return orjson.loads(response.read())


def run(mode: str, command: Sequence[str], environ: Mapping[str, str]) -> SessionOutcome:
    """Run a program against a server in a mode. Raises PlanError if one of them cannot start."""
    with (
        tempfile.TemporaryDirectory(prefix="tsukurioki-") as folder,
        server(mode, environ, Path(folder) / "server.log") as url,
    ):
        try:
            done = subprocess.run(  # noqa: S603  # it is what the user asked for
                command, env={**environ, **client_environment(url, environ)}, check=False
            )
        except OSError as error:
            raise PlanError(f"{command[0]}: cannot be run: {error.strerror}") from None
        decks = _get(url, "/stats")["decks"].values()
    answers: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for figures in decks:
        if "mode" in figures:
            tiers = figures["answers"]["by_tier"]
            answers.update({tier: row["answers"] for tier, row in tiers.items()})
            for reasons in figures["passed"].get(ASKED, {}).values():
                refused.update(reasons)
    return SessionOutcome(done.returncode, answers, refused)


def run_isolated(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `precompute replay` again where there is no network; returns its exit status."""
    with tempfile.TemporaryDirectory(prefix="tsukurioki-") as folder:
        isolation = isolate(Path(folder), environ)
        sys.stderr.write(f"precompute: network taken away: {isolation.strength}\n")
        ours = [sys.executable, "-P", "-m", "precompute"]
        words = [*isolation.words, *ours, "replay", "--here", "--"]
        done = subprocess.run(  # noqa: S603  # our own interpreter; the program is the user's
            [*words, *command], env={**environ, **isolation.settings}, check=False
        )
        if isolation.tries.exists():
            sys.stderr.write(f"precompute: tried to leave: {isolation.tries.read_text()}")
        return done.returncode


def replay_here(command: Sequence[str], environ: Mapping[str, str]) -> SessionOutcome:
    """Replay in this process's network, which `run_isolated` has taken away."""
    isolated = raise_loopback()
    done = run("replay", command, environ)
    return replace(done, tried=tries_to_leave()) if isolated else done


def check_program(command: Sequence[str]) -> None:
    """Raise PlanError if there is no such program, before anything is written or started for it."""
    if shutil.which(command[0]) is None:
        raise PlanError(f"{command[0]!r}: there is no such program that can be run")


def ensure_decks(decks: Path) -> None:
    """Make the deck `recorded` where there is no folder of decks, which a server needs."""
    if not decks.exists():
        _write_deck(decks / RECORDED / DECK_FILE, {"kind": PromptDeck.kind, "id": RECORDED})


def take_all_in(settings: Settings) -> int:
    """Take the recordings of all decks of prompts into the store; returns how many there were."""
    decks = load_all(settings.decks).values()
    return sum(take_deck_in(settings, deck) for deck in decks if isinstance(deck, PromptDeck))


def write_redactions(settings: Settings, deck: PromptDeck, patterns: Sequence[str]) -> Path:
    """Add patterns to the deck's file, so that a replay finds what was recorded without them.

    The folder of a deck without one is made. Returns the file.
    """
    path = (deck.folder or settings.decks / deck.id) / DECK_FILE
    root: dict[str, Any] = {"kind": deck.kind, "id": deck.id}
    if path.exists():
        root = orjson.loads(text_of(path))
    known = list(root.get("redact", []))
    root["redact"] = [*known, *(one for one in patterns if one not in known)]
    _write_deck(path, root)
    return path


def _write_deck(path: Path, root: dict[str, Any]) -> None:
    write_whole(path, orjson.dumps(root, option=orjson.OPT_INDENT_2))
