"""Every error that Tsukurioki raises on purpose.

    TsukuriokiError
    ├── OperatorError            the person who runs it can mend it; one sentence, exit status 2
    │   ├── SettingError         a setting has a value that means nothing
    │   ├── DeckError            a deck's file is missing or wrong: file, place, fault
    │   ├── PlanError            the plan asked for cannot be made
    │   ├── BundleError          a bundle is damaged, cut, foreign or cannot be written
    │   ├── StoreError           the log or its index
    │   │   ├── StoreLockedError     another process is writing
    │   │   ├── StoreWriteError      the disk is full, or the folder cannot be written
    │   │   ├── DamagedLineError     a line is not what was written; readers skip and name it
    │   │   └── IndexUnusableError   the index is missing, foreign or broken; it can be built again
    │   │       └── NothingCookedError   there is neither log nor index yet
    │   └── ProviderError        a provider did not give a text
    │       ├── ProviderRetryError   it may work later: overload, time-out, broken reply
    │       ├── ProviderStopError    it will not work without a person: key, quota, model
    │       └── UnfinishedError      a build ended early: what is safe, and how to go on
    ├── StateUnavailableError    the shared state cannot be used now; the process goes on alone
    ├── ModelFaultError          a model did not answer a chat message; the next tier does
    └── RequestError             a client sent something that cannot be answered; an HTTP 4xx

An operator's error carries a sentence that says what is wrong and what to do. A client's error
carries a status, so that the server can turn it into a problem document (RFC 9457).
"""

from __future__ import annotations


class TsukuriokiError(Exception):
    """Base of everything that is raised on purpose."""


class OperatorError(TsukuriokiError):
    """Something that the person who runs the program can mend."""


class SettingError(OperatorError):
    """A setting has a value that means nothing."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"{name}={value!r}: expected {expected}")
        self.name = name


class DeckError(OperatorError):
    """A deck cannot be loaded."""

    def __init__(self, file: str, place: str, fault: str) -> None:
        super().__init__(f"{file}: {place}: {fault}" if place else f"{file}: {fault}")
        self.file = file
        self.place = place
        self.fault = fault


class PlanError(OperatorError):
    """The plan asked for cannot be made."""


class BundleError(OperatorError):
    """A bundle is damaged, cut, foreign or cannot be written."""


class StoreError(OperatorError):
    """The log or its index."""


class StoreLockedError(StoreError):
    """Another process is writing to this store."""


class StoreWriteError(StoreError):
    """The log could not be written; what was appended before is safe."""


class DamagedLineError(StoreError):
    """A line of the log is not what was written."""


class IndexUnusableError(StoreError):
    """The index is missing, foreign or broken. It is a cache: build it again from the log."""


class NothingCookedError(IndexUnusableError):
    """There is neither log nor index: nothing has been cooked, which is no fault."""


class ProviderError(OperatorError):
    """A provider did not give a text. `reason` is the word under which `/stats` counts it."""

    reason = "server"


class ProviderRetryError(ProviderError):
    """It may work later.

    `kind` is what it is counted under, `retry_after` what the service asked for, in seconds, if it
    said so. `hold`: nothing else should be asked of the service before that time either. `sent`:
    the request may have been answered, and billed, without our seeing it. `reply` is what came
    instead of an answer, for a person to look at.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        kind: str = "fault",
        hold: bool = False,
        sent: bool = False,
        reply: str = "",
        reason: str = "server",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.reply = reply
        self.retry_after = retry_after
        self.kind = kind
        self.hold = hold
        self.sent = sent


class ProviderStopError(ProviderError):
    """It will not work without a person. `next_step` says what that person can do."""

    def __init__(self, message: str, next_step: str = "", reason: str = "server") -> None:
        super().__init__(f"{message}; {next_step}" if next_step else message)
        self.reason = reason
        self.message = message
        self.next_step = next_step


class UnfinishedError(ProviderError):
    """A build ended early. The sentence says what happened, what is safe and how to go on."""


class StateUnavailableError(TsukuriokiError):
    """The file that workers share cannot be read or written now: a lock, a full disk, damage."""


class ModelFaultError(TsukuriokiError):
    """A model did not answer a chat message, or not in time. `reason` is what it is counted under."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RequestError(TsukuriokiError):
    """A client sent something that cannot be answered.

    `detail` says in English what is wrong, `sentence` is for the player, in the deck's language;
    `headers` go with it (Retry-After).
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        sentence: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.detail = detail
        self.sentence = sentence
        self.headers = headers
