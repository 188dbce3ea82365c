"""Every error that Tsukurioki raises on purpose.

Those of an operator end a command with one sentence and exit status 2; those of a request are an HTTP 4xx.
The message of an OperatorError says what is wrong and what to do. A RequestError has a status, from
which the server makes a problem document (RFC 9457).
"""

from __future__ import annotations


class TsukuriokiError(Exception):
    """Base of all errors that are raised on purpose."""


class OperatorError(TsukuriokiError):
    """Something that the person who runs the program can correct."""


class SettingError(OperatorError):
    """A setting has an invalid value; `name` is the setting's, `expected` says what is valid."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        super().__init__(f"{name}={value!r}: expected {expected}")
        self.name = name


class DeckError(OperatorError):
    """A deck cannot be loaded: `fault` says what is wrong at `place` in `file`."""

    def __init__(self, file: str, place: str, fault: str) -> None:
        super().__init__(f"{file}: {place}: {fault}" if place else f"{file}: {fault}")
        self.file = file
        self.place = place
        self.fault = fault


class PlanError(OperatorError):
    """The plan asked for cannot be made."""


class ChangedTextError(OperatorError):
    """A reviewer's decision is about a text that is no longer in force."""


class RefusedTextError(OperatorError):
    """The gate refuses a reviewer's text; `refusal` says why."""

    def __init__(self, refusal: object) -> None:
        super().__init__(
            f"the gate refuses this text: {refusal}; to set it aside, force it with a note"
        )
        self.refusal = refusal


class BundleError(OperatorError):
    """A bundle is damaged, cut, foreign or cannot be written."""


class StoreError(OperatorError):
    """Something is wrong with the log or its index."""


class StoreLockedError(StoreError):
    """Another process is writing to this store."""


class StoreWriteError(StoreError):
    """The log could not be written; what was appended before is safe."""


class DamagedLineError(StoreError):
    """A line of the log is damaged."""


class IndexUnusableError(StoreError):
    """The index is missing, damaged or another deck's. It can be built again from the log."""


class IndexHarmedError(IndexUnusableError):
    """The index is not what was published: to read it again would find the same."""


class NothingCookedError(IndexUnusableError):
    """There is neither log nor index: nothing has been cooked yet."""


class ProviderError(OperatorError):
    """A provider did not give a text. `reason` is the word under which `/stats` counts it."""

    reason = "server"


class ProviderRetryError(ProviderError):
    """The request may work later.

    `retry_after` is the seconds that the service asked for, None if it did not. `kind` is the name
    under which a build counts the error. `hold`: other requests must wait for that time too.
    `sent`: the request may have been answered, and billed, although we did not get the answer.
    `reply` is the unreadable reply, for a person to look at.
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
    """The request will not work until a person acts; `next_step` says what to do."""

    def __init__(self, message: str, next_step: str = "", reason: str = "server") -> None:
        super().__init__(f"{message}; {next_step}" if next_step else message)
        self.reason = reason
        self.message = message
        self.next_step = next_step


class UnfinishedError(ProviderError):
    """A build ended early. The message says what happened, what is safe and how to go on."""


class StateUnavailableError(TsukuriokiError):
    """The file with the shared state cannot be read or written now: a lock, a full disk, damage."""


class ModelFaultError(TsukuriokiError):
    """A model did not answer, or not in time. `reason` is the word under which it is counted.

    `shared` is whether the same failure was met by another request, which waited for the same reply.
    """

    def __init__(self, reason: str, message: str, *, shared: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.shared = shared


class RequestError(TsukuriokiError):
    """A client's request cannot be answered.

    `detail` says in English what is wrong, `sentence` is for the player, in the deck's language;
    `headers` are further headers of the response (Retry-After).
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


class BadFieldError(RequestError):
    """A member of a request's body is missing or wrong; `field` is where it stands."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(400, "Bad request", detail)
        self.field = field


class PromptMissError(RequestError):
    """Nothing is recorded for a prompt.

    `key` is the prompt's; `nearest` the key of the most similar recording, "" if there is none, and
    `differs` the field in which it differs.
    """

    def __init__(self, status: int, detail: str, key: str, nearest: str, differs: str) -> None:
        super().__init__(
            status,
            "Nothing is recorded for this prompt",
            detail,
            None,
            (("x-should-retry", "false"),),
        )
        self.key = key
        self.nearest = nearest
        self.differs = differs


class UpstreamError(TsukuriokiError):
    """An upstream gave no reply that is good enough to be kept.

    `status` is the HTTP status for the client: the upstream's own, 502 if its reply was cut, empty or
    unreadable, 504 if it did not come. `body` and `mime` are the upstream's own error in its dialect,
    empty if it gave none; `headers` say when to ask again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        body: bytes = b"",
        mime: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.mime = mime
        self.headers = headers
