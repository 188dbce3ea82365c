"""Any OpenAI-compatible server: LM Studio, vLLM, llama.cpp, Ollama's /v1, OpenAI itself."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from app.errors import ProviderError, ProviderRetryError, ProviderStopError
from app.providers import Completion, Prompt, transport
from app.providers.faults import (
    RemoteService,
    connection_error,
    plain,
    retry_after,
    service_error,
    unreadable,
)
from app.providers.relay import Abort, Ask, Finish, Streams, chat_messages
from app.providers.secret import Secret
from app.providers.tokens import estimate_tokens
from app.store.entry import Usage

OPENAI = "https://api.openai.com/v1"
# The library requires a key; servers on this machine accept any.
_ANY_KEY = "none"
# Ways to ask for JSON, best first; not every server supports all of them.
_SCHEMA, _OBJECT, _FREE = "json_schema", "json_object", "text"
_REASONS = {401: "key", 403: "key", 404: "missing", 429: "quota"}


class OpenAICompatible:
    """An OpenAI-compatible API: whole replies for cooking, streamed replies at the event.

    `timeout` is in seconds, for a whole reply.
    If `model` is empty, the first that the server lists is used: the one that LM Studio has loaded.
    Raises ProviderStopError if the library, an address or a model is missing.
    """

    name = "openai"

    def __init__(self, key: Secret, base_url: str, model: str, timeout: float) -> None:
        try:
            import httpx2
            import openai

            from app.providers import replies
        except ImportError:
            raise ProviderStopError(
                "the openai library is not installed", "run: pip install 'tsukurioki[openai]'"
            ) from None
        _check_configured(key, base_url)
        self._library = openai
        self._replies = replies
        self._http_error = httpx2.HTTPError
        self._forms = [_SCHEMA, _OBJECT, _FREE]
        self._base_url = base_url or OPENAI
        self.model = model
        self._service = self._described(key)
        self._streams = Streams()
        # Not every server accepts the option that asks for the tokens of a streamed reply.
        self._asks_usage = True
        self._client = openai.OpenAI(
            api_key=key.reveal() or _ANY_KEY,
            base_url=self._base_url,
            timeout=timeout,
            max_retries=0,
            http_client=httpx2.Client(
                event_hooks={"request": [self._streams.prepare]},
                **transport.options(httpx2, timeout, self._base_url),
            ),
        )
        if not model:
            try:
                self.model = self._first_model()
            except ProviderError:
                self.close()
                raise
            self._service = self._described(key)

    def _described(self, key: Secret) -> RemoteService:
        wanted = f"asked for {self.model!r}" if self.model else "it lists none at this address"
        steps = {
            401: "put a valid key into OPENAI_API_KEY",
            403: "use a key that is allowed to do this",
            404: f"name a model that the server has with --model; {wanted}",
        }
        return RemoteService(self._base_url, key, steps, _REASONS)

    def _first_model(self) -> str:
        try:
            with self._faults():
                raw = self._client.models.with_raw_response.list()
            listed = self._replies.read_reply(
                self._replies.OpenAIModels, raw.http_response.content, self._service
            )
        except ProviderRetryError as error:
            raise ProviderStopError(
                f"{error}, so that its models are not known", "name one with --model"
            ) from None
        for model in listed.data:
            return model.id
        raise ProviderStopError(
            f"{self._base_url} lists no model", "load one there, or name one with --model"
        )

    def complete(self, prompt: Prompt) -> Completion:
        """The reply to one request. Raises ProviderRetryError and ProviderStopError.

        If the server does not support the way in which JSON was asked for, later requests use the
        next one.
        """
        form = self._forms[0]
        try:
            with self._faults():
                raw = self._ask(prompt, form)
        except _FormError as error:
            if form == _FREE:
                raise ProviderStopError(str(error)) from None
            if form == self._forms[0]:
                self._forms.pop(0)
            raise ProviderRetryError(str(error), 0.0, kind="form") from None
        read = self._replies.read_reply(
            self._replies.OpenAIReply, raw.http_response.content, self._service
        )
        return read.completion(self.model)

    def _ask(self, prompt: Prompt, form: str) -> Any:
        wanted: dict[str, Any] = {"type": form}
        if form == _SCHEMA:
            wanted["json_schema"] = {"name": "answers", "schema": deepcopy(dict(prompt.schema))}
        return self._client.chat.completions.with_raw_response.create(
            model=self.model,
            messages=chat_messages(prompt.fixed, [{"role": "user", "content": prompt.asked}]),
            max_tokens=prompt.most_tokens,
            temperature=0.9,
            response_format=self._library.omit if form == _FREE else wanted,  # type: ignore[arg-type]
        )

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The chunks of a reply as they are written. Raises ProviderError.

        If the server does not say how many tokens it used, they are estimated.
        """
        usage, reason, model, text = None, "", ask.model or self.model, ""
        streamed = self._streams.begun(ask, abort)
        with streamed, self._faults(), self._opened(ask, model) as parts:
            for part in parts:
                model = part.model or model
                usage = self._usage(part) or usage
                if not part.choices:
                    continue
                reason = part.choices[0].finish_reason or reason
                if chunk := part.choices[0].delta.content:
                    text += chunk
                    yield chunk
        if reason not in ("stop", "length"):
            raise ProviderRetryError(
                f"{self._base_url} ended with {reason or 'nothing'}",
                reason="blocked" if reason else "cut",
            )
        yield Finish(model, usage or _estimated(ask, text), reason == "length")

    def _opened(self, ask: Ask, model: str) -> Any:
        asked: dict[str, Any] = {}
        if self._asks_usage:
            asked["stream_options"] = {"include_usage": True}
        if ask.schema:
            schema = {"name": "answer", "schema": deepcopy(dict(ask.schema))}
            asked["response_format"] = {"type": _SCHEMA, _SCHEMA: schema}
        try:
            return self._client.chat.completions.create(
                model=model,
                messages=chat_messages(ask.system, ask.messages),
                max_tokens=ask.most_tokens,
                stream=True,
                timeout=ask.seconds,
                **asked,
            )
        except self._library.APIStatusError as error:
            if error.status_code not in (400, 422) or "stream_options" not in str(error):
                raise
            if not self._asks_usage:
                raise
            self._asks_usage = False
            return self._opened(ask, model)

    def _usage(self, part: Any) -> Usage | None:
        if not part.usage:
            return None
        reply = self._replies.OpenAIReply.model_validate({"usage": part.usage.to_dict()})
        return reply.completion("").usage

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Translate the library's errors into ProviderError, without the key, or _FormError."""
        library = self._library
        try:
            yield
        except library.APIStatusError as error:
            raise self._service_error(error) from None
        except (library.APITimeoutError, library.APIConnectionError, self._http_error) as error:
            cause = error.__cause__ or error
            if isinstance(cause, ProviderError):
                raise cause from None
            timed_out = isinstance(error, library.APITimeoutError)
            sent = timed_out or "refused" not in str(cause)
            raise connection_error(self._service, cause, timed_out=timed_out, sent=sent) from None
        except (library.APIError, *self._replies.PARSE_ERRORS) as error:
            raise unreadable(self._service, type(error).__name__) from None

    def _service_error(self, error: Any) -> ProviderError | _FormError:
        code = int(error.status_code)
        text = str(error.message)
        if code in (400, 422) and "response_format" in text:
            return _FormError(plain(text, self._service.key))
        if code == 429 and error.code == "insufficient_quota":
            return ProviderStopError(
                f"{self._base_url}: the quota is used up (429): {plain(text, self._service.key)}",
                "enable billing",
                "quota",
            )
        return service_error(self._service, code, text, (), retry_after(error.response.headers))

    def close(self) -> None:
        self._client.close()


def _check_configured(key: Secret, base_url: str) -> None:
    if not base_url and not key:
        raise ProviderStopError(
            "neither OPENAI_BASE_URL nor OPENAI_API_KEY is set",
            "for LM Studio: OPENAI_BASE_URL=http://127.0.0.1:1234/v1",
        )


def _estimated(ask: Ask, text: str) -> Usage:
    asked = ask.system + "".join(message["content"] for message in ask.messages)
    return Usage(prompt=estimate_tokens(asked), output=estimate_tokens(text))


class _FormError(Exception):
    """The server does not support the way in which JSON was asked for."""
