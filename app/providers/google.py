"""What both Gemini libraries share: reading an error of the service, thinking, finish reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.errors import ProviderError, ProviderRetryError, ProviderStopError
from app.providers.secret import Secret

# Where a minute's quota is used up and nothing is said, the next minute has another.
MINUTE = 60.0
_OVERLOADED = (408, 500, 502, 503, 504)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")
_TAGS = re.compile(r"<[^>]*>")


def thinking_of(model: str) -> dict[str, Any] | None:
    """The least thinking that a model allows: it is billed, and a poem of this size needs none."""
    if "2.5" in model:
        return {"thinking_budget": 0}
    if re.search(r"gemini-([3-9]|\d\d)", model):
        return {"thinking_level": "MINIMAL"}
    return None


def error_of(
    code: int, message: str, details: Sequence[Mapping[str, Any]], key: Secret, model: str
) -> ProviderError:
    """What an error of the service means for a build."""
    told = plain(message, key)
    if code == 429:
        return _quota_error(told, details)
    if code in _OVERLOADED or code > 504:
        return ProviderRetryError(
            f"Gemini is overloaded or broken ({code}): {told}", kind=str(code), sent=code == 504
        )
    if code == 400 and _reasons(details) & {"API_KEY_INVALID", "API_KEY_EXPIRED"}:
        return ProviderStopError(
            f"Gemini refused the key (400): {told}", "put a valid key into GEMINI_API_KEY"
        )
    steps = {
        401: "put a valid key into GEMINI_API_KEY",
        402: "enable billing for the key's project",
        403: "allow the Gemini API for the key's project, or use another key",
        404: f"name a model that the service has with --model; {model!r} it has not",
    }
    step = steps.get(code, "see what the service says; --model chooses another model")
    return ProviderStopError(f"Gemini refused the request ({code}): {told}", step)


def _quota_error(told: str, details: Sequence[Mapping[str, Any]]) -> ProviderError:
    quotas = list(_quota_ids(details))
    if any("PerDay" in quota for quota in quotas):
        return ProviderStopError(
            f"Gemini's quota for today is used up (429): {told}",
            "go on after midnight Pacific time, when it is renewed, or with a paid key",
        )
    wait = _retry_delay(details)
    if wait is None and any("PerMinute" in quota for quota in quotas):
        wait = MINUTE
    return ProviderRetryError(f"Gemini asks for a pause (429): {told}", wait, kind="429", hold=True)


def _quota_ids(details: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for detail in details:
        for violation in detail.get("violations") or ():
            if isinstance(violation, Mapping):
                yield str(violation.get("quotaId", ""))


def _retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    for detail in details:
        found = _DURATION.fullmatch(str(detail.get("retryDelay", "")))
        if found:
            return float(found[1])
    return None


def _reasons(details: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(detail.get("reason", "")) for detail in details}


def details_of(body: object) -> tuple[str, list[Mapping[str, Any]]]:
    """Message and details of an error's body, whatever shape it came in."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    if not isinstance(error, Mapping):
        return str(error), []
    details = error.get("details")
    listed = details if isinstance(details, list) else []
    return str(error.get("message", "")), [d for d in listed if isinstance(d, Mapping)]


def plain(message: str, key: Secret, most: int = 160) -> str:
    """A service's message as one short line: without the key, without HTML, without line breaks.

    The key goes first: cut in two by the limit, or by a tag, it would not be found.
    """
    text = " ".join(_TAGS.sub(" ", key.scrub(message)).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def finish_fault(reason: str) -> str:
    """What a finish reason means: nothing, truncated, or blocked."""
    name = reason.rpartition(".")[2].upper()
    if name in ("STOP", "", "FINISH_REASON_UNSPECIFIED"):
        return ""
    return "truncated" if name == "MAX_TOKENS" else f"blocked: {name}"


def google_schema(schema: Any) -> Any:
    """A JSON schema in the service's spelling: the names of types are members of an enum."""
    if isinstance(schema, Mapping):
        return {
            name: value.upper()
            if name == "type" and isinstance(value, str)
            else google_schema(value)
            for name, value in schema.items()
        }
    return [google_schema(item) for item in schema] if isinstance(schema, list) else schema
