"""Ollama through its client library."""

from __future__ import annotations

import importlib
import json
import socket
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from app.errors import ProviderError, ProviderRetryError, ProviderStopError
from app.providers import Completion, Prompt, transport
from app.providers.faults import (
    RemoteService,
    details_of,
    http_error,
    plain,
    retry_after,
    service_error,
    unreadable,
)
from app.providers.guards import MIB, available_memory
from app.providers.relay import Abort, Ask, Finish, Streams, chat_messages
from app.providers.secret import Secret
from app.store.entry import Usage

_NO_KEY = Secret("")
_PORT = 11434


class Loaded(NamedTuple):
    """A model in memory: its size in bytes, how many of them on an accelerator, until when."""

    name: str
    bytes: int
    accelerator_bytes: int
    until: str


class Ollama:
    """Ollama's API: whole replies for cooking, streamed replies at the event.

    `model` may be empty if only `stream` is used, whose `Ask` names a model. `timeout` is in
    seconds, for a whole reply including loading. If the server is on this machine, the model is not
    loaded yet and less than `free_mb` MiB of memory are available, it is not asked; `memory` gives
    the available bytes.
    """

    name = "ollama"

    def __init__(
        self,
        host: str,
        model: str,
        timeout: float,
        free_mb: int = 600,
        memory: Callable[[], int] = available_memory,
    ) -> None:
        import httpx

        from app.providers import replies

        ollama = _library()

        self.model = model
        self._host = host
        self._free = free_mb * MIB
        self._memory = memory
        self._replies = replies
        self._httpx = httpx
        self._response_error = ollama.ResponseError
        self._service = RemoteService(
            "Ollama", _NO_KEY, {404: f"run: ollama pull {model}"}, {404: "missing", 503: "busy"}
        )
        # The library does not return headers, nor a body that it cannot parse: the last response of
        # each thread is kept here.
        self._last = threading.local()
        self._streams = Streams()
        self._client: Any = ollama.Client(
            host=host,
            event_hooks={"request": [self._streams.prepare], "response": [self._keep]},
            **transport.options(httpx, timeout, host),
        )

    def _keep(self, response: Any) -> None:
        self._last.response = response

    def complete(self, prompt: Prompt) -> Completion:
        """The reply to one request. Raises ProviderRetryError and ProviderStopError."""
        messages = chat_messages(prompt.fixed, [{"role": "user", "content": prompt.asked}])
        with self._faults():
            self._guard(self.model)
        self._last.response = None
        with self._faults():
            try:
                self._client.chat(
                    model=self.model,
                    messages=messages,
                    stream=False,
                    format=deepcopy(dict(prompt.schema)) or None,
                    options={"num_predict": prompt.most_tokens, "temperature": 0.9},
                )
            except self._replies.PARSE_ERRORS:
                # The library cannot parse the reply: it is parsed below, with the reason.
                if self._last.response is None:
                    raise
        response = self._last.response
        if response.status_code >= 400:
            raise service_error(self._service, response.status_code, "an error that cannot be read")
        body = response.content
        read = self._replies.read_reply(self._replies.OllamaReply, body, self._service)
        return read.completion(self.model)

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The chunks of a reply as they are written. Raises ProviderError."""
        with self._streams.begun(ask, abort), self._faults():
            self._guard(ask.model)
            parts = self._client.chat(
                model=ask.model,
                messages=chat_messages(ask.system, ask.messages),
                stream=True,
                format=ask.schema,
                options={"num_predict": ask.most_tokens, "temperature": 0.7},
            )
            for part in parts:
                if part.message.content:
                    yield part.message.content
                if part.done:
                    yield _finish(part, ask.model)
                    return

    def loaded(self) -> list[Loaded]:
        """The models in memory. Raises ProviderError."""
        with self._faults():
            return [
                Loaded(str(m.model), m.size or 0, m.size_vram or 0, str(m.expires_at or ""))
                for m in self._client.ps().models
            ]

    def _guard(self, model: str) -> None:
        """Raise ProviderStopError rather than load a model into too little memory."""
        if not transport.is_local(self._host) or self._memory() >= self._free:
            return
        if any(loaded.model == model for loaded in self._client.ps().models):
            return
        raise ProviderStopError(
            f"{self._memory() // MIB} MiB of memory are available, {self._free // MIB} are asked "
            f"for before {model} is loaded",
            "free memory, choose a smaller model, or lower TSUKURIOKI_OLLAMA_FREE_MB",
            "no_memory",
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Translate the library's errors into ProviderError."""
        try:
            yield
        except self._response_error as error:
            raise self._service_error(error) from None
        except (ConnectionError, self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            raise http_error(self._service, self._httpx, error) from None
        except self._replies.PARSE_ERRORS as error:
            raise unreadable(self._service, type(error).__name__) from None

    def _service_error(self, error: Any) -> ProviderError:
        text, code = str(error.error), int(error.status_code)
        if "more system memory" in text:
            return ProviderStopError(
                f"Ollama: {plain(text, _NO_KEY)}",
                "free memory or choose a smaller model with --model",
                "no_memory",
            )
        if code < 0:
            return ProviderRetryError(
                f"Ollama: {plain(text, _NO_KEY)}", kind="error", reason="in_stream"
            )
        response = getattr(self._last, "response", None)
        wait = retry_after(response.headers) if response is not None else None
        try:
            message = details_of(json.loads(text))[0]
        except self._replies.PARSE_ERRORS:
            message = ""
        return service_error(self._service, code, message or text, (), wait)

    def close(self) -> None:
        """Close the connections; the model stays loaded for as long as Ollama keeps it."""
        self._client.close()


def _library() -> Any:
    """Import the ollama package without the environment's proxies.

    On import it makes a client, which we do not use; that would raise ImportError if the
    environment names a SOCKS proxy and the package for it is not installed.
    """
    if imported := sys.modules.get("ollama"):
        return imported
    _client: Any = importlib.import_module("httpx._client")

    read = _client.get_environment_proxies
    _client.get_environment_proxies = dict
    try:
        return importlib.import_module("ollama")
    finally:
        _client.get_environment_proxies = read


def _finish(part: Any, model: str) -> Finish:
    usage = Usage(prompt=part.prompt_eval_count or 0, output=part.eval_count or 0)
    return Finish(part.model or model, usage, part.done_reason == "length")


def knock(host: str) -> None:
    """Raise ProviderError if `host` is this machine and no server listens there."""
    if not transport.is_local(host):
        return
    parts = urlsplit(host if "//" in host else f"//{host}")
    try:
        address = (parts.hostname or "127.0.0.1", parts.port or _PORT)
        socket.create_connection(address, 1.0).close()
    except (OSError, ValueError) as error:
        raise ProviderRetryError(f"Ollama: {error}", kind="connection", reason="refused") from None
