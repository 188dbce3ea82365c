"""Gemini through google-genai, the maintained library."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.errors import ProviderRetryError
from app.providers import Completion, Prompt, deadline
from app.providers.google import (
    details_of,
    error_of,
    finish_fault,
    google_schema,
    plain,
    thinking_of,
)
from app.providers.secret import Secret
from app.store.entry import Usage

# Accepted and without effect on 3.5 and later, where variety comes from the prompt; older models
# and the requirements want it.
TEMPERATURE = 0.9


class Gemini:
    """A model of the Gemini API."""

    name = "gemini"

    def __init__(
        self, key: Secret, model: str, base_url: str, api_version: str, timeout: float
    ) -> None:
        import httpx2
        import pydantic
        from google import genai
        from google.genai import errors, types

        self.model = model
        self._key = key
        self._types = types
        self._errors = errors
        self._unreadable_errors = (
            json.JSONDecodeError,
            UnicodeDecodeError,
            pydantic.ValidationError,  # JSON, but not a reply
            errors.UnknownApiResponseError,
        )
        self._transport_errors = (httpx2.HTTPError, httpx2.InvalidURL)
        self._timeout_error = httpx2.TimeoutException
        self._connect_errors = (httpx2.ConnectError, httpx2.ConnectTimeout)
        self._http = deadline.client(httpx2, timeout, base_url)
        self.client = genai.Client(
            api_key=key.reveal(),
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=base_url,
                api_version=api_version,
                timeout=round(timeout * 1000),
                httpx_client=self._http,
            ),
        )
        # The name of cached contents that stand for the fixed part of prompts; see `cache`.
        self._cached: tuple[str, str] | None = None

    def complete(self, prompt: Prompt) -> Completion:
        """One request."""
        with self.faults():
            reply = self.client.models.generate_content(
                model=self.model, contents=prompt.asked, config=self._config(prompt)
            )
        return self._completion(reply)

    def _config(self, prompt: Prompt) -> Any:
        thinking = thinking_of(self.model)
        cached = self._cached[1] if self._cached and self._cached[0] == prompt.fixed else None
        return self._types.GenerateContentConfig(
            system_instruction=prompt.fixed if prompt.fixed and not cached else None,
            cached_content=cached,
            temperature=TEMPERATURE,
            max_output_tokens=prompt.most_tokens,
            response_mime_type="application/json",
            # A copy: the library writes into what it is given.
            response_schema=google_schema(prompt.schema),
            thinking_config=self._types.ThinkingConfig(**thinking) if thinking else None,
            automatic_function_calling=self._types.AutomaticFunctionCallingConfig(disable=True),
        )

    def _completion(self, reply: Any) -> Completion:
        blocked = getattr(reply.prompt_feedback, "block_reason", None)
        candidates = reply.candidates or ()
        text, fault = "", "empty"
        if blocked:
            fault = f"blocked: {getattr(blocked, 'name', blocked)}"
        elif candidates:
            content = candidates[0].content
            parts = (content.parts if content else None) or ()
            text = "".join(part.text or "" for part in parts if not part.thought)
            reason = candidates[0].finish_reason
            fault = finish_fault(str(getattr(reason, "name", reason or "")))
            fault = fault or ("" if text else "empty")
        return Completion(text, reply.model_version or self.model, _usage(reply), fault)

    @contextmanager
    def faults(self) -> Iterator[None]:
        """What the library raises becomes an error of ours; the key is scrubbed from it."""
        try:
            yield
        except self._errors.APIError as error:
            message, details = details_of(error.details)
            code = int(error.code or 0)
            raise error_of(
                code, message or str(error.message), details, self._key, self.model
            ) from None
        except self._unreadable_errors as error:
            fault = f"Gemini's reply cannot be read ({type(error).__name__})"
            raise ProviderRetryError(fault, kind="unreadable", sent=True) from None
        except self._transport_errors as error:
            kind = "time-out" if isinstance(error, self._timeout_error) else "connection"
            sent = not isinstance(error, self._connect_errors)
            told = plain(str(error), self._key) or type(error).__name__
            raise ProviderRetryError(f"Gemini: {told}", kind=kind, sent=sent) from None

    def cache(self, fixed: str, seconds: int) -> Any:
        """Have the service keep the fixed part of prompts; returns what it says of it."""
        config = self._types.CreateCachedContentConfig(
            system_instruction=fixed, ttl=f"{seconds}s", display_name="tsukurioki"
        )
        with self.faults():
            kept = self.client.caches.create(model=self.model, config=config)
        self._cached = (fixed, str(kept.name))
        return kept

    def drop_cache(self) -> None:
        """Have the service forget it: it is paid by the hour."""
        if self._cached:
            _, name = self._cached
            self._cached = None
            with self.faults():
                self.client.caches.delete(name=name)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self._http.close()


def _usage(reply: Any) -> Usage | None:
    used = reply.usage_metadata
    if used is None:
        return None
    return Usage(
        prompt=used.prompt_token_count or 0,
        output=used.candidates_token_count or 0,
        thoughts=used.thoughts_token_count or 0,
        cached=used.cached_content_token_count or 0,
    )
