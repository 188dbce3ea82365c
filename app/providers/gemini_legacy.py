"""Gemini through google-generativeai, which is out of support and used only if asked for by name.

On import it warns of that, and of deprecated names of protobuf. Who chose it knows, so that these
warnings are suppressed, here only.
"""

from __future__ import annotations

import warnings
from typing import Any

from app.errors import ProviderError, ProviderStopError
from app.providers import Completion, Prompt, transport
from app.providers.faults import (
    connection_error,
    details_of,
    retry_after,
    service_error,
    unreadable,
)
from app.providers.gemini import TEMPERATURE, check_model, gemini_service, google_schema
from app.providers.secret import Secret


class GeminiLegacy:
    """The Gemini API through the old library, over REST. `timeout` is in seconds."""

    name = "gemini-legacy"

    def __init__(self, key: Secret, model: str, base_url: str, timeout: float) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import google.generativeai
            import requests
            from google.api_core import exceptions
            from google.generativeai import client
            from google.protobuf import json_format

        from app.providers import replies

        self.model = model
        check_model(key, model)
        self._service = gemini_service(key, model)
        self._timeout = timeout
        self._replies = replies
        self._api_error = exceptions.GoogleAPICallError
        self._parse_errors = (*replies.PARSE_ERRORS, json_format.ParseError)
        self._requests = requests.exceptions
        # Its modules do not declare what they export.
        self._library: Any = google.generativeai
        self._library.configure(
            api_key=key.reveal(), transport="rest", client_options={"api_endpoint": base_url}
        )
        # The library's session would send the key after a redirect; it has no option against that.
        made: Any = client
        self._session = made.get_default_generative_client().transport._session  # noqa: SLF001
        self._session.trust_env = transport.proxy_for(base_url) is not None
        self._session.hooks["response"].append(_refuse_redirect)

    def complete(self, prompt: Prompt) -> Completion:
        """The reply to one request. Raises ProviderRetryError and ProviderStopError."""
        service = self._service
        config = self._library.GenerationConfig(
            temperature=TEMPERATURE,
            max_output_tokens=prompt.most_tokens,
            response_mime_type="application/json",
            response_schema=google_schema(prompt.schema),
        )
        options = {"timeout": self._timeout, "retry": None}
        try:
            model = self._library.GenerativeModel(
                self.model, system_instruction=prompt.fixed or None
            )
            reply = model.generate_content(
                prompt.asked, generation_config=config, request_options=options
            )
            body = type(reply).to_dict(reply)
        except self._api_error as error:
            raise self._service_error(error) from None
        except (self._requests.ConnectionError, self._requests.Timeout) as error:
            timed_out = isinstance(error, self._requests.Timeout)
            sent = timed_out or "refused" not in str(error)
            raise connection_error(service, error, timed_out=timed_out, sent=sent) from None
        except (self._requests.RequestException, *self._parse_errors) as error:
            raise unreadable(service, type(error).__name__) from None
        read = self._replies.read_reply(self._replies.GeminiReply, body, service)
        return read.completion(self.model)

    def _service_error(self, error: Any) -> ProviderError:
        """Read the details from the body, because the library drops some of them."""
        body: object = None
        headers = {}
        if error.response is not None:
            headers = error.response.headers
            try:
                body = error.response.json()
            except self._replies.PARSE_ERRORS:
                body = None
        message, details = details_of(body)
        code = int(error.code or 0)
        wait = retry_after(headers)
        return service_error(self._service, code, message or error.message, details, wait)

    def close(self) -> None:
        self._session.close()


def _refuse_redirect(response: Any, **_: object) -> None:
    """A hook that `requests` calls for each response, before it follows a redirect."""
    request, location = response.request, response.headers.get("location")
    try:
        transport.refuse_redirect(request.method, request.url, response.status_code, location)
    except ProviderStopError:
        response.close()
        raise
