"""Translates errors of services into our error classes, in the same way for every provider."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from app.errors import ProviderError, ProviderRetryError, ProviderStopError
from app.providers.secret import Secret

# Seconds to wait if a quota per minute is used up and the error names no wait.
MINUTE = 60.0
_RETRIED = (408, 409)
# Characters of a service's message that are shown.
_LONGEST = 160
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_TAGS = re.compile(r"<[^<>]*>")
# Words by which a message names a quota per day: "requests per day (RPD)", "daily limit".
_DAY = re.compile(r"\bper[\s_-]*day\b|perday|/\s*day\b|\bdaily\b|\b[rt]pd\b|\btoday\b|\btomorrow\b", re.IGNORECASE)  # fmt: skip
_MINUTE = re.compile(r"PerMinute|\bper[\s_-]*minute\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RemoteService:
    """The service that an error comes from.

    By HTTP status, `steps` says what a person can do and `reasons` has the word under which
    `/stats` counts the error. `renewed` says what to do when a quota per day is used up.
    """

    name: str
    key: Secret
    steps: Mapping[int, str] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)
    renewed: str = "go on when it is renewed, or with another key"


def service_error(
    service: RemoteService,
    code: int,
    message: object,
    details: Sequence[Mapping[str, Any]] = (),
    wait: float | None = None,
) -> ProviderError:
    """The error that an HTTP status means. `wait` is the seconds that Retry-After asks for."""
    text = plain(str(message), service.key)
    reason = service.reasons.get(code, "server")
    if code == 429:
        return _quota_error(service, text, details, wait)
    if code in _RETRIED or code >= 500:
        return ProviderRetryError(
            f"{service.name} is overloaded or broken ({code}): {text}",
            wait,
            kind=str(code),
            hold=wait is not None,
            sent=code == 504,
            reason=reason,
        )
    reasons = {str(detail.get("reason", "")) for detail in details}
    if reasons & {"API_KEY_INVALID", "API_KEY_EXPIRED"}:
        step = service.steps.get(401, "use a valid key")
        return ProviderStopError(f"{service.name} refused the key ({code}): {text}", step, "key")
    step = service.steps.get(code, "see what the service says; --model chooses another model")
    return ProviderStopError(f"{service.name} refused the request ({code}): {text}", step, reason)


def _quota_error(
    service: RemoteService, message: str, details: Sequence[Mapping[str, Any]], wait: float | None
) -> ProviderError:
    quotas = " ".join(_quota_ids(details))
    if "PerDay" in quotas or (not quotas and _DAY.search(message)):
        return ProviderStopError(
            f"{service.name}'s quota for today is used up (429): {message}",
            service.renewed,
            "quota",
        )
    asked = _retry_delay(details)
    wait = wait if asked is None else asked
    if wait is None and _MINUTE.search(f"{quotas} {message}"):
        wait = MINUTE
    return ProviderRetryError(
        f"{service.name} asks for a pause (429): {message}",
        wait,
        kind="429",
        hold=True,
        reason="quota",
    )


def _quota_ids(details: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for detail in details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, Mapping):
                yield str(violation.get("quotaId", ""))


def _retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    for detail in details:
        found = _DURATION.fullmatch(str(detail.get("retryDelay", "")))
        if found:
            return float(found[1])
    return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that Retry-After asks for, as seconds or an HTTP date (RFC 9110, 10.2.3).

    A date is compared with the response's own Date, because this machine's clock may be wrong. None
    if the header is missing or cannot be parsed.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    until = _timestamp(value)
    if until is None:
        return None
    sent = _timestamp(headers.get("date", ""))
    return max(0.0, until - (time.time() if sent is None else sent))


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except (ValueError, OverflowError):
        return None


def details_of(body: object) -> tuple[str, list[Mapping[str, Any]]]:
    """Message and details in the parsed body of an error, of any shape; empty if there are none."""
    if isinstance(body, list) and body:
        body = body[0]
    error = body.get("error", body) if isinstance(body, Mapping) else {}
    if not isinstance(error, Mapping):
        return str(error), []
    details = error.get("details")
    listed = details if isinstance(details, list) else []
    return str(error.get("message") or ""), [d for d in listed if isinstance(d, Mapping)]


def plain(message: str, key: Secret) -> str:
    """A service's message as one line of limited length, without key, HTML and controls.

    The key is removed first: it would not be found if the limit, or a tag, had cut it in two.
    """
    spaced = "".join(c if c.isprintable() else " " for c in _TAGS.sub(" ", key.scrub(message)))
    text = " ".join(spaced.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def connection_error(
    service: RemoteService, error: BaseException, *, timed_out: bool, sent: bool
) -> ProviderRetryError:
    """The error for a failed connection. `sent`: the request may have reached the service."""
    message = plain(str(error), service.key) or type(error).__name__
    kind = "time-out" if timed_out else "connection"
    reason = "timeout" if timed_out else "cut" if sent else "refused"
    return ProviderRetryError(f"{service.name}: {message}", kind=kind, sent=sent, reason=reason)


def http_error(service: RemoteService, library: Any, error: Exception) -> ProviderRetryError:
    """The same for an error of `library` (httpx or httpx2)."""
    unsent = (ConnectionError, library.ConnectError, library.ConnectTimeout)
    return connection_error(
        service,
        error,
        timed_out=isinstance(error, library.TimeoutException),
        sent=not isinstance(error, unsent),
    )


def unreadable(service: RemoteService, reason: str, reply: str = "") -> ProviderRetryError:
    """The error for a reply that cannot be parsed. `reply` is its text, for a person to look at."""
    return ProviderRetryError(
        f"the reply of {service.name} cannot be read ({plain(reason, service.key)})",
        kind="unreadable",
        sent=True,
        reply=service.key.scrub(reply),
        reason="unreadable",
    )
