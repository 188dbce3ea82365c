"""Gemini through google-genai, the maintained library."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from app.errors import ProviderRetryError, ProviderStopError
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
from app.providers.relay import Abort, Ask, Finish, Streams
from app.providers.secret import Secret
from app.store.entry import Usage

# Models from 3.5 on accept and ignore it (variety comes from the prompt); older models need it.
TEMPERATURE = 0.9
_REASONS = {400: "key", 401: "key", 403: "key", 404: "missing", 429: "quota"}
_MODEL_NAME = re.compile(r"(?:models/|tunedModels/)?[A-Za-z0-9][\w.@:-]*")


def gemini_service(key: Secret, model: str) -> RemoteService:
    """What a person can do about each error of the Gemini API."""
    steps = {
        401: "put a valid key into GEMINI_API_KEY",
        402: "enable billing for the key's project",
        403: "allow the Gemini API for the key's project, or use another key",
        404: f"name a model that the service has with --model; {model!r} it has not",
    }
    renewed = "go on after midnight Pacific time, when it is renewed, or with a paid key"
    return RemoteService("Gemini", key, steps, _REASONS, renewed)


def check_model(key: Secret, model: str) -> None:
    """Raise ProviderStopError if `model` cannot be a model's name."""
    if not _MODEL_NAME.fullmatch(model) or ".." in model:
        # The name is part of the request's URL: it must not be able to address another method.
        raise ProviderStopError(
            f"{plain(repr(model), key)} is no name of a Gemini model",
            "name one with --model, for example gemini-3.5-flash-lite",
            "missing",
        )


class Gemini:
    """The Gemini API: whole replies for cooking, streamed replies at the event.

    `model` may be empty if only `stream` is used, whose `Ask` names a model. `timeout` is in
    seconds, for a whole reply. Raises ProviderStopError without a key or with a wrong model name or
    proxy.
    """

    name = "gemini"

    def __init__(self, key: Secret, model: str, base_url: str, timeout: float) -> None:
        import httpx2
        from google import genai
        from google.genai import errors, types

        from app.providers import replies

        if not key:
            raise ProviderStopError("no key for Gemini is set", "set GEMINI_API_KEY", "no_key")
        if model:
            check_model(key, model)
        self.model = model
        self.service = gemini_service(key, model)
        self._types = types
        self._errors = errors
        self._replies = replies
        self._httpx2 = httpx2
        self._streams = Streams()
        self._http = httpx2.Client(
            event_hooks={"request": [self._streams.prepare]},
            **transport.options(httpx2, timeout, base_url),
        )
        self.client = genai.Client(
            api_key=key.reveal(),
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=base_url,
                timeout=round(timeout * 1000),
                httpx_client=self._http,
                # Not used; without it the library makes one that reads the environment's proxies.
                httpx_async_client=httpx2.AsyncClient(trust_env=False),
            ),
        )
        # A fixed part of prompts and the name under which the service caches it; see `cache`.
        self._cached: tuple[str, str] | None = None

    def complete(self, prompt: Prompt) -> Completion:
        """The reply to one request. Raises ProviderRetryError and ProviderStopError."""
        with self.faults():
            reply = self.client.models.generate_content(
                model=self.model, contents=prompt.asked, config=self._config(prompt)
            )
        response = reply.sdk_http_response
        body = (response.body if response else None) or "{}"
        read = self._replies.read_reply(self._replies.GeminiReply, body, self.service)
        return read.completion(self.model)

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The chunks of a reply as they are written. Raises ProviderError."""
        check_model(self.service.key, ask.model)
        usage, reason, model = Usage(), "", ask.model
        contents: Any = [_content(message) for message in ask.messages]
        with self._streams.begun(ask, abort), self.faults():
            for part in self.client.models.generate_content_stream(
                model=ask.model, contents=contents, config=self._stream_config(ask)
            ):
                model = part.model_version or model
                usage = _stream_usage(part.usage_metadata) or usage
                if part.candidates and part.candidates[0].finish_reason:
                    reason = part.candidates[0].finish_reason.name
                if part.text:
                    yield part.text
        if reason not in ("STOP", "MAX_TOKENS"):
            raise ProviderRetryError(
                f"Gemini ended with {reason or 'nothing'}", reason="blocked" if reason else "cut"
            )
        yield Finish(model, usage, reason == "MAX_TOKENS")

    def _stream_config(self, ask: Ask) -> Any:
        return {
            **generation_config(ask.model, ask.schema, ask.most_tokens),
            "http_options": {"timeout": round(ask.seconds * 1000)},
            "system_instruction": ask.system or None,
        }

    def _config(self, prompt: Prompt) -> Any:
        cached = self._cached[1] if self._cached and self._cached[0] == prompt.fixed else None
        return {
            **whole_config(self.model, prompt),
            "should_return_http_response": True,
            "system_instruction": prompt.fixed if prompt.fixed and not cached else None,
            "cached_content": cached,
            "automatic_function_calling": {"disable": True},
        }

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Translate the library's errors into ProviderError, with the key removed."""
        try:
            yield
        except self._errors.APIError as error:
            message, details = details_of(error.details)
            headers = getattr(error.response, "headers", None) or {}
            raise service_error(
                self.service,
                int(error.code or 0),
                message or error.message,
                details,
                retry_after(headers),
            ) from None
        except (self._httpx2.HTTPError, self._httpx2.InvalidURL) as error:
            raise http_error(self.service, self._httpx2, error) from None
        except (*self._replies.PARSE_ERRORS, self._errors.UnknownApiResponseError) as error:
            raise unreadable(self.service, type(error).__name__) from None

    def cache(self, fixed: str, seconds: int) -> Any:
        """Have the service cache the fixed part of prompts; returns its description of the cache.

        Raises ProviderError.
        """
        config = self._types.CreateCachedContentConfig(
            system_instruction=fixed, ttl=f"{seconds}s", display_name="tsukurioki"
        )
        with self.faults():
            kept = self.client.caches.create(model=self.model, config=config)
        self._cached = (fixed, str(kept.name))
        return kept

    def drop_cache(self) -> None:
        """Have the service delete the cache, which is billed by the hour. Raises ProviderError."""
        if self._cached:
            _, name = self._cached
            self._cached = None
            with self.faults():
                self.client.caches.delete(name=name)

    def close(self) -> None:
        self.client.close()
        self._http.close()


def _content(message: Mapping[str, str]) -> dict[str, Any]:
    role = "model" if message["role"] == "assistant" else "user"
    return {"role": role, "parts": [{"text": message["content"]}]}


def _stream_usage(counts: Any) -> Usage | None:
    if counts is None:
        return None
    return Usage(
        prompt=counts.prompt_token_count or 0,
        output=counts.candidates_token_count or 0,
        thoughts=counts.thoughts_token_count or 0,
        cached=counts.cached_content_token_count or 0,
    )


def whole_config(model: str, prompt: Prompt) -> dict[str, Any]:
    """The options of a request for a whole reply."""
    config = generation_config(model, prompt.schema, prompt.most_tokens)
    return {"temperature": TEMPERATURE, **config}


def generation_config(
    model: str, schema: Mapping[str, Any] | None, most_tokens: int
) -> dict[str, Any]:
    """The options by which a model writes; the schema is a copy, because the library writes into it."""
    config: dict[str, Any] = {"max_output_tokens": most_tokens}
    if schema is not None:
        config["response_mime_type"] = "application/json"
        config["response_schema"] = google_schema(schema)
    if thinking := thinking_of(model):
        config["thinking_config"] = thinking
    return config


def thinking_of(model: str) -> dict[str, Any] | None:
    """The least thinking that a model allows, None to leave it alone; thoughts are billed."""
    if "2.5" in model:
        return {"thinking_budget": 0}
    if re.search(r"gemini-([3-9]|\d\d)", model):
        return {"thinking_level": "MINIMAL"}
    return None


def google_schema(schema: Any) -> Any:
    """A copy of a JSON schema with the names of types in capitals, as Gemini has them."""
    if isinstance(schema, Mapping):
        return {
            name: value.upper()
            if name == "type" and isinstance(value, str)
            else google_schema(value)
            for name, value in schema.items()
        }
    return [google_schema(item) for item in schema] if isinstance(schema, list) else schema
