"""Every setting, in one table: name in the environment, default, meaning.

Only the server and the command line read settings; everything below is handed what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.core.index import DEFAULT_ORDER
from app.errors import SettingError

TIERS = ("exact", "same_hand", "composed", "template")


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table. `field` is its name in `Settings`."""

    name: str
    field: str
    default: str
    meaning: str
    read: Callable[[str, str], Any]


def _text(name: str, value: str) -> str:
    return value


def _path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise SettingError(name, value, "a folder; there is no such user") from None


def _optional_path(name: str, value: str) -> Path | None:
    return _path(name, value) if value else None


def _whole(least: int, most: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        # Few digits first: int() refuses thousands of them.
        number = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else -1
        if not least <= number <= most:
            raise SettingError(name, value, f"a whole number from {least} to {most}")
        return number

    return read


def _words(name: str, value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _words_of(known: tuple[str, ...]) -> Callable[[str, str], tuple[str, ...]]:
    def read(name: str, value: str) -> tuple[str, ...]:
        words = _words(name, value)
        strange = [word for word in words if word not in known]
        if strange or not words or len(set(words)) < len(words):
            raise SettingError(name, value, f"a list, each once, of {', '.join(known)}")
        return words

    return read


def _switch(name: str, value: str) -> bool:
    if value.lower() not in ("on", "off", "1", "0", "yes", "no", "true", "false"):
        raise SettingError(name, value, "on or off")
    return value.lower() in ("on", "1", "yes", "true")


TABLE = (
    Setting("TSUKURIOKI_DATA", "data", "data", "the data folder", _path),
    Setting("TSUKURIOKI_DECKS", "decks", "", "the folder of decks; `decks` in the data folder", _optional_path),
    Setting("TSUKURIOKI_STORE", "store", "", "the store's folder; `store` in the data folder", _optional_path),
    Setting("TSUKURIOKI_LEDGER", "ledger", "", "the ledger's folder, for misses, votes and deals; `ledger` in the data folder", _optional_path),
    Setting("TSUKURIOKI_LEDGER_MB", "ledger_mb", "16", "how large each journal in it may grow, in MiB, before the oldest half goes", _whole(1, 100_000)),
    Setting("TSUKURIOKI_MISSES", "misses", "on", "whether misses are noted, on or off", _switch),
    Setting("TSUKURIOKI_DECK", "deck", "poem", "the deck that `POST /api/generate-poem` and the page play", _text),
    Setting("TSUKURIOKI_TIERS", "tiers", ",".join(TIERS), "the ladder, in order", _words_of(TIERS)),
    Setting("TSUKURIOKI_RADIUS", "radius", "1", "in how many phrases a same_hand answer may differ", _whole(0, 12)),
    Setting("TSUKURIOKI_SOURCES", "sources", ",".join(DEFAULT_ORDER), "sources, best first: which entry of a key is served", _words),
    Setting("TSUKURIOKI_HOST", "host", "127.0.0.1", "address to listen on; 0.0.0.0 for other machines", _text),
    Setting("TSUKURIOKI_PORT", "port", "8000", "port to listen on", _whole(1, 65535)),
    Setting("TSUKURIOKI_WORKERS", "workers", "2", "worker processes", _whole(1, 256)),
    Setting("TSUKURIOKI_THREADS", "threads", "8", "requests that a worker has in hand at once; a client that sends its body slowly holds one", _whole(1, 4096)),
    Setting("TSUKURIOKI_BACKLOG", "backlog", "1024", "connections that may wait to be taken", _whole(1, 65535)),
    Setting("TSUKURIOKI_HEADER_SECONDS", "header_seconds", "30", "how long a client may take to send its headers", _whole(1, 3600)),
    Setting("TSUKURIOKI_CORS_ORIGINS", "cors_origins", "", "origins that may call from a browser, with commas; none by default", _words),
    Setting("TSUKURIOKI_SITE", "site", "", "folder of a built front end to serve at `/` instead of the page", _optional_path),
    Setting("TSUKURIOKI_IDLE", "idle", "60", "seconds without a touch after which the kiosk page goes back to its start", _whole(5, 86_400)),
    Setting("TSUKURIOKI_TOKEN", "token", "", "what a host must show to read figures and to tend the wall; none by default", _text),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings as values. Made by `Settings.read`."""

    data: Path
    decks: Path
    store: Path
    ledger: Path
    ledger_mb: int
    misses: bool
    deck: str
    tiers: tuple[str, ...]
    radius: int
    sources: tuple[str, ...]
    host: str
    port: int
    workers: int
    threads: int
    backlog: int
    header_seconds: int
    cors_origins: tuple[str, ...]
    site: Path | None
    idle: int
    token: str = field(repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of an environment. Raises SettingError, naming the setting."""
        values = {
            row.field: row.read(row.name, environ.get(row.name) or row.default) for row in TABLE
        }
        data: Path = values["data"]
        values["decks"] = values["decks"] or data / "decks"
        values["store"] = values["store"] or data / "store"
        values["ledger"] = values["ledger"] or data / "ledger"
        if values["ledger"].resolve() == values["store"].resolve():
            # Both write <deck>.jsonl there: the misses would stand among the entries.
            raise SettingError(
                "TSUKURIOKI_LEDGER", str(values["ledger"]), "another folder than the store's"
            )
        if values["site"] is not None and not (values["site"] / "index.html").is_file():
            raise SettingError("TSUKURIOKI_SITE", str(values["site"]), "a folder with index.html")
        return cls(**values)
