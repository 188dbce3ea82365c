"""Ollama through its client, for cooking. The chat's ladder asks it in `app.providers.chat_models`."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from app.errors import ProviderError, ProviderStopError
from app.providers import Completion, Prompt, transport
from app.providers.faults import (
    Service,
    connection_error,
    details_of,
    plain,
    retry_after,
    service_error,
    unreadable,
)
from app.providers.guards import MIB, available_memory
from app.providers.secret import Secret

_NO_KEY = Secret("")


class Ollama:
    """A model that Ollama runs.

    `free_mb` guards the memory: if the model is not loaded yet and less is available on this
    machine, it is not asked. `timeout` is for a whole reply, loading included.
    """

    name = "ollama"

    def __init__(
        self,
        host: str,
        model: str,
        timeout: float,
        keep_alive: float = 300.0,
        free_mb: int = 600,
        memory: Callable[[], int] = available_memory,
    ) -> None:
        import httpx
        import ollama

        from app.providers import replies

        self.model = model
        self._host = host
        self._keep_alive = keep_alive
        self._free = free_mb * MIB
        self._memory = memory
        self._replies = replies
        self._http_errors = (ConnectionError, httpx.HTTPError, httpx.InvalidURL)
        self._timeout_error = httpx.TimeoutException
        self._response_error = ollama.ResponseError
        self._service = Service("Ollama", _NO_KEY, {404: f"run: ollama pull {model}"})
        # The library hands on neither headers nor a body that it cannot read: each thread's last
        # response is kept.
        self._last = threading.local()
        # Without trust_env=False requests to this machine go through a proxy if one is set.
        self._client: Any = ollama.Client(
            host=host,
            timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
            trust_env=False,
            transport=transport.transport(httpx, timeout, host),
            event_hooks={"response": [self._keep]},
        )

    def _keep(self, response: Any) -> None:
        self._last.response = response

    def complete(self, prompt: Prompt) -> Completion:
        """One request."""
        messages = [{"role": "user", "content": prompt.asked}]
        if prompt.fixed:
            messages.insert(0, {"role": "system", "content": prompt.fixed})
        with self._faults():
            self._guard()
        self._last.response = None
        with self._faults():
            try:
                self._client.chat(
                    model=self.model,
                    messages=messages,
                    stream=False,
                    format=deepcopy(dict(prompt.schema)) or None,
                    options={"num_predict": prompt.most_tokens, "temperature": 0.9},
                    keep_alive=self._keep_alive,
                )
            except self._replies.PARSE_ERRORS:
                # It is read below, where what is wrong with it can be told.
                if self._last.response is None:
                    raise
        response = self._last.response
        if response.status_code >= 400:
            raise service_error(self._service, response.status_code, "an error that cannot be read")
        body = response.content
        read = self._replies.read_reply(self._replies.OllamaReply, body, self._service)
        return read.completion(self.model)

    def _guard(self) -> None:
        """Loading a model into too little memory brings the whole machine down."""
        if not transport.is_local(self._host) or self._memory() >= self._free or self._listed():
            return
        raise ProviderStopError(
            f"{self._memory() // MIB} MiB of memory are available, {self._free // MIB} are asked "
            f"for before {self.model} is loaded",
            "free memory, choose a smaller model, or lower TSUKURIOKI_OLLAMA_FREE_MB",
        )

    def _listed(self) -> bool:
        return any(m.model == self.model for m in self._client.ps().models)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the client raises becomes an error of ours."""
        try:
            yield
        except self._response_error as error:
            raise self._service_error(error) from None
        except self._http_errors as error:
            timed_out = isinstance(error, self._timeout_error)
            raise connection_error(self._service, error, timed_out=timed_out, sent=False) from None
        except self._replies.PARSE_ERRORS as error:
            raise unreadable(self._service, type(error).__name__) from None

    def _service_error(self, error: Any) -> ProviderError:
        told, code = str(error.error), int(error.status_code)
        if "more system memory" in told:
            return ProviderStopError(
                f"Ollama: {plain(told, _NO_KEY)}",
                "free memory or choose a smaller model with --model",
            )
        response = getattr(self._last, "response", None)
        wait = retry_after(response.headers) if response is not None else None
        try:
            message = details_of(json.loads(told))[0]
        except self._replies.PARSE_ERRORS:
            message = ""
        return service_error(self._service, code, message or told, (), wait)

    def close(self) -> None:
        """Close the connections; the model stays loaded for its time."""
        self._client.close()
