"""A data folder with poems of the box, and `precompute review` started on it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from app.store.entry import Entry
from app.store.in_force import in_force
from app.store.log import LogWriter, log_path
from app.store.sources import DEFAULT_ORDER
from tests.making import DECKS, PATIENCE, Precompute, wait_for


@dataclass
class Page:
    """The page of a running review, as its script asks it."""

    url: str
    token: str
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        """What the command printed."""
        return f"{self.url}/#{self.token}"

    def ask(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request with the token."""
        headers = {"Authorization": f"Bearer {self.token}", **headers}
        method = "GET" if body is None else "POST"
        return httpx.request(method, self.url + path, json=body, headers=headers, timeout=PATIENCE)

    def rows(self, **wanted: object) -> list[dict[str, Any]]:
        """The texts that are wanted."""
        query = httpx.QueryParams({name: str(value) for name, value in wanted.items()})
        reply = self.ask(f"/api/answers?{query}")
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()["rows"]
        return found

    def decide(self, row: dict[str, Any], verdict: str, **more: object) -> httpx.Response:
        """A decision about what was read."""
        body = {"verdict": verdict, "mark": row["mark"], **more}
        return self.ask(f"/api/answers/{row['key']}/{row['variant']}", body)


def commands(folder: Path, **settings: object) -> Precompute:
    """`precompute` on the decks of the box, with data in a folder."""
    return Precompute({"TSUKURIOKI_DATA": folder / "data", "TSUKURIOKI_DECKS": DECKS, **settings})


@contextlib.contextmanager
def reviewing(command: Precompute, *options: object) -> Iterator[Page]:
    """`precompute review`, ended by its id as with Ctrl-C."""
    process = command.start("review", "--no-open", *options)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert " at http://127.0.0.1:" in line, (line, process.communicate(timeout=PATIENCE))
        url, _, token = line.split(" at ")[1].strip().partition("/#")
        yield Page(url, token, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def store(command: Precompute, *entries: Entry, deck: str = "poem") -> None:
    """Append entries to a deck's log."""
    with LogWriter(folder_of(command), deck) as log:
        log.append(entries)


def folder_of(command: Precompute) -> Path:
    """The store's folder."""
    return Path(str(command.settings["TSUKURIOKI_DATA"])) / "store"


def now(command: Precompute, deck: str = "poem") -> dict[str, Entry]:
    """What is in force of variant 0, by key."""
    found = in_force(log_path(folder_of(command), deck), DEFAULT_ORDER)
    return {key: entry for (key, variant), entry in found.items() if not variant}


def await_status(client: httpx.Client, path: str, status: int) -> httpx.Response:
    """Ask a server until it answers so: its workers look for a new index ten times a second."""

    def asked() -> httpx.Response | None:
        reply = client.get(path)
        return reply if reply.status_code == status else None

    found: httpx.Response = wait_for(asked, f"{path} with status {status}")
    return found
