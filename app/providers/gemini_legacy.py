"""Gemini through google-generativeai, which is out of support; asked for by name.

It warns on import that it is, and that it uses names of protobuf that will go: whoever chose it
knows, so that the warnings are kept quiet here and nowhere else.
"""

from __future__ import annotations

import warnings
from typing import Any

from app.errors import ProviderError, ProviderRetryError
from app.providers import Completion, Prompt
from app.providers.gemini import TEMPERATURE
from app.providers.google import details_of, error_of, finish_fault, google_schema, plain
from app.providers.secret import Secret
from app.store.entry import Usage

_FINISH = ("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")


class GeminiLegacy:
    """A model of the Gemini API, by the old library over REST."""

    name = "gemini-legacy"

    def __init__(self, key: Secret, model: str, base_url: str, timeout: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import google.generativeai
            import requests
            from google.api_core import exceptions
            from google.protobuf import json_format

        self.model = model
        self._key = key
        self._timeout = timeout
        self._api_error = exceptions.GoogleAPICallError
        self._parse_error = json_format.ParseError
        self._requests = requests.exceptions
        # Its modules do not say what they export.
        self._library: Any = google.generativeai
        self._library.configure(
            api_key=key.reveal(), transport="rest", client_options={"api_endpoint": base_url}
        )

    def complete(self, prompt: Prompt) -> Completion:
        """One request. Raises ProviderRetryError and ProviderStopError."""
        model = self._library.GenerativeModel(self.model, system_instruction=prompt.fixed or None)
        config = self._library.GenerationConfig(
            temperature=TEMPERATURE,
            max_output_tokens=prompt.most_tokens,
            response_mime_type="application/json",
            response_schema=google_schema(prompt.schema),
        )
        options = {"timeout": self._timeout, "retry": None}
        connection = self._requests.ConnectionError
        try:
            reply = model.generate_content(
                prompt.asked, generation_config=config, request_options=options
            )
        except self._api_error as error:
            raise self._service_error(error) from None
        except self._requests.Timeout:
            fault = f"Gemini: no reply within {self._timeout:g} s"
            raise ProviderRetryError(fault, kind="time-out", sent=True) from None
        except self._requests.RequestException as error:
            told = plain(str(error), self._key) or type(error).__name__
            kind = "connection" if isinstance(error, connection) else "unreadable"
            sent = "refused" not in told
            raise ProviderRetryError(f"Gemini: {told}", kind=kind, sent=sent) from None
        except self._parse_error as error:
            fault = f"Gemini's reply cannot be read ({type(error).__name__})"
            raise ProviderRetryError(fault, kind="unreadable", sent=True) from None
        return self._completion(reply)

    def _service_error(self, error: Any) -> ProviderError:
        """The library unpacks some details and drops others; the body has them all."""
        body: object = None
        if error.response is not None:
            try:
                body = error.response.json()
            except ValueError:
                body = None
        message, details = details_of(body)
        code = int(error.code or 0)
        return error_of(code, message or str(error.message), details, self._key, self.model)

    def _completion(self, reply: Any) -> Completion:
        blocked = reply.prompt_feedback.block_reason
        text, fault = "", "empty"
        if blocked:
            fault = f"blocked: {getattr(blocked, 'name', blocked)}"
        elif reply.candidates:
            candidate = reply.candidates[0]
            # `.text` raises where there is no part, and takes parts that are thoughts for text.
            text = "".join(part.text for part in candidate.content.parts)
            reason = int(candidate.finish_reason)
            fault = finish_fault(_FINISH[reason] if reason < len(_FINISH) else f"REASON_{reason}")
            fault = fault or ("" if text else "empty")
        return Completion(text, self.model, _usage(reply), fault)

    def close(self) -> None:
        """The library keeps no connection that could be closed."""


def _usage(reply: Any) -> Usage:
    used = reply.usage_metadata
    # Thoughts are not among the old library's figures, but in its total, and they are billed.
    thoughts = used.total_token_count - used.prompt_token_count - used.candidates_token_count
    return Usage(
        prompt=used.prompt_token_count,
        output=used.candidates_token_count,
        thoughts=max(0, thoughts),
        cached=used.cached_content_token_count,
    )
