"""The models of Ollama, by its own client: list, show, fetch, make, copy, remove, unload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.errors import PlanError, ProviderStopError
from app.kinds.chat.deck import CharacterDeck
from app.kinds.kind import AnyDeck
from app.providers.guards import MIB
from precompute.cook.report import table
from precompute.models.modelfile import read_modelfile

# Seconds to connect, and for an answer; fetching a model has no limit as long as it goes on.
CONNECT, ANSWER = 3.0, 60.0
# What the client raises for a reply that it cannot read: no JSON, or JSON of another shape (pydantic's
# error is a ValueError).
_STRANGE = (ValueError, TypeError, AttributeError)


class Manager:
    """Ollama's models. Raises ModuleNotFoundError without its client; methods raise OperatorError."""

    def __init__(self, host: str, out: Console) -> None:
        import httpx
        import ollama

        self._faults: tuple[type[Exception], ...] = (
            ConnectionError,
            ollama.ResponseError,
            ollama.RequestError,
            httpx.HTTPError,
            httpx.InvalidURL,
        )
        self._host = host
        self._out = out
        timeout = httpx.Timeout(ANSWER, connect=CONNECT)
        with self._told():
            # The environment's proxies are not for a server on this machine.
            self._client = ollama.Client(host=host, timeout=timeout, trust_env=False)

    @contextmanager
    def _told(self, name: str = "") -> Iterator[None]:
        """Translate the client's errors."""
        try:
            yield
        except self._faults as error:
            raise self._sentence(error, name) from None
        except _STRANGE as error:
            raise ProviderStopError(
                f"what answers at {self._host} is no Ollama: {_one_line(str(error))[:80]}",
                "set OLLAMA_HOST to the address of one",
            ) from None

    def _sentence(self, error: Exception, name: str) -> ProviderStopError:
        status, said = getattr(error, "status_code", 0), str(getattr(error, "error", error))
        if status == 404:
            return ProviderStopError(
                f"Ollama at {self._host} has no model {name!r}",
                f"see `precompute models list`, or fetch it: precompute models pull {name}",
            )
        if status > 0:
            return ProviderStopError(f"Ollama at {self._host}: {_one_line(said)} ({status})", "")
        if isinstance(error, ConnectionError) or "connect" in type(error).__name__.lower():
            return ProviderStopError(
                f"no Ollama answers at {self._host}", "start it, or set OLLAMA_HOST"
            )
        return ProviderStopError(
            f"Ollama at {self._host}: {_one_line(said) or type(error).__name__}",
            "try again, or look at its log",
        )

    def _ended_well(self, status: str) -> None:
        """Check the last status of something that takes long. Raises ProviderStopError."""
        if status != "success":
            raise ProviderStopError(
                f"Ollama at {self._host} ended before it was done, with {status or 'nothing'!r}",
                "run the same again: it goes on where it stopped",
            )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()  # type: ignore[no-untyped-call]

    def list(self) -> None:
        """Print the models that are there."""
        with self._told():
            found = self._client.list().models
        rows = [
            (str(m.model), (f"{_size(m.size)}  {_text(m.details, 'parameter_size')}  "
             f"{_text(m.details, 'quantization_level')}"))
            for m in found
        ]  # fmt: skip
        table(self._out, f"{len(rows)} models of {self._host}", rows)

    def ps(self) -> None:
        """Print the models that are loaded."""
        with self._told():
            found = self._client.ps().models
        rows = [(str(m.model), f"{_size(m.size)}, until {m.expires_at}") for m in found]
        table(self._out, f"{len(rows)} models loaded", rows)

    def show(self, name: str) -> None:
        """Print what a model is."""
        with self._told(name):
            found = self._client.show(name)
        rows = [
            ("family", _text(found.details, "family")),
            ("parameters", _text(found.details, "parameter_size")),
            ("quantisation", _text(found.details, "quantization_level")),
            ("capabilities", ", ".join(found.capabilities or ())),
            ("settings", (found.parameters or "").strip()),
            ("template", (found.template or "").strip()),
        ]
        table(self._out, name, rows)

    def pull(self, name: str) -> None:
        """Fetch a model, with progress."""
        with self._told(name), self._bar() as bar:
            tasks: dict[str, Any] = {}
            status = ""
            for part in self._client.pull(name, stream=True):
                status = str(part.status)
                label = part.digest or part.status or ""
                if label not in tasks:
                    tasks[label] = bar.add_task(str(part.status), total=part.total)
                bar.update(tasks[label], completed=part.completed or 0, total=part.total)
            self._ended_well(status)
        self._say(f"{name} is there")

    def create(self, name: str, source: str, system: str) -> None:
        """Make a model of another one, of a merged folder, or of a Modelfile."""
        made = read_modelfile(source, system)
        with self._told(name), self._bar() as bar:
            task = bar.add_task("files", total=len(made.files) or None)
            files = {}
            for path in made.files:
                files[path.name] = self._client.create_blob(path)
                bar.advance(task)
            asked = made.arguments | ({"files": files} if files else {})
            status = ""
            for part in self._client.create(model=name, stream=True, **asked):
                status = str(part.status)
                bar.update(task, description=status)
            self._ended_well(status)
        self._say(
            f"{name} is there: precompute build --deck ID --n 100 --provider ollama --model {name}"
        )

    def copy(self, source: str, name: str) -> None:
        """Give a model another name."""
        with self._told(source):
            self._client.copy(source, name)
        self._say(f"{name} is {source}")

    def remove(self, name: str) -> None:
        """Remove a model."""
        with self._told(name):
            self._client.delete(name)
        self._say(f"{name} is removed")

    def unload(self, name: str) -> None:
        """Free a model's memory."""
        with self._told(name):
            self._client.generate(name, keep_alive=0)
        self._say(f"{name} is not in memory any more")

    def _say(self, sentence: str) -> None:
        self._out.print(sentence, highlight=False, markup=False)

    def _bar(self) -> Progress:
        err = Console(stderr=True)
        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=err,
            # A log gets the outcome alone.
            disable=not err.is_terminal,
        )


def system_of(deck: AnyDeck, character: str | None) -> str:
    """A character's persona. Raises PlanError, and RequestError for an unknown one."""
    if not isinstance(deck, CharacterDeck):
        raise PlanError(f"{deck.id!r} has no characters; name a chat deck with --deck")
    known = {one.id: one for one in deck.characters}
    if character is not None and character not in known:
        raise PlanError(f"deck {deck.id!r} has {', '.join(known)}, not {character!r}")
    return (known[character] if character else deck.characters[0]).persona


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _text(details: Any, member: str) -> str:
    return str(getattr(details, member, "") or "")


def _size(size: Any) -> str:
    return f"{int(size or 0) / MIB:,.0f} MiB"
