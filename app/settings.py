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
    """A host's name as requests have it, in lower case and Punycode; `.name` includes subdomains."""
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
    Setting("TSUKURIOKI_DECKS", "decks", "", "the folder of decks; `decks` in the data folder", _optional_path),
    Setting("TSUKURIOKI_STORE", "store", "", "the store's folder; `store` in the data folder. Or redis://host:port/number: served from there, built in the folder", _store),
    Setting("TSUKURIOKI_LEDGER", "ledger", "", "the ledger's folder, for misses, votes and deals; `ledger` in the data folder", _optional_path),
    Setting("TSUKURIOKI_LEDGER_MB", "ledger_mb", "16", "how large each journal in it may grow, in MiB, before the oldest half goes", _whole(1, 100_000)),
    Setting("TSUKURIOKI_MISSES", "misses", "on", "whether misses are noted, on or off", _switch),
    Setting("TSUKURIOKI_DECK", "deck", "poem", "the deck that `POST /api/generate-poem` and the page play", _text),
    Setting("TSUKURIOKI_TIERS", "tiers", ",".join(TIERS), "the ladder of a deck of cards, in order; local (Ollama) and cloud (Gemini) are left out until you name them", _words_of(ALL_TIERS)),
    Setting("TSUKURIOKI_DEADLINE", "deadline", "8", "seconds that local or cloud may take to write an answer to a play", _seconds),
    Setting("TSUKURIOKI_LOCAL_PROMPT", "local_prompt", "small", "how local is asked: small (two steps, for a small model) or whole (one step, for a large one)", _one_of("small", "whole")),
    Setting("TSUKURIOKI_RADIUS", "radius", "1", "in how many phrases a same_hand answer may differ", _whole(0, 12)),
    Setting("TSUKURIOKI_SOURCES", "sources", ",".join(DEFAULT_ORDER), "sources, best first: which entry of a key is served", _words),
    Setting("TSUKURIOKI_HOST", "host", "127.0.0.1", "address to listen on; 0.0.0.0 for other machines", _text),
    Setting("TSUKURIOKI_PORT", "port", "8000", "port to listen on", _whole(1, 65535)),
    Setting("TSUKURIOKI_HOSTS", "hosts", "", "names, with commas, that the server answers to beside IP addresses, localhost, TSUKURIOKI_HOST and the machine's own name; `*` for any", _hosts),
    Setting("TSUKURIOKI_WORKERS", "workers", "2", "worker processes", _whole(1, 256)),
    Setting("TSUKURIOKI_THREADS", "threads", "8", "answers that a worker makes at once, beside those from the store", _whole(1, 4096)),
    Setting("TSUKURIOKI_BACKLOG", "backlog", "1024", "connections that may wait to be taken", _whole(1, 65535)),
    Setting("TSUKURIOKI_REQUEST_SECONDS", "request_seconds", "30", "seconds that a client may take to send the head of a request, and then its body; a connection that is silent for as long is closed", _seconds),
    Setting("TSUKURIOKI_CORS_ORIGINS", "cors_origins", "", "origins that may call from a browser, with commas; none by default", _words),
    Setting("TSUKURIOKI_SITE", "site", "", "folder of a built front end to serve at `/` instead of the page", _optional_path),
    Setting("TSUKURIOKI_IDLE", "idle", "60", "seconds without a touch after which the kiosk page goes back to its start", _whole(5, 86_400)),
    Setting("TSUKURIOKI_TOKEN", "token", "", "what must be shown to read figures, to tend the wall and to chat; none by default", _token),
    Setting("GEMINI_API_KEY", "gemini_api_key", "", "the key for Gemini; where it is set, a build uses Gemini", _secret),
    Setting("GOOGLE_API_KEY", "google_api_key", "", "the same, by its other name; GEMINI_API_KEY comes first", _secret),
    Setting("TSUKURIOKI_GEMINI_MODEL", "gemini_model", "gemini-3.5-flash-lite", "the model of gemini and gemini-legacy", _text),
    Setting("TSUKURIOKI_GEMINI_BASE_URL", "gemini_base_url", "https://generativelanguage.googleapis.com", "where Gemini is", _text),
    Setting("TSUKURIOKI_GEMINI_API_VERSION", "gemini_api_version", "v1", "version of Gemini's API; models named *-latest are in v1beta only", _text),
    Setting("OLLAMA_HOST", "ollama_host", "http://127.0.0.1:11434", "where Ollama is", _text),
    Setting("TSUKURIOKI_OLLAMA_MODEL", "ollama_model", "qwen2.5:0.5b", "the model of ollama", _text),
    Setting("TSUKURIOKI_OLLAMA_KEEP_ALIVE", "ollama_keep_alive", "300", "seconds for which Ollama keeps an idle model in memory", _seconds),
    Setting("TSUKURIOKI_OLLAMA_FREE_MB", "ollama_free_mb", "600", "available memory, in MiB, without which no model is loaded on this machine", _whole(0, 1_000_000)),
    Setting("TSUKURIOKI_PRICES", "prices", "", "a price table (JSON) whose models replace those of the one in the box", _optional_path),
    Setting("TSUKURIOKI_PROXIES", "proxies", "0", "how many proxies of yours stand before the server and name the client in X-Forwarded-For", _whole(0, 10)),
    Setting("TSUKURIOKI_CHAT_DECK", "chat_deck", "", "the deck of patterns that `/chat` and `POST /api/chat` use; `chat` where it is there, else the first", _text),
    Setting("TSUKURIOKI_CHAT_TIERS", "chat_tiers", "learned,rules,local,fallback", "the ladder of a chat, in order; cloud is left out until you name it", _words_of(CHAT_TIERS)),
    Setting("TSUKURIOKI_CHAT_VARY", "chat_vary", "off", "whether the local model varies the lines of the rules", _switch),
    Setting("TSUKURIOKI_CHAT_TOKENS", "chat_tokens", "50", "tokens of a local reply at most", _whole(1, 1000)),
    Setting("TSUKURIOKI_CHAT_DEADLINE", "chat_deadline", "5", "seconds for a local reply, loading included", _seconds),
    Setting("TSUKURIOKI_CHAT_CHEAP", "chat_cheap", "gemini-3.5-flash-lite", "the cloud's model for ordinary messages", _text),
    Setting("TSUKURIOKI_CHAT_STRONG", "chat_strong", "gemini-3.8-flash", "the cloud's model for important messages, and the one that costs are compared with", _text),
    Setting("TSUKURIOKI_CHAT_CLOUD_TOKENS", "chat_cloud_tokens", "200", "tokens of a cloud reply at most", _whole(1, 8192)),
    Setting("TSUKURIOKI_CHAT_CLOUD_DEADLINE", "chat_cloud_deadline", "10", "seconds for a cloud reply", _seconds),
    Setting("TSUKURIOKI_CHAT_FAILURES", "chat_failures", "3", "failures in a row after which a model is left alone", _whole(1, 1000)),
    Setting("TSUKURIOKI_CHAT_REST", "chat_rest", "30", "seconds for which it is left alone", _seconds),
    Setting("TSUKURIOKI_CHAT_LEARN", "chat_learn", "off", "whether messages that the cloud answered are kept, with their answers, for the next build", _switch),
    Setting("TSUKURIOKI_CHAT_HISTORY", "chat_history", "12", "messages that a model is shown at most, the newest", _whole(1, 200)),
    Setting("TSUKURIOKI_CHAT_CHARACTERS", "chat_characters", "2000", "characters of messages that a model is shown at most", _whole(1, 100_000)),
    Setting("TSUKURIOKI_CHAT_PACE", "chat_pace", "40", "characters a second at which stored lines are streamed; 0 sends them at once", _whole(0, 100_000)),
    Setting("TSUKURIOKI_CHAT_RATE", "chat_rate", "120", "chat messages a minute from one address; 0 sets no limit", _whole(0, 1_000_000)),
    Setting("TSUKURIOKI_CHAT_BURST", "chat_burst", "20", "of these, how many may come at once", _whole(1, 1_000_000)),
    Setting("TSUKURIOKI_CHAT_CONVERSATIONS", "chat_conversations", "4096", "conversations that are remembered; of more, the oldest are forgotten", _whole(1, 10_000_000)),
    Setting("TSUKURIOKI_CHAT_FORGET", "chat_forget", "3600", "seconds after which a conversation is forgotten", _seconds),
    Setting("TSUKURIOKI_CHAT_SEED", "chat_seed", "0", "another seed, another order of lines", _text),
    Setting("OPENAI_API_KEY", "openai_api_key", "", "the key for an OpenAI-compatible server; local ones need none", _secret),
    Setting("OPENAI_BASE_URL", "openai_base_url", "", "where the OpenAI-compatible server is, with its /v1; OpenAI itself where only a key is set", _text),
    Setting("TSUKURIOKI_OPENAI_MODEL", "openai_model", "", "the model of openai; where none is named, the first that the server lists", _text),
    Setting("TSUKURIOKI_TIMEOUT", "timeout", "120", "seconds for one reply of a provider, while cooking", _seconds),
    Setting("TSUKURIOKI_RPM", "rpm", "60", "requests a minute to a provider on the network", _whole(1, 1_000_000)),
    Setting("TSUKURIOKI_TPM", "tpm", "250000", "tokens a minute to a provider on the network", _whole(1_000, 1_000_000_000)),
    Setting("TSUKURIOKI_BATCH_POLL", "batch_poll", "20", "seconds between two looks at a batch job", _seconds),
    Setting("TSUKURIOKI_CONCURRENCY", "concurrency", "4", "requests to a provider on the network at once", _whole(1, 256)),
)  # fmt: skip


# The file in the data folder with the settings that came in a bundle.
SETTINGS_FILE = "settings.env"
# The settings that a bundle may contain: how answers are found and shown. Secrets, folders, where the
# server listens, whom it trusts and where keys are sent are for the person who runs the machine.
_TRAVEL = frozenset(
    [
        "ledger_mb",
        "misses",
        "deck",
        "tiers",
        "radius",
        "sources",
        "workers",
        "threads",
        "idle",
        "gemini_model",
        "ollama_model",
        "ollama_keep_alive",
        "openai_model",
        "chat_deck",
        "chat_tiers",
        "chat_vary",
        "chat_tokens",
        "chat_deadline",
        "chat_cheap",
        "chat_strong",
        "chat_cloud_tokens",
        "chat_cloud_deadline",
        "chat_failures",
        "chat_rest",
        "chat_learn",
        "chat_history",
        "chat_characters",
        "chat_pace",
        "chat_rate",
        "chat_burst",
        "chat_conversations",
        "chat_forget",
        "chat_seed",
    ]
)
_FOLDERS = frozenset({"data", "decks", "store", "ledger"})
# Characters that have no special meaning between single quotes for a shell or for systemd.
_PLAIN = re.compile(r"[^'\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,1000}")
_LINE = re.compile(r"([A-Z_]+)='(.*)'")
_MOST_BYTES = 1 << 16


def travelling_settings(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The settings given in `environ` that a bundle takes along, and the names of those it does not.

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
    ledger_mb: int
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
    threads: int
    backlog: int
    request_seconds: float
    cors_origins: tuple[str, ...]
    site: Path | None
    idle: int
    token: str = field(repr=False)
    gemini_api_key: Secret
    google_api_key: Secret
    gemini_model: str
    gemini_base_url: str
    gemini_api_version: str
    ollama_host: str
    ollama_model: str
    ollama_keep_alive: float
    ollama_free_mb: int
    prices: Path | None
    proxies: int
    chat_deck: str
    chat_tiers: tuple[str, ...]
    chat_vary: bool
    chat_tokens: int
    chat_deadline: float
    chat_cheap: str
    chat_strong: str
    chat_cloud_tokens: int
    chat_cloud_deadline: float
    chat_failures: int
    chat_rest: float
    chat_learn: bool
    chat_history: int
    chat_characters: int
    chat_pace: int
    chat_rate: int
    chat_burst: int
    chat_conversations: int
    chat_forget: float
    chat_seed: str
    openai_api_key: Secret
    openai_base_url: str
    openai_model: str
    timeout: float
    rpm: int
    tpm: int
    batch_poll: float
    concurrency: int

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
