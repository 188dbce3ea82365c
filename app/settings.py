"""Every setting, in one table: name in the environment, default, meaning.

Only the server and the command line read settings; everything below is handed what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.index import DEFAULT_ORDER
from app.errors import SettingError
from app.providers.secret import Secret

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
    return Path(value).expanduser()


def _optional_path(name: str, value: str) -> Path | None:
    return Path(value).expanduser() if value else None


def _whole(least: int, most: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise SettingError(name, value, f"a whole number from {least} to {most}")
        return int(value)

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


def _secret(name: str, value: str) -> Secret:
    return Secret(value.strip())


def _seconds(name: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise SettingError(name, value, "seconds, more than 0 and at most 86400")
    return seconds


def _switch(name: str, value: str) -> bool:
    if value.lower() not in ("on", "off", "1", "0", "yes", "no", "true", "false"):
        raise SettingError(name, value, "on or off")
    return value.lower() in ("on", "1", "yes", "true")


TABLE = (
    Setting("TSUKURIOKI_DATA", "data", "data", "the data folder", _path),
    Setting("TSUKURIOKI_DECKS", "decks", "", "the folder of decks; `decks` in the data folder", _optional_path),
    Setting("TSUKURIOKI_STORE", "store", "", "the store's folder; `store` in the data folder", _text),
    Setting("TSUKURIOKI_LEDGER", "ledger", "", "the ledger's folder; `ledger` in the data folder; `off` writes none", _text),
    Setting("TSUKURIOKI_LEDGER_MB", "ledger_mb", "64", "how large a deck's ledger may grow, in MiB, before the oldest half goes", _whole(1, 100_000)),
    Setting("TSUKURIOKI_DECK", "deck", "poem", "the deck that `POST /api/generate-poem` and the page play", _text),
    Setting("TSUKURIOKI_TIERS", "tiers", ",".join(TIERS), "the ladder, in order", _words_of(TIERS)),
    Setting("TSUKURIOKI_RADIUS", "radius", "1", "in how many phrases a same_hand answer may differ", _whole(0, 12)),
    Setting("TSUKURIOKI_SOURCES", "sources", ",".join(DEFAULT_ORDER), "sources, best first: which entry of a key is served", _words),
    Setting("TSUKURIOKI_HOST", "host", "127.0.0.1", "address to listen on; 0.0.0.0 for other machines", _text),
    Setting("TSUKURIOKI_PORT", "port", "8000", "port to listen on", _whole(1, 65535)),
    Setting("TSUKURIOKI_WORKERS", "workers", "2", "worker processes", _whole(1, 256)),
    Setting("TSUKURIOKI_CORS_ORIGINS", "cors_origins", "", "origins that may call from a browser, with commas; none by default", _words),
    Setting("TSUKURIOKI_SITE", "site", "", "folder of a built front end to serve at `/` instead of the page", _optional_path),
    Setting("GEMINI_API_KEY", "gemini_api_key", "", "the key for Gemini; where it is set, a build uses Gemini", _secret),
    Setting("GOOGLE_API_KEY", "google_api_key", "", "the same, by its other name; GEMINI_API_KEY comes first", _secret),
    Setting("TSUKURIOKI_GEMINI_MODEL", "gemini_model", "gemini-3.5-flash-lite", "the model of gemini and gemini-legacy", _text),
    Setting("TSUKURIOKI_GEMINI_BASE_URL", "gemini_base_url", "https://generativelanguage.googleapis.com", "where Gemini is", _text),
    Setting("TSUKURIOKI_GEMINI_API_VERSION", "gemini_api_version", "v1", "version of Gemini's API; models named *-latest are in v1beta only", _text),
    Setting("OLLAMA_HOST", "ollama_host", "http://127.0.0.1:11434", "where Ollama is", _text),
    Setting("TSUKURIOKI_OLLAMA_MODEL", "ollama_model", "qwen2.5:0.5b", "the model of ollama", _text),
    Setting("TSUKURIOKI_OLLAMA_KEEP_ALIVE", "ollama_keep_alive", "300", "seconds for which Ollama keeps an idle model in memory", _seconds),
    Setting("TSUKURIOKI_OLLAMA_FREE_MB", "ollama_free_mb", "600", "available memory, in MiB, without which no model is loaded on this machine", _whole(0, 1_000_000)),
    Setting("OPENAI_API_KEY", "openai_api_key", "", "the key for an OpenAI-compatible server; local ones need none", _secret),
    Setting("OPENAI_BASE_URL", "openai_base_url", "", "where the OpenAI-compatible server is, with its /v1; OpenAI itself where only a key is set", _text),
    Setting("TSUKURIOKI_OPENAI_MODEL", "openai_model", "", "the model of openai; where none is named, the first that the server lists", _text),
    Setting("TSUKURIOKI_TIMEOUT", "timeout", "120", "seconds for one reply of a provider, while cooking", _seconds),
    Setting("TSUKURIOKI_PRICES", "prices", "", "a price table (JSON) whose models replace those of the one in the box", _optional_path),
    Setting("TSUKURIOKI_RPM", "rpm", "60", "requests a minute to a provider on the network", _whole(1, 1_000_000)),
    Setting("TSUKURIOKI_TPM", "tpm", "250000", "tokens a minute to a provider on the network", _whole(1_000, 1_000_000_000)),
    Setting("TSUKURIOKI_BATCH_POLL", "batch_poll", "20", "seconds between two looks at a batch job", _seconds),
    Setting("TSUKURIOKI_CONCURRENCY", "concurrency", "4", "requests to a provider on the network at once", _whole(1, 256)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings as values. Made by `Settings.read`."""

    data: Path
    decks: Path
    store: Path
    ledger: Path | None
    ledger_mb: int
    deck: str
    tiers: tuple[str, ...]
    radius: int
    sources: tuple[str, ...]
    host: str
    port: int
    workers: int
    cors_origins: tuple[str, ...]
    site: Path | None
    gemini_api_key: Secret
    google_api_key: Secret
    gemini_model: str
    gemini_base_url: str
    gemini_api_version: str
    ollama_host: str
    ollama_model: str
    ollama_keep_alive: float
    ollama_free_mb: int
    openai_api_key: Secret
    openai_base_url: str
    openai_model: str
    timeout: float
    prices: Path | None
    rpm: int
    tpm: int
    batch_poll: float
    concurrency: int

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """The settings of an environment. Raises SettingError, naming the setting."""
        values = {
            row.field: row.read(row.name, environ.get(row.name) or row.default) for row in TABLE
        }
        data: Path = values["data"]
        values["decks"] = values["decks"] or data / "decks"
        values["store"] = Path(values["store"]) if values["store"] else data / "store"
        ledger = values["ledger"]
        values["ledger"] = None if ledger == "off" else Path(ledger) if ledger else data / "ledger"
        if values["site"] is not None and not (values["site"] / "index.html").is_file():
            raise SettingError("TSUKURIOKI_SITE", str(values["site"]), "a folder with index.html")
        return cls(**values)
