"""Any OpenAI-compatible server: LM Studio, vLLM, llama.cpp, Ollama's /v1, OpenAI itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from app.errors import ProviderError, ProviderRetryError, ProviderStopError
from app.providers import Completion, Prompt, deadline
from app.providers.google import plain
from app.providers.secret import Secret
from app.store.entry import Usage

OPENAI = "https://api.openai.com/v1"
# The library insists on a key; servers on this machine take any.
_ANY_KEY = "none"
# Ways to ask for JSON, best first: not every server knows each.
_SCHEMA, _OBJECT, _FREE = "json_schema", "json_object", "text"


class OpenAICompatible:
    """A model behind an OpenAI-compatible API.

    Where no model is named, it is the first that the server lists: what LM Studio has loaded.
    """

    name = "openai"

    def __init__(self, key: Secret, base_url: str, model: str, timeout: float) -> None:
        try:
            import httpx2
            import openai
            import pydantic
        except ImportError:
            raise ProviderStopError(
                "the openai library is not installed",
                "run: pip install 'tsukurioki[openai]'",
            ) from None
        if not base_url and not key:
            raise ProviderStopError(
                "neither OPENAI_BASE_URL nor OPENAI_API_KEY is set",
                "for LM Studio: OPENAI_BASE_URL=http://127.0.0.1:1234/v1",
            )
        self._key = key
        self._library = openai
        self._http_error = httpx2.HTTPError
        self._unreadable_errors = (
            json.JSONDecodeError,
            UnicodeDecodeError,
            pydantic.ValidationError,
        )
        self._forms = [_SCHEMA, _OBJECT, _FREE]
        self._base_url = base_url or OPENAI
        self._client = openai.OpenAI(
            api_key=key.reveal() or _ANY_KEY,
            base_url=self._base_url,
            timeout=timeout,
            max_retries=0,
            http_client=deadline.client(httpx2, timeout, self._base_url),
        )
        self.model = model or self._first_model()

    def _first_model(self) -> str:
        with self._faults():
            for model in self._client.models.list():
                return str(model.id)
        raise ProviderStopError(
            f"{self._base_url} lists no model", "load one there, or name one with --model"
        )

    def complete(self, prompt: Prompt) -> Completion:
        """One request; where the server does not know a schema, another in a plainer form."""
        while True:
            form = self._forms[0]
            try:
                with self._faults():
                    return self._completion(self._ask(prompt, form))
            except _FormError as error:
                if form == self._forms[0] and len(self._forms) > 1:
                    self._forms.pop(0)
                elif form == _FREE:
                    raise ProviderStopError(str(error)) from None

    def _ask(self, prompt: Prompt, form: str) -> Any:
        messages: list[Any] = [{"role": "user", "content": prompt.asked}]
        if prompt.fixed:
            messages.insert(0, {"role": "system", "content": prompt.fixed})
        wanted: dict[str, Any] = {"type": form}
        if form == _SCHEMA:
            wanted["json_schema"] = {"name": "answers", "schema": deepcopy(dict(prompt.schema))}
        return self._client.chat.completions.create(
            model=self.model,
            messages=messages,
            max_tokens=prompt.most_tokens,
            temperature=0.9,
            response_format=self._library.omit if form == _FREE else wanted,  # type: ignore[arg-type]
        )

    def _completion(self, reply: Any) -> Completion:
        # A 200 that is not JSON comes back from the library as a text.
        choices = getattr(reply, "choices", None)
        if not choices:
            return Completion("", self.model, _usage(reply), "empty")
        text = choices[0].message.content or ""
        reason = choices[0].finish_reason
        fault = "" if text else "empty"
        if reason == "length":
            fault = "truncated"
        elif reason == "content_filter" or getattr(choices[0].message, "refusal", None):
            fault = f"blocked: {reason}"
        return Completion(text, reply.model or self.model, _usage(reply), fault)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the library raises becomes an error of ours; the key is scrubbed from it."""
        library = self._library
        try:
            yield
        except library.APIStatusError as error:
            raise self._service_error(error) from None
        except (library.APITimeoutError, library.APIConnectionError) as error:
            cause = error.__cause__ or error
            told = plain(str(cause), self._key) or type(cause).__name__
            timed_out = isinstance(error, library.APITimeoutError)
            raise ProviderRetryError(
                f"{self._base_url}: {told}",
                kind="time-out" if timed_out else "connection",
                sent=timed_out or "refused" not in told,
            ) from None
        except self._http_error as error:
            told = plain(str(error), self._key) or type(error).__name__
            raise ProviderRetryError(
                f"{self._base_url}: {told}", kind="connection", sent=True
            ) from None
        except (library.APIError, *self._unreadable_errors) as error:
            fault = f"the reply of {self._base_url} cannot be read ({type(error).__name__})"
            raise ProviderRetryError(fault, kind="unreadable", sent=True) from None

    def _service_error(self, error: Any) -> ProviderError | _FormError:
        code = int(error.status_code)
        told = plain(str(error.message), self._key)
        if code == 429:
            return self._quota_error(error, told)
        if code in (408, 409) or code >= 500:
            return ProviderRetryError(f"{self._base_url} ({code}): {told}", kind=str(code))
        if code in (400, 422) and "response_format" in str(error.message):
            return _FormError(told)
        steps = {
            401: "put a valid key into OPENAI_API_KEY",
            403: "use a key that is allowed to do this",
            404: f"name a model that the server has with --model; asked for {self.model!r}",
        }
        step = steps.get(code, "see what the server says")
        return ProviderStopError(f"{self._base_url} refused the request ({code}): {told}", step)

    def _quota_error(self, error: Any, told: str) -> ProviderError:
        if error.code == "insufficient_quota":
            return ProviderStopError(
                f"{self._base_url}: the quota is used up (429): {told}", "enable billing"
            )
        wait = error.response.headers.get("retry-after", "")
        seconds = float(wait) if wait.replace(".", "", 1).isdigit() else None
        return ProviderRetryError(
            f"{self._base_url} asks for a pause (429): {told}", seconds, kind="429", hold=True
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _FormError(Exception):
    """The server does not know the form of JSON that was asked for."""


def _usage(reply: Any) -> Usage | None:
    used = getattr(reply, "usage", None)
    if used is None:
        return None
    cached = getattr(used.prompt_tokens_details, "cached_tokens", 0)
    thoughts = getattr(used.completion_tokens_details, "reasoning_tokens", 0) or 0
    return Usage(
        prompt=used.prompt_tokens,
        output=used.completion_tokens - thoughts,
        thoughts=thoughts,
        cached=cached or 0,
    )
