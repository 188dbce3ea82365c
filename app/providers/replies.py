"""Parses the replies of all services, with typed models.

Each client library parses replies in its own way and fails on something: a null, a list instead of
an object, an integer of thousands of digits. So the libraries only send requests, and replies are
parsed here. Invalid token counts are ignored, because the text that comes with them is paid for.
Anything else that differs from the service's documentation makes the reply unreadable.

Pydantic comes with the client libraries; a server imports this module only when a model is asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import AliasGenerator, BaseModel, ConfigDict, Field, WrapValidator
from pydantic.alias_generators import to_camel

from app.errors import ProviderError, ProviderRetryError
from app.providers import Completion
from app.providers.faults import RemoteService, plain, service_error, unreadable
from app.store.entry import Usage

# What the client libraries raise when they parse a reply, besides errors of their own.
PARSE_ERRORS = (ValueError, TypeError, AttributeError, LookupError, RecursionError, OverflowError)
# Finish reasons by the numbers that the old Gemini library gives.
_FINISH = ("", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")


def _or_none(value: object, read: Callable[[object], Any]) -> Any:
    try:
        return read(value)
    except pydantic.ValidationError:
        return None


_LENIENT = WrapValidator(_or_none)
_Count = Annotated[Annotated[int, Field(ge=0, le=10**12)] | None, _LENIENT]
_Name = Annotated[str | None, _LENIENT]


class _Reply(BaseModel):
    """Accepts members in camel case, as over the wire, or in snake case; ignores others."""

    model_config = ConfigDict(
        extra="ignore",
        alias_generator=AliasGenerator(validation_alias=to_camel),
        populate_by_name=True,
        protected_namespaces=(),
    )


class _Plain(BaseModel):
    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class ErrorBody(_Plain):
    """An error in a reply of status 200."""

    code: _Count = None
    message: _Name = None


_Error = ErrorBody | str | None


class _Part(_Plain):
    text: str | None = None
    thought: Annotated[bool | None, _LENIENT] = None


class _Content(_Plain):
    parts: list[_Part] | None = None


class _Candidate(_Reply):
    content: _Content | None = None
    finish_reason: str | int | None = None


class _Feedback(_Reply):
    block_reason: str | int | None = None


class _GeminiUsage(_Reply):
    prompt_token_count: _Count = None
    candidates_token_count: _Count = None
    thoughts_token_count: _Count = None
    cached_content_token_count: _Count = None
    total_token_count: _Count = None


class GeminiReply(_Reply):
    """A reply of `generateContent`: over the wire, in a batch's result or from the old library."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Annotated[_GeminiUsage | None, _LENIENT] = None
    model_version: _Name = None
    error: _Error = None

    def completion(self, model: str) -> Completion:
        """The text without thoughts, its fault, and the tokens billed."""
        text, fault = "", "empty"
        blocked = self.prompt_feedback.block_reason if self.prompt_feedback else None
        if blocked:
            fault = f"blocked: {_word(blocked)}"
        elif self.candidates:
            content = self.candidates[0].content
            parts = (content.parts if content else None) or ()
            text = "".join(part.text or "" for part in parts if not part.thought)
            fault = finish_fault(_reason(self.candidates[0].finish_reason))
            fault = fault or ("" if text else "empty")
        return Completion(text, self.model_version or model, self.usage(), fault)

    def usage(self) -> Usage | None:
        """The tokens billed; None if the reply does not say."""
        used = self.usage_metadata
        if used is None:
            return None
        prompt, output = used.prompt_token_count or 0, used.candidates_token_count or 0
        thoughts = used.thoughts_token_count
        if thoughts is None:
            # The old library does not count thoughts, but they are billed, and part of its total.
            thoughts = max(0, (used.total_token_count or 0) - prompt - output)
        return Usage(prompt, output, thoughts, used.cached_content_token_count or 0)


def _reason(reason: str | int | None) -> str:
    if isinstance(reason, int):
        return _FINISH[reason] if 0 <= reason < len(_FINISH) else f"REASON_{reason}"
    return reason or ""


def finish_fault(reason: str) -> str:
    """The fault that a finish reason of Gemini means: none (empty), truncated or blocked."""
    name = reason.rpartition(".")[2].upper()
    if name in ("STOP", "", "FINISH_REASON_UNSPECIFIED"):
        return ""
    return "truncated" if name == "MAX_TOKENS" else f"blocked: {_word(name)}"


def _word(value: object) -> str:
    """A service's word as a name for counting: short, of letters, digits and underscores only."""
    return re.sub(r"\W+", "_", str(value))[:40]


class BatchLine(_Plain):
    """One line of a batch job's result."""

    key: str
    response: GeminiReply | None = None
    error: _Error = None


class _Message(_Plain):
    content: str | None = None
    refusal: _Name = None


class OllamaReply(_Plain):
    """A reply of `/api/chat`."""

    message: _Message | None = None
    model: _Name = None
    done_reason: _Name = None
    prompt_eval_count: _Count = None
    eval_count: _Count = None
    error: _Error = None

    def completion(self, model: str) -> Completion:
        """The text, its fault, and the tokens used."""
        text = (self.message.content if self.message else None) or ""
        fault = "truncated" if self.done_reason == "length" else "" if text else "empty"
        usage = Usage(prompt=self.prompt_eval_count or 0, output=self.eval_count or 0)
        return Completion(text, self.model or model, usage, fault)


class _Choice(_Plain):
    message: _Message | None = None
    finish_reason: _Name = None


class _PromptDetails(_Plain):
    cached_tokens: _Count = None


class _OutputDetails(_Plain):
    reasoning_tokens: _Count = None


class _OpenAIUsage(_Plain):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    prompt_tokens_details: Annotated[_PromptDetails | None, _LENIENT] = None
    completion_tokens_details: Annotated[_OutputDetails | None, _LENIENT] = None


class OpenAIReply(_Plain):
    """A reply of `/v1/chat/completions`."""

    choices: list[_Choice | None] | None = None
    model: _Name = None
    usage: Annotated[_OpenAIUsage | None, _LENIENT] = None
    error: _Error = None

    def completion(self, model: str) -> Completion:
        """The text, its fault, and the tokens billed."""
        choice = self.choices[0] if self.choices else None
        message = choice.message if choice else None
        text, fault = (message.content if message else None) or "", ""
        if choice and choice.finish_reason == "length":
            fault = "truncated"
        elif choice and (choice.finish_reason == "content_filter" or (message and message.refusal)):
            fault = f"blocked: {_word(choice.finish_reason or 'refusal')}"
        elif not text:
            fault = "empty"
        return Completion(text, self.model or model, self._usage(), fault)

    def _usage(self) -> Usage | None:
        used = self.usage
        if used is None or used.prompt_tokens is None:
            return None
        details = used.completion_tokens_details
        thoughts = (details.reasoning_tokens if details else None) or 0
        cached = used.prompt_tokens_details
        return Usage(
            prompt=used.prompt_tokens,
            output=max(0, (used.completion_tokens or 0) - thoughts),
            thoughts=thoughts,
            cached=(cached.cached_tokens if cached else None) or 0,
        )


class _OpenAIModel(_Plain):
    id: str


class OpenAIModels(_Plain):
    """The list of `/v1/models`."""

    data: list[_OpenAIModel]


_Shape = TypeVar("_Shape", bound=BaseModel)


class _ErrorOnly(_Plain):
    error: _Error = None


def read_reply(
    shape: type[_Shape], body: bytes | str | Mapping[str, Any], service: RemoteService
) -> _Shape:
    """Parse a reply. Raises ProviderError if it is unreadable, or contains an error."""
    error = _error_in(body)
    if error is not None:
        raise _stated_error(error, service)
    try:
        if isinstance(body, Mapping):
            return shape.model_validate(body)
        return shape.model_validate_json(body)
    except PARSE_ERRORS as fault:
        text = body if isinstance(body, str) else repr(body)
        if isinstance(body, bytes):
            text = body.decode("utf-8", "replace")
        raise unreadable(service, _why(fault), text) from None


def _error_in(body: bytes | str | Mapping[str, Any]) -> ErrorBody | str | None:
    try:
        if isinstance(body, Mapping):
            return _ErrorOnly.model_validate(body).error
        return _ErrorOnly.model_validate_json(body).error
    except PARSE_ERRORS:
        return None


def _stated_error(error: ErrorBody | str, service: RemoteService) -> ProviderError:
    """The error that a reply of status 200 contains, by its code if it has one."""
    message = error if isinstance(error, str) else error.message or "an error without a message"
    code = error.code if isinstance(error, ErrorBody) else None
    if code and code >= 400:
        return service_error(service, code, message)
    return ProviderRetryError(
        f"{service.name} answered with an error: {plain(message, service.key)}",
        kind="error",
        sent=True,
    )


def _why(fault: Exception) -> str:
    """The first error of a validation, with its place."""
    if isinstance(fault, pydantic.ValidationError):
        first = fault.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "JSON"
        return f"{place}: {first['msg']}"
    return type(fault).__name__


def read_batch_line(
    line: bytes, model: str, service: RemoteService
) -> tuple[str, Completion | str] | None:
    """The key of a line of a batch job's result, with its completion or a text on what is wrong.

    None if the line has no readable key: the answer to its request is then missing.
    """
    try:
        read = read_reply(BatchLine, line, service)
    except ProviderError as error:
        key = _key_of(line)
        return None if key is None else (key, plain(str(error), service.key))
    if read.response is None:
        return read.key, "no response"
    if read.response.error:
        return read.key, str(_stated_error(read.response.error, service))
    return read.key, read.response.completion(model)


def _key_of(line: bytes) -> str | None:
    try:
        key = json.loads(line)["key"]
    except PARSE_ERRORS:
        return None
    return key if isinstance(key, str) else None
