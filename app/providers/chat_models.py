"""The chat models: Ollama and Gemini, written out as they write. Clients are imported when made.

Every fault of theirs becomes a ModelFaultError whose reason is a word that `/stats` counts.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from app.errors import ModelFaultError
from app.providers.gemini import google_schema
from app.providers.guards import MIB
from app.providers.relay import Abort, Ask, Finish
from app.providers.secret import Secret
from app.store.entry import Usage

_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  # compared with, not bound to
# A connection to this machine is there at once or not at all.
_CONNECT = 1.0
_OLLAMA_PORT = 11434


class OllamaChat:
    """A model that Ollama runs. `idle` seconds after its last reply Ollama unloads it.

    `free_mb` guards the memory of this machine: where less is available and the model is not loaded
    yet, it is not asked.
    """

    name = "ollama"

    def __init__(self, host: str, idle: float, free_mb: int, memory: Callable[[], int]) -> None:
        self._host = host
        self._idle = idle
        self._free = free_mb * MIB
        self._memory = memory
        self._abort = Abort()

    @cached_property
    def _libraries(self) -> tuple[Any, Any]:
        try:
            import httpx
            import ollama
        except ImportError:
            raise ModelFaultError("not_installed", "the ollama package is not installed") from None
        return ollama, httpx

    @cached_property
    def _client(self) -> Any:
        """Made once: an HTTP client takes longer to make than a rule takes to answer.

        Without trust_env=False requests to this machine go through a proxy where one is set.
        Connections are not kept, so that each reply has a socket of its own to shut.
        """
        ollama, httpx = self._libraries
        return ollama.Client(
            host=self._host,
            timeout=httpx.Timeout(10.0, connect=_CONNECT),
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            event_hooks={"request": [self._watch]},
        )

    def _watch(self, request: Any) -> None:
        # Ollama is asked one thing at a time, so there is one abort to tell.
        request.extensions["trace"] = self._abort.trace
        timeout = dict(request.extensions["timeout"])
        timeout["read"] = self._seconds
        request.extensions["timeout"] = timeout

    def write(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """A reply of `/api/chat`, as it streams."""
        self._abort, self._seconds = abort, ask.seconds
        self._knock()
        with self._faults():
            self._guard(ask.model)
            stream = self._client.chat(
                model=ask.model,
                messages=[*_system(ask), *ask.messages],
                stream=True,
                format=ask.schema,
                options={"num_predict": ask.most_tokens, "temperature": 0.7},
                keep_alive=self._idle,
            )
            for part in stream:
                if part.message.content:
                    yield part.message.content
                if part.done:
                    usage = Usage(prompt=part.prompt_eval_count or 0, output=part.eval_count or 0)
                    yield Finish(part.model or ask.model, usage, part.done_reason == "length")
                    return

    def _knock(self) -> None:
        """Where nobody listens, the client library, which is large, need not even be imported."""
        if "_libraries" in self.__dict__ or not self._on_this_machine:
            return
        parts = urlsplit(self._host if "//" in self._host else f"//{self._host}")
        try:
            address = (parts.hostname or "127.0.0.1", parts.port or _OLLAMA_PORT)
            socket.create_connection(address, _CONNECT).close()
        except (OSError, ValueError) as error:
            raise ModelFaultError("refused", str(error)) from None

    def _guard(self, model: str) -> None:
        """Loading a model into too little memory brings the whole machine down."""
        if not self._on_this_machine or self._memory() >= self._free:
            return
        if not any(loaded.model == model for loaded in self._client.ps().models):
            raise ModelFaultError("no_memory", f"{self._memory() // MIB} MiB are available")

    @property
    def _on_this_machine(self) -> bool:
        host = self._host if "//" in self._host else f"//{self._host}"
        return (urlsplit(host).hostname or "localhost") in _LOCAL

    @contextmanager
    def _faults(self) -> Iterator[None]:
        ollama, httpx = self._libraries
        try:
            yield
        except ollama.ResponseError as error:
            raise ModelFaultError(_ollama_reason(error), str(error)) from None
        except httpx.TimeoutException as error:
            raise ModelFaultError("timeout", str(error)) from None
        except (ConnectionError, httpx.ConnectError) as error:
            raise ModelFaultError("refused", str(error)) from None
        except httpx.HTTPError as error:
            raise ModelFaultError("cut", str(error)) from None
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
            raise ModelFaultError("unreadable", type(error).__name__) from None


def _ollama_reason(error: Any) -> str:
    told = str(error.error)
    if "more system memory" in told:
        return "no_memory"
    known = {404: "missing", 503: "busy", -1: "in_stream"}
    return known.get(int(error.status_code), "server")


class GeminiChat:
    """Gemini through google-genai. Imported when it is first asked: the library is large."""

    name = "gemini"

    def __init__(self, key: Secret, base_url: str, api_version: str) -> None:
        self._key = key
        self._base_url = base_url
        self._api_version = api_version

    @cached_property
    def _libraries(self) -> tuple[Any, Any, Any]:
        try:
            import httpx2
            from google import genai
            from google.genai import errors
        except ImportError:
            raise ModelFaultError("not_installed", "google-genai is not installed") from None
        return genai, errors, httpx2

    def write(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """A reply, as it streams."""
        if not self._key:
            raise ModelFaultError("no_key", "no GEMINI_API_KEY is set")
        genai, _, _ = self._libraries
        with self._faults():
            client = genai.Client(api_key=self._key.reveal(), http_options=self._http(ask, abort))
            try:
                yield from self._parts(client, ask)
            finally:
                client.close()

    def _http(self, ask: Ask, abort: Abort) -> Any:
        def watch(request: Any) -> None:
            request.extensions["trace"] = abort.trace

        return self._libraries[0].types.HttpOptions(
            base_url=self._base_url,
            api_version=self._api_version,
            timeout=round(ask.seconds * 1000),
            client_args={"event_hooks": {"request": [watch]}, "trust_env": not self._is_near},
        )

    @property
    def _is_near(self) -> bool:
        return urlsplit(self._base_url).hostname in _LOCAL

    def _parts(self, client: Any, ask: Ask) -> Iterator[str | Finish]:
        usage, reason, model = Usage(), "", ask.model
        for part in client.models.generate_content_stream(
            model=ask.model, contents=[_content(m) for m in ask.messages], config=_config(ask)
        ):
            model = part.model_version or model
            if part.usage_metadata:
                usage = _usage(part.usage_metadata)
            if part.candidates and part.candidates[0].finish_reason:
                reason = part.candidates[0].finish_reason.name
            if part.text:
                yield part.text
        if reason not in ("STOP", "MAX_TOKENS"):
            raise ModelFaultError("blocked" if reason else "cut", reason or "no end")
        yield Finish(model, usage, reason == "MAX_TOKENS")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        _, errors, httpx = self._libraries
        try:
            yield
        except errors.APIError as error:
            known = {400: "key", 401: "key", 403: "key", 404: "missing", 429: "quota"}
            told = self._key.scrub(str(error.message or ""))
            raise ModelFaultError(known.get(int(error.code or 0), "server"), told) from None
        except httpx.TimeoutException:
            raise ModelFaultError("timeout", "no reply in time") from None
        except httpx.ConnectError:
            raise ModelFaultError("refused", "no connection") from None
        except httpx.HTTPError as error:
            raise ModelFaultError("cut", type(error).__name__) from None
        except (json.JSONDecodeError, UnicodeDecodeError, ValueError) as error:
            raise ModelFaultError("unreadable", type(error).__name__) from None


def _system(ask: Ask) -> list[Mapping[str, str]]:
    return [{"role": "system", "content": ask.system}] if ask.system else []


def _content(message: Mapping[str, str]) -> dict[str, Any]:
    role = "model" if message["role"] == "assistant" else "user"
    return {"role": role, "parts": [{"text": message["content"]}]}


def _config(ask: Ask) -> dict[str, Any]:
    thinking = {"thinking_budget": 0} if "2.5" in ask.model else {"thinking_level": "MINIMAL"}
    config: dict[str, Any] = {
        "system_instruction": ask.system or None,
        "max_output_tokens": ask.most_tokens,
        "thinking_config": thinking,
    }
    if ask.schema:
        config |= {
            "response_mime_type": "application/json",
            "response_schema": google_schema(ask.schema),
        }
    return config


def _usage(told: Any) -> Usage:
    return Usage(
        prompt=told.prompt_token_count or 0,
        output=told.candidates_token_count or 0,
        thoughts=told.thoughts_token_count or 0,
        cached=told.cached_content_token_count or 0,
    )
