"""All settings in one table: name in the environment, default, meaning.

Only the server and the command line read settings; other modules are passed the values they need.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os.path import realpath
from pathlib import Path
from typing import Any, NamedTuple

from app.errors import SettingError
from app.providers.secret import Secret
from app.store.index import DEFAULT_ORDER
from app.store.options import StoreOptions
from app.store.plain import open_file

TIERS = ("exact", "same_hand", "composed", "template")
# The tiers that ask a model are used only if the operator names them.
ALL_TIERS = (*TIERS, "local", "cloud")
CHAT_TIERS = ("learned", "rules", "local", "cloud", "fallback")


class Setting(NamedTuple):
    """One row of the table. `field` is its name in `Settings`; `read` parses (name, value)."""

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


def _store(name: str, value: str) -> Path | str | None:
    # The schemes that app.store.redis accepts; importing it here would cost every start.
    if value.startswith(("redis://", "rediss://", "unix://")):
        return value
    return _optional_path(name, value)


def _whole(least: int, most: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        # Few digits only: int() raises for thousands of them.
        number = int(value) if re.fullmatch(r"[0-9]{1,12}", value) else -1
        if not least <= number <= most:
            raise SettingError(name, value, f"a whole number from {least} to {most}")
        return number

    return read


def _words(name: str, value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _hosts(name: str, value: str) -> tuple[str, ...]:
    return tuple(_host(name, word) for word in _words(name, value))


def _host(name: str, word: str) -> str:
    """A host's name in lower case and Punycode, as in requests; `.name` includes subdomains."""
    try:
        host = word.removeprefix(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        host = ""
    if word != "*" and not re.fullmatch(r"[a-z0-9.-]+", host):
        raise SettingError(name, word, "names of hosts with commas, without scheme and port, or *")
    return "." + host if word.startswith(".") else host


def _token(name: str, value: str) -> str:
    """A value that a client can send in a header. The error does not show it."""
    if not re.fullmatch(r"[!-~]*", value):
        expected = "ASCII letters, digits and signs without blanks: a header carries nothing else"
        raise SettingError(name, "…", expected)
    return value


def _words_of(known: tuple[str, ...]) -> Callable[[str, str], tuple[str, ...]]:
    def read(name: str, value: str) -> tuple[str, ...]:
        words = _words(name, value)
        strange = [word for word in words if word not in known]
        if strange or not words or len(set(words)) < len(words):
            raise SettingError(name, value, f"a list, each once, of {', '.join(known)}")
        return words

    return read


def _one_of(*known: str) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value not in known:
            raise SettingError(name, value, " or ".join(known))
        return value

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
    Setting("TSUKURIOKI_DECKS", "decks", "", "the folder of decks; if empty, `decks` in the data folder", _optional_path),
    Setting("TSUKURIOKI_STORE", "store", "", "the folder of the store; if empty, `store` in the data folder. With redis://host:port/number, answers are served from Redis and the log stays in the data folder", _store),
    Setting("TSUKURIOKI_LEDGER", "ledger", "", "the folder of the ledger (misses, votes, deals, counts); if empty, `ledger` in the data folder", _optional_path),
    Setting("TSUKURIOKI_MISSES", "misses", "on", "whether misses are noted, on or off", _switch),
    Setting("TSUKURIOKI_PRICES", "prices", "", "a price table (JSON); its models replace those of the built-in table", _optional_path),
    Setting("TSUKURIOKI_DECK", "deck", "poem", "the deck of `POST /api/generate-poem` and of the page", _text),
    Setting("TSUKURIOKI_TIERS", "tiers", ",".join(TIERS), "the tiers for decks of cards, in order; local (Ollama) and cloud (Gemini) are used only if you name them", _words_of(ALL_TIERS)),
    Setting("TSUKURIOKI_RADIUS", "radius", "1", "in how many phrases a same_hand answer may differ from the play", _whole(0, 12)),
    Setting("TSUKURIOKI_SOURCES", "sources", ",".join(DEFAULT_ORDER), "sources, best first: if several have an answer for a play, the best one is served", _words),
    Setting("TSUKURIOKI_DEADLINE", "deadline", "8", "seconds in which local or cloud must have written an answer to a play", _seconds),
    Setting("TSUKURIOKI_LOCAL_PROMPT", "local_prompt", "small", "how local is asked: small (two steps, for a small model) or whole (one step, for a large one)", _one_of("small", "whole")),
    Setting("TSUKURIOKI_HOST", "host", "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines connect", _text),
    Setting("TSUKURIOKI_PORT", "port", "8000", "port to listen on", _whole(1, 65535)),
    Setting("TSUKURIOKI_HOSTS", "hosts", "", "host names, with commas, that the server answers to besides IP addresses, localhost, TSUKURIOKI_HOST and the machine's own name; `*` for any", _hosts),
    Setting("TSUKURIOKI_PROXIES", "proxies", "0", "how many proxies of your own stand before the server and write the client's address into X-Forwarded-For", _whole(0, 10)),
    Setting("TSUKURIOKI_CORS_ORIGINS", "cors_origins", "", "origins, with commas, whose pages may call the server from a browser; none by default", _words),
    Setting("TSUKURIOKI_TOKEN", "token", "", "what must be shown to read figures, to change the wall and to chat; nothing by default", _token),
    Setting("TSUKURIOKI_WORKERS", "workers", "2", "worker processes", _whole(1, 256)),
    Setting("TSUKURIOKI_REQUEST_SECONDS", "request_seconds", "30", "seconds that a client has for sending the head of a request, and then its body; a connection that is silent for as long is closed", _seconds),
    Setting("TSUKURIOKI_SITE", "site", "", "folder of a built front end that is served at `/` instead of the page", _optional_path),
    Setting("TSUKURIOKI_IDLE", "idle", "60", "seconds without a touch after which the kiosk page returns to its start", _whole(5, 86_400)),
    Setting("GEMINI_API_KEY", "gemini_api_key", "", "the key for Gemini; if it is set, a build uses Gemini", _secret),
    Setting("GOOGLE_API_KEY", "google_api_key", "", "another name for the same key; GEMINI_API_KEY comes first", _secret),
    Setting("TSUKURIOKI_GEMINI_MODEL", "gemini_model", "gemini-3.5-flash-lite", "the model of gemini and gemini-legacy, and the cloud's for plays and for ordinary messages", _text),
    Setting("TSUKURIOKI_GEMINI_BASE_URL", "gemini_base_url", "https://generativelanguage.googleapis.com", "the address of Gemini", _text),
    Setting("OLLAMA_HOST", "ollama_host", "http://127.0.0.1:11434", "the address of Ollama", _text),
    Setting("TSUKURIOKI_OLLAMA_MODEL", "ollama_model", "qwen2.5:0.5b", "the model of ollama", _text),
    Setting("TSUKURIOKI_OLLAMA_FREE_MB", "ollama_free_mb", "600", "MiB of memory that must be available before a model is loaded on this machine", _whole(0, 1_000_000)),
    Setting("OPENAI_API_KEY", "openai_api_key", "", "the key for an OpenAI-compatible server; local ones need none", _secret),
    Setting("OPENAI_BASE_URL", "openai_base_url", "", "the address of the OpenAI-compatible server, with its /v1; OpenAI itself if only a key is set", _text),
    Setting("TSUKURIOKI_TIMEOUT", "timeout", "120", "seconds for one reply of a provider, while cooking", _seconds),
    Setting("TSUKURIOKI_CHAT_DECK", "chat_deck", "", "the deck of `/chat` and `POST /api/chat`; if empty, `chat` if there is such a deck, else the first", _text),
    Setting("TSUKURIOKI_CHAT_TIERS", "chat_tiers", "learned,rules,local,fallback", "the tiers of a chat, in order; cloud is used only if you name it", _words_of(CHAT_TIERS)),
    Setting("TSUKURIOKI_CHAT_VARY", "chat_vary", "off", "whether the local model varies the lines of the rules, on or off", _switch),
    Setting("TSUKURIOKI_CHAT_DEADLINE", "chat_deadline", "5", "seconds for a local reply, loading included", _seconds),
    Setting("TSUKURIOKI_CHAT_STRONG", "chat_strong", "gemini-3.8-flash", "the cloud's model for important messages; costs are compared with it", _text),
    Setting("TSUKURIOKI_CHAT_LEARN", "chat_learn", "off", "whether messages that the cloud answered are kept with their answers for the next build, on or off", _switch),
    Setting("TSUKURIOKI_CHAT_PACE", "chat_pace", "40", "characters a second at which stored lines are streamed; 0 sends them at once", _whole(0, 100_000)),
    Setting("TSUKURIOKI_CHAT_RATE", "chat_rate", "120", "chat messages a minute from one address, a sixth of them at once; 0 sets no limit", _whole(0, 1_000_000)),
)  # fmt: skip


# The prefix of the names of our own settings.
PREFIX = "TSUKURIOKI_"
# The file in the data folder with the settings that came in a bundle.
SETTINGS_FILE = "settings.env"
# The settings that a bundle may contain: how answers are found and shown. Secrets, folders, where
# the server listens, whom it trusts and where keys are sent are for the person who runs the
# machine.
_TRAVEL = frozenset(
    [
        "misses",
        "deck",
        "tiers",
        "radius",
        "sources",
        "workers",
        "idle",
        "gemini_model",
        "ollama_model",
        "chat_deck",
        "chat_tiers",
        "chat_vary",
        "chat_deadline",
        "chat_strong",
        "chat_learn",
        "chat_pace",
        "chat_rate",
    ]
)
_FOLDERS = frozenset({"data", "decks", "store", "ledger"})
# Characters that have no special meaning between single quotes for a shell or for systemd.
_PLAIN = re.compile(r"[^'\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,1000}")
_LINE = re.compile(r"([A-Z_]+)='(.*)'")
_MOST_BYTES = 1 << 16


def unknown_settings(environ: Mapping[str, str]) -> str:
    """A note on variables with our prefix that are no settings; empty if there are none.

    They may be misspelt, or settings of an earlier version.
    """
    known = {row.name for row in TABLE}
    strange = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    if not strange:
        return ""
    return f"no such setting, ignored: {', '.join(strange)}; docs/settings.md lists what there is"


def travelling_settings(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The settings in `environ` that a bundle takes along, and the names of those it does not.

    Folders are in neither: the bundle takes their contents.
    """
    given = {**read_bundled(environ), **environ}
    set_here = [row for row in TABLE if given.get(row.name)]
    kept = {row.name: given[row.name] for row in set_here if row.field in _TRAVEL}
    return kept, [row.name for row in set_here if row.field not in _TRAVEL | _FOLDERS]


def write_settings(values: Mapping[str, str]) -> bytes:
    """The bytes of a settings file. Raises SettingError for a setting that it may not contain."""
    for name, value in values.items():
        _check_bundled(name, value)
    return "".join(f"{name}='{value}'\n" for name, value in sorted(values.items())).encode()


def read_bundled(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings in the data folder's settings file; empty if there is no such file.

    Raises SettingError if the file differs from what `write_settings` writes.
    """
    path = _path("TSUKURIOKI_DATA", environ.get("TSUKURIOKI_DATA") or "data") / SETTINGS_FILE
    try:
        with open_file(path, "rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingError(str(path), error.strerror or "", "a file that can be read") from None
    lines = raw.decode("utf-8", "replace").split("\n")
    values = {found[1]: found[2] for line in lines if (found := _LINE.fullmatch(line))}
    if len(raw) > _MOST_BYTES or write_settings(values) != raw:
        raise SettingError(str(path), "", "one NAME='value' a line, as `precompute bundle` writes")
    return values


def _check_bundled(name: str, value: str) -> None:
    row = next((row for row in TABLE if row.name == name and row.field in _TRAVEL), None)
    if row is None:
        raise SettingError(name, value[:80], "no such setting in a bundle")
    if not _PLAIN.fullmatch(value):
        raise SettingError(name, value[:80], "a value without quotes, backslashes and line breaks")
    row.read(name, value)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings as values. Made by `Settings.read`."""

    data: Path
    decks: Path
    store: Path
    redis: str
    ledger: Path
    misses: bool
    deck: str
    tiers: tuple[str, ...]
    deadline: float
    local_prompt: str
    radius: int
    sources: tuple[str, ...]
    host: str
    port: int
    hosts: tuple[str, ...]
    workers: int
    request_seconds: float
    cors_origins: tuple[str, ...]
    site: Path | None
    idle: int
    token: str = field(repr=False)
    gemini_api_key: Secret
    google_api_key: Secret
    gemini_model: str
    gemini_base_url: str
    ollama_host: str
    ollama_model: str
    ollama_free_mb: int
    prices: Path | None
    proxies: int
    chat_deck: str
    chat_tiers: tuple[str, ...]
    chat_vary: bool
    chat_deadline: float
    chat_strong: str
    chat_learn: bool
    chat_pace: int
    chat_rate: int
    openai_api_key: Secret
    openai_base_url: str
    timeout: float

    @property
    def store_options(self) -> StoreOptions:
        """Where the store is and how it is served."""
        return StoreOptions(self.store, self.redis, self.sources, self.radius)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings of an environment; those that came in a bundle replace the defaults.

        Raises SettingError, which names the setting.
        """
        given = {**read_bundled(environ), **environ}
        values = {
            row.field: row.read(row.name, given.get(row.name) or row.default) for row in TABLE
        }
        data: Path = values["data"]
        values["decks"] = values["decks"] or data / "decks"
        values["redis"] = values["store"] if isinstance(values["store"], str) else ""
        values["store"] = data / "store" if values["redis"] else values["store"] or data / "store"
        values["ledger"] = values["ledger"] or data / "ledger"
        if realpath(values["ledger"]) == realpath(values["store"]):
            # Both write <deck>.jsonl there: misses would be mixed with entries.
            raise SettingError(
                "TSUKURIOKI_LEDGER", str(values["ledger"]), "another folder than the store's"
            )
        site: Path | None = values["site"]
        if site is not None:
            index = site / "index.html"
            if not index.is_file() or not index.resolve().is_relative_to(site.resolve()):
                raise SettingError("TSUKURIOKI_SITE", str(site), "a folder with index.html in it")
        return cls(**values)
