"""Ollama through its client: for cooking, and for the chat ladder's local tier."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from app.errors import ProviderError, ProviderRetryError, ProviderStopError
from app.providers import Completion, Prompt, deadline
from app.providers.google import plain
from app.providers.secret import Secret
from app.store.entry import Usage

_NO_KEY = Secret("")
MIB = 1 << 20


def available_memory() -> int:
    """Bytes that programs can have without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


class Ollama:
    """A model that Ollama runs.

    `free_mb` guards the memory: where the model is not loaded yet and less is available on this
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
        import pydantic

        self.model = model
        self._host = host
        self._keep_alive = keep_alive
        self._free = free_mb * MIB
        self._memory = memory
        self._http_error = httpx.HTTPError
        self._unreadable_errors = (
            json.JSONDecodeError,
            UnicodeDecodeError,
            pydantic.ValidationError,
        )
        self._timeout_error = httpx.TimeoutException
        self._response_error = ollama.ResponseError
        # Without trust_env=False requests to this machine go through a proxy where one is set.
        self._client: Any = ollama.Client(
            host=host,
            timeout=httpx.Timeout(timeout, connect=min(10.0, timeout)),
            trust_env=False,
            transport=deadline.transport(httpx, timeout, host),
        )

    def complete(self, prompt: Prompt) -> Completion:
        """One request."""
        messages = [{"role": "user", "content": prompt.asked}]
        if prompt.fixed:
            messages.insert(0, {"role": "system", "content": prompt.fixed})
        with self._faults():
            self._guard()
            reply = self._client.chat(
                model=self.model,
                messages=messages,
                stream=False,
                format=deepcopy(dict(prompt.schema)) or None,
                options={"num_predict": prompt.most_tokens, "temperature": 0.9},
                keep_alive=self._keep_alive,
            )
        text = reply.message.content or ""
        fault = "truncated" if reply.done_reason == "length" else "" if text else "empty"
        usage = Usage(prompt=reply.prompt_eval_count or 0, output=reply.eval_count or 0)
        return Completion(text, reply.model or self.model, usage, fault)

    def _guard(self) -> None:
        """Loading a model into too little memory brings the whole machine down."""
        if not deadline.is_local(self._host) or self._memory() >= self._free or self._listed():
            return
        raise ProviderStopError(
            f"{self._memory() // MIB} MiB of memory are available, {self._free // MIB} are asked "
            f"for before {self.model} is loaded",
            "free memory, choose a smaller model, or lower TSUKURIOKI_OLLAMA_FREE_MB",
        )

    def _listed(self) -> bool:
        return any(m.model == self.model for m in self._client.ps().models)

    def loaded(self) -> bool:
        """Whether the model is in memory. Raises ProviderError."""
        with self._faults():
            return self._listed()

    def preload(self) -> None:
        """Load the model, within the guard. Raises ProviderError."""
        with self._faults():
            self._guard()
            self._client.generate(model=self.model, keep_alive=self._keep_alive)

    def unload(self) -> None:
        """Give the model's memory back. Raises ProviderError."""
        with self._faults():
            self._client.generate(model=self.model, keep_alive=0)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the client raises becomes an error of ours."""
        try:
            yield
        except self._response_error as error:
            raise self._service_error(error) from None
        except self._timeout_error as error:
            told = plain(str(error), _NO_KEY) or type(error).__name__
            raise ProviderRetryError(f"Ollama: {told}", kind="time-out") from None
        except (ConnectionError, self._http_error) as error:
            told = plain(str(error), _NO_KEY) or type(error).__name__
            fault = f"Ollama at {self._host}: {told}"
            raise ProviderRetryError(fault, kind="connection") from None
        except self._unreadable_errors as error:
            fault = f"Ollama's reply cannot be read ({type(error).__name__})"
            raise ProviderRetryError(fault, kind="unreadable") from None

    def _service_error(self, error: Any) -> ProviderError:
        told = plain(str(error.error), _NO_KEY)
        code = int(error.status_code)
        if "more system memory" in told:
            return ProviderStopError(
                f"Ollama: {told}", "free memory or choose a smaller model with --model"
            )
        if code == 404:
            return ProviderStopError(f"Ollama: {told}", f"run: ollama pull {self.model}")
        if code in (400, 401, 403):
            return ProviderStopError(f"Ollama refused the request ({code}): {told}")
        return ProviderRetryError(f"Ollama ({code}): {told}", kind=str(code))

    def close(self) -> None:
        """Close the connections; the model stays loaded for its time."""
        self._client.close()
