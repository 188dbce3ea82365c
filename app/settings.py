"""All settings in one table: name in the environment, default, meaning.

Only the server and the command line read settings; other modules are passed the values they need.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from os.path import realpath
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from app.errors import SettingError
from app.providers import CloudModels, ModelName
from app.providers.secret import Secret
from app.store.options import StoreOptions
from app.store.plain import open_file
from app.store.sources import DEFAULT_ORDER

TIERS = ("exact", "same_hand", "composed", "template")
# The tiers that ask a model are used only if the operator names them.
ALL_TIERS = (*TIERS, "local", "cloud")
PROMPT_MODES = ("replay", "record", "auto")
CHAT_TIERS = ("learned", "rules", "local", "cloud", "fallback")


class Setting(NamedTuple):
    """Where a field of `Settings` comes from. `read` parses (name, value).

    `travels`: a bundle may contain it. Such settings say how answers are found and shown; secrets,
    folders, where the server listens, whom it trusts and where keys are sent are for the person who
    runs the machine.
    """

    name: str
    default: str
    meaning: str
    read: Callable[[str, str], Any]
    travels: bool = False


def _setting(
    name: str,
    default: str,
    meaning: str,
    read: Callable[[str, str], Any],
    *,
    travels: bool = False,
    hidden: bool = False,
) -> Any:
    row = Setting(name, default, meaning, read, travels)
    return field(repr=not hidden, metadata={"setting": row})


def _text(name: str, value: str) -> str:
    return value


def _address(name: str, value: str) -> str:
    """An address as client libraries take it, with or without a scheme; they raise for what is none."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        unreadable = parts.port == 0 or not value.isprintable() or " " in value
    except ValueError:
        unreadable = True
    if unreadable:
        raise SettingError(name, value, "an address, as http://127.0.0.1:11434")
    return value


def _path(name: str, value: str) -> Path:
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise SettingError(name, value, "a folder; there is no such user") from None


def _check_folder(name: str, path: Path) -> None:
    """Raise SettingError if a file is in the place of a folder; a missing folder is made later."""
    found = next((step for step in (path, *path.parents) if step.exists()), None)
    if found and not found.is_dir():
        raise SettingError(name, str(path), f"a folder; {found} is a file")


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


def _origins(name: str, value: str) -> tuple[str, ...]:
    """Origins as browsers send them; `null` is that of pages without one."""
    words = tuple(word.lower() for word in _words(name, value))
    for word in words:
        if word != "null" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@*]+", word):
            expected = (
                "origins with commas, as https://game.example: scheme and host, no path, no *"
            )
            raise SettingError(name, word, expected)
    return words


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


def _cloud(name: str, value: str) -> CloudModels:
    models = [ModelName(*word.partition(":")[::2]) for word in _words(name, value)]
    known = all(
        provider == "openai" or (provider == "gemini" and model) for provider, model in models
    )
    if not known or not 1 <= len(models) <= 2:
        expected = "one or two of gemini:MODEL and openai:MODEL, with a comma between"
        raise SettingError(name, value, expected)
    return CloudModels(models[0], models[-1])


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


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings as values. Made by `Settings.read`; each field's row says where it comes from."""

    # The address of Redis, which TSUKURIOKI_STORE can name in place of a folder.
    redis: str
    # fmt: off
    data: Path = _setting("TSUKURIOKI_DATA", "data", "the data folder", _path)
    decks: Path = _setting("TSUKURIOKI_DECKS", "", "the folder of decks; if empty, `decks` in the data folder", _optional_path)
    store: Path = _setting("TSUKURIOKI_STORE", "", "the folder of the store; if empty, `store` in the data folder. With redis://host:port/number, answers are served from Redis and the log stays in the data folder", _store)
    ledger: Path = _setting("TSUKURIOKI_LEDGER", "", "the folder of the ledger (misses, votes, deals, counts); if empty, `ledger` in the data folder", _optional_path)
    misses: bool = _setting("TSUKURIOKI_MISSES", "on", "whether misses are noted, on or off", _switch, travels=True)
    prices: Path | None = _setting("TSUKURIOKI_PRICES", "", "a price table (JSON); its models replace those of the built-in table", _optional_path)
    deck: str = _setting("TSUKURIOKI_DECK", "poem", "the deck of `POST /api/generate-poem` and of the page; if it is not set, the first deck of cards of TSUKURIOKI_DECKS_SHOWN", _text, travels=True)
    decks_shown: tuple[str, ...] = _setting("TSUKURIOKI_DECKS_SHOWN", "", "decks of cards or characters, with commas, that the pages show; of several, a visitor chooses one and a language on a start page, to which an idle kiosk returns. If empty, TSUKURIOKI_DECK alone", _words, travels=True)
    tiers: tuple[str, ...] = _setting("TSUKURIOKI_TIERS", ",".join(TIERS), "the tiers for decks of cards, in order; local (Ollama) and cloud (TSUKURIOKI_CLOUD) are used only if you name them", _words_of(ALL_TIERS), travels=True)
    radius: int = _setting("TSUKURIOKI_RADIUS", "1", "in how many phrases a same_hand answer may differ from the play", _whole(0, 12), travels=True)
    sources: tuple[str, ...] = _setting("TSUKURIOKI_SOURCES", ",".join(DEFAULT_ORDER), "sources, best first: if several have an answer for a play, the best one is served", _words, travels=True)
    approved: bool = _setting("TSUKURIOKI_APPROVED", "off", "whether only those stored answers are served that a reviewer approved or wrote, on or off", _switch, travels=True)
    deadline: float = _setting("TSUKURIOKI_DEADLINE", "8", "seconds in which local or cloud must have written an answer to a play", _seconds)
    local_prompt: str = _setting("TSUKURIOKI_LOCAL_PROMPT", "small", "how local is asked: small (two steps, for a small model) or whole (one step, for a large one)", _one_of("small", "whole"))
    mode: str = _setting("TSUKURIOKI_MODE", "", "for all decks of prompts: replay (only what is recorded), record (ask upstream, keep the reply) or auto (replay, else record); if empty, each deck's own", _one_of("", *PROMPT_MODES))
    host: str = _setting("TSUKURIOKI_HOST", "127.0.0.1", "address to listen on; 0.0.0.0 lets other machines connect", _text)
    port: int = _setting("TSUKURIOKI_PORT", "8000", "port to listen on", _whole(1, 65535))
    hosts: tuple[str, ...] = _setting("TSUKURIOKI_HOSTS", "", "host names, with commas, that the server answers to besides IP addresses, localhost, TSUKURIOKI_HOST and the machine's own name; `*` for any", _hosts)
    proxies: int = _setting("TSUKURIOKI_PROXIES", "0", "how many proxies of your own stand before the server and write the client's address into X-Forwarded-For", _whole(0, 10))
    cors_origins: tuple[str, ...] = _setting("TSUKURIOKI_CORS_ORIGINS", "", "origins, with commas, whose pages may call the server from a browser; none by default", _origins)
    token: str = _setting("TSUKURIOKI_TOKEN", "", "what must be shown to read figures, to change the wall, to chat, and as an API key by clients of OpenAI, Ollama and Gemini; nothing by default", _token, hidden=True)
    workers: int = _setting("TSUKURIOKI_WORKERS", "2", "worker processes", _whole(1, 256), travels=True)
    request_seconds: float = _setting("TSUKURIOKI_REQUEST_SECONDS", "30", "seconds that a client has for sending the head of a request, and then its body; a connection that is silent for as long is closed", _seconds)
    site: Path | None = _setting("TSUKURIOKI_SITE", "", "folder of a built front end that is served at `/` instead of the page", _optional_path)
    idle: int = _setting("TSUKURIOKI_IDLE", "60", "seconds without a touch after which the kiosk page returns to its start", _whole(5, 86_400), travels=True)
    gemini_api_key: Secret = _setting("GEMINI_API_KEY", "", "the key for Gemini; if it is set, a build uses Gemini", _secret)
    google_api_key: Secret = _setting("GOOGLE_API_KEY", "", "another name for the same key; GEMINI_API_KEY comes first", _secret)
    gemini_model: str = _setting("TSUKURIOKI_GEMINI_MODEL", "gemini-3.5-flash-lite", "the model of gemini and gemini-legacy, while cooking", _text, travels=True)
    gemini_base_url: str = _setting("TSUKURIOKI_GEMINI_BASE_URL", "https://generativelanguage.googleapis.com", "the address of Gemini", _address)
    ollama_host: str = _setting("OLLAMA_HOST", "http://127.0.0.1:11434", "the address of Ollama", _address)
    ollama_model: str = _setting("TSUKURIOKI_OLLAMA_MODEL", "qwen2.5:0.5b", "the model of ollama", _text, travels=True)
    ollama_free_mb: int = _setting("TSUKURIOKI_OLLAMA_FREE_MB", "600", "MiB of memory that must be available before a model is loaded on this machine", _whole(0, 1_000_000))
    openai_api_key: Secret = _setting("OPENAI_API_KEY", "", "the key for an OpenAI-compatible server; local ones need none", _secret)
    openai_base_url: str = _setting("OPENAI_BASE_URL", "", "the address of the OpenAI-compatible server, with its /v1; OpenAI itself if only a key is set", _address)
    cloud: CloudModels = _setting("TSUKURIOKI_CLOUD", "gemini:gemini-3.5-flash-lite,gemini:gemini-3.8-flash", "the models of the tier cloud: one for plays and ordinary messages and, after a comma, one for important messages, with which costs are compared. gemini:MODEL, or openai:MODEL for any OpenAI-compatible server", _cloud, travels=True)
    timeout: float = _setting("TSUKURIOKI_TIMEOUT", "120", "seconds for one reply of a provider, while cooking", _seconds)
    chat_deck: str = _setting("TSUKURIOKI_CHAT_DECK", "", "the deck of `/chat` and `POST /api/chat`; if empty, the first of characters in TSUKURIOKI_DECKS_SHOWN, else `chat`, else the first", _text, travels=True)
    chat_tiers: tuple[str, ...] = _setting("TSUKURIOKI_CHAT_TIERS", "learned,rules,local,fallback", "the tiers of a chat, in order; cloud is used only if you name it", _words_of(CHAT_TIERS), travels=True)
    chat_vary: bool = _setting("TSUKURIOKI_CHAT_VARY", "off", "whether the local model varies the lines of the rules, on or off", _switch, travels=True)
    chat_deadline: float = _setting("TSUKURIOKI_CHAT_DEADLINE", "5", "seconds for a local reply, loading included", _seconds, travels=True)
    chat_learn: bool = _setting("TSUKURIOKI_CHAT_LEARN", "off", "whether messages that the cloud answered are kept with their answers for the next build, on or off", _switch, travels=True)
    chat_pace: int = _setting("TSUKURIOKI_CHAT_PACE", "40", "characters a second at which stored lines are streamed; 0 sends them at once", _whole(0, 100_000), travels=True)
    chat_rate: int = _setting("TSUKURIOKI_CHAT_RATE", "120", "chat messages a minute from one address, a sixth of them at once; 0 sets no limit", _whole(0, 1_000_000), travels=True)
    line_secret: Secret = _setting("TSUKURIOKI_LINE_SECRET", "", "the channel secret of a LINE bot; with it and the token, the chat deck answers at POST /line/webhook", _secret)
    line_token: Secret = _setting("TSUKURIOKI_LINE_TOKEN", "", "the channel access token of the LINE bot", _secret)
    line_character: str = _setting("TSUKURIOKI_LINE_CHARACTER", "", "the id of the character who answers at LINE; if empty, the first, and then whoever is called by name", _text, travels=True)
    line_base_url: str = _setting("TSUKURIOKI_LINE_BASE_URL", "https://api.line.me", "the address of LINE's API", _address)
    # fmt: on

    @property
    def store_options(self) -> StoreOptions:
        """Where the store is and how it is served."""
        return StoreOptions(self.store, self.redis, self.sources, self.radius, self.approved)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings of an environment; those that came in a bundle replace the defaults.

        Raises SettingError, which names the setting.
        """
        given = {**read_bundled(environ), **environ}
        values = {
            name: row.read(row.name, given.get(row.name) or row.default)
            for name, row in _ROWS.items()
        }
        data: Path = values["data"]
        values["decks"] = values["decks"] or data / "decks"
        if values["decks_shown"] and not given.get("TSUKURIOKI_DECK"):
            values["deck"] = values["decks_shown"][0]
        values["redis"] = values["store"] if isinstance(values["store"], str) else ""
        values["store"] = data / "store" if values["redis"] else values["store"] or data / "store"
        values["ledger"] = values["ledger"] or data / "ledger"
        for name in ("data", "decks", "store", "ledger"):
            _check_folder(_ROWS[name].name, values[name])
        if realpath(values["ledger"]) == realpath(values["store"]):
            # Both write <deck>.jsonl there: misses would be mixed with entries.
            raise SettingError(
                "TSUKURIOKI_LEDGER", str(values["ledger"]), "another folder than the store's"
            )
        if bool(values["line_secret"]) != bool(values["line_token"]):
            missing = "TOKEN" if values["line_secret"] else "SECRET"
            expected = "the one of the LINE channel: secret and token are set together"
            raise SettingError(f"TSUKURIOKI_LINE_{missing}", "", expected)
        site: Path | None = values["site"]
        if site is not None:
            index = site / "index.html"
            if not index.is_file() or not index.resolve().is_relative_to(site.resolve()):
                raise SettingError("TSUKURIOKI_SITE", str(site), "a folder with index.html in it")
        return cls(**values)


# By field, without the ones that are made of others.
_ROWS: dict[str, Setting] = {
    entry.name: entry.metadata["setting"] for entry in fields(Settings) if entry.metadata
}
TABLE = tuple(_ROWS.values())
# The prefix of the names of our own settings.
PREFIX = "TSUKURIOKI_"
# The file in the data folder with the settings that came in a bundle.
SETTINGS_FILE = "settings.env"
_FOLDERS = frozenset(
    {"TSUKURIOKI_DATA", "TSUKURIOKI_DECKS", "TSUKURIOKI_STORE", "TSUKURIOKI_LEDGER"}
)
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
    named = ", ".join(f"{name}{_meant(name, known)}" for name in strange)
    return f"no such setting, ignored: {named}; docs/settings.md lists what there is"


def _meant(name: str, known: Iterable[str]) -> str:
    # Compared without what all of them begin with, which would make any two of them alike.
    bare = {other.removeprefix(PREFIX): other for other in known}
    found = difflib.get_close_matches(name.removeprefix(PREFIX), sorted(bare), 1, 0.7)
    return f" (did you mean {bare[found[0]]}?)" if found else ""


def travelling_settings(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The settings in `environ` that a bundle takes along, and the names of those it does not.

    Folders are in neither: the bundle takes their contents.
    """
    given = {**read_bundled(environ), **environ}
    set_here = [row for row in TABLE if given.get(row.name)]
    kept = {row.name: given[row.name] for row in set_here if row.travels}
    return kept, [row.name for row in set_here if not row.travels and row.name not in _FOLDERS]


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


def bundled_notes(environ: Mapping[str, str]) -> list[str]:
    """A note on each setting that came in a bundle: its value, or the one that it gives way to."""
    return [
        f"the bundle sets {name}={value}"
        if environ.get(name, value) == value
        else f"{name}={environ[name]} here, not the bundle's {value}"
        for name, value in read_bundled(environ).items()
    ]


def _check_bundled(name: str, value: str) -> None:
    row = next((row for row in TABLE if row.name == name and row.travels), None)
    if row is None:
        raise SettingError(name, value[:80], "no such setting in a bundle")
    if not _PLAIN.fullmatch(value):
        raise SettingError(name, value[:80], "a value without quotes, backslashes and line breaks")
    row.read(name, value)
