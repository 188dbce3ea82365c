"""The fault table of PROTOCOLS for both Gemini libraries, row by row."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.errors import ProviderRetryError, ProviderStopError
from app.kinds.cards.writer import WHOLE_SCHEMA
from app.providers import Completion, Model, Prompt
from precompute.cook.choose import ProviderChoice, make_model
from tests.kit import Booth, FakeClock, assert_good
from tests.standin import (
    BAD_JSON,
    BAD_KEY,
    BLOCKED,
    EMPTY_BODY,
    HTML_502,
    PER_DAY,
    PER_MINUTE,
    TRUNCATED,
    Fault,
    StandIn,
    edited,
    finished,
    gemini_error,
    quota_error,
)

LIBRARIES = ("gemini", "gemini-legacy")
UNAVAILABLE = gemini_error(503, "UNAVAILABLE", "The model is overloaded.")
# Row of the table → what happens instead of an answer, and what it counts as.
RETRIED = {
    "429 per minute": (quota_error(PER_MINUTE, "2.5s"), "429"),
    "429 without details": (gemini_error(429, "RESOURCE_EXHAUSTED", "slow down"), "429"),
    "500": (gemini_error(500, "INTERNAL", "An internal error"), "500"),
    "503": (UNAVAILABLE, "503"),
    "504": (gemini_error(504, "DEADLINE_EXCEEDED", "too late"), "504"),
    "HTML 502": (HTML_502, "502"),
    "200 with bad JSON": (BAD_JSON, "unreadable"),
    "reset": (Fault(how="reset"), "connection"),
    "closed": (Fault(how="close"), "connection"),
    "time-out": (Fault(how="hang"), "time-out"),
}
UNFIT = {
    "200, empty body": (EMPTY_BODY, "empty"),
    "SAFETY": (finished("SAFETY"), "blocked: SAFETY"),
    "RECITATION": (finished("RECITATION"), "blocked: RECITATION"),
    "MAX_TOKENS without parts": (finished("MAX_TOKENS"), "truncated"),
    "MAX_TOKENS with parts": (TRUNCATED, "truncated"),
    "promptFeedback.blockReason": (BLOCKED, "blocked"),
    "no candidate": (edited(lambda envelope: envelope.pop("candidates")), "empty"),
    "schema mismatch": (
        edited(lambda e: e["candidates"][0]["content"]["parts"][0].update(text='{"poems": 3}')),
        "",
    ),
}
STOPPED = {
    "429 per day": (quota_error(PER_DAY, "40000s"), "midnight"),
    "bad key": (BAD_KEY, "GEMINI_API_KEY"),
    "403": (gemini_error(403, "PERMISSION_DENIED", "not allowed"), "allow the Gemini API"),
    "404": (gemini_error(404, "NOT_FOUND", "models/x is not found"), "--model"),
    "400": (gemini_error(400, "INVALID_ARGUMENT", "bad schema"), "bad schema"),
}
PROMPT = Prompt("決まり", '{"keywords"', WHOLE_SCHEMA, 100)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(library: str, booth: Booth) -> Iterator[Model]:
    booth.environ["TSUKURIOKI_TIMEOUT"] = "0.5"
    made = make_model(ProviderChoice(library, "gemini-3.5-flash-lite"), booth.settings())
    yield made
    made.close()


@pytest.mark.parametrize("row", RETRIED)
def test_what_may_work_later_is_told_apart(row: str, model: Model, stand_in: StandIn) -> None:
    """Overload, broken connections and unreadable replies are errors that may be retried."""
    fault, kind = RETRIED[row]
    stand_in.script.append(fault)
    with pytest.raises(ProviderRetryError) as caught:
        model.complete(PROMPT)
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)
    assert "<" not in str(caught.value)


@pytest.mark.parametrize("row", STOPPED)
def test_what_needs_a_person_is_told_apart(row: str, model: Model, stand_in: StandIn) -> None:
    """Quota of the day, key, permission and model stop at once, and say what to do."""
    fault, step = STOPPED[row]
    stand_in.script.append(fault)
    with pytest.raises(ProviderStopError, match=step):
        model.complete(PROMPT)


@pytest.mark.parametrize("row", UNFIT)
def test_a_reply_that_is_not_whole_says_why(
    row: str, library: str, model: Model, stand_in: StandIn
) -> None:
    """A 200 without a whole answer is a reply with its fault, and with its bill."""
    fault, kind = UNFIT[row]
    stand_in.script.append(fault)
    if row == "200, empty body" and library == "gemini-legacy":
        with pytest.raises(ProviderRetryError):  # its library cannot read it at all
            model.complete(PROMPT)
        return
    completion = model.complete(PROMPT)
    assert isinstance(completion, Completion)
    assert completion.fault.startswith(kind)
    if fault.how == "answer":
        assert completion.usage
        assert completion.usage.prompt > 0


def test_the_pause_that_the_service_asks_for_is_read(model: Model, stand_in: StandIn) -> None:
    """RetryInfo's delay is handed on, and holds everything up."""
    stand_in.script.append(quota_error(PER_MINUTE, "2.5s"))
    with pytest.raises(ProviderRetryError) as caught:
        model.complete(PROMPT)
    assert caught.value.retry_after == 2.5
    assert caught.value.hold


@pytest.mark.parametrize("row", [*RETRIED, *UNFIT])
def test_a_build_survives_it(row: str, library: str, booth: Booth, stand_in: StandIn) -> None:
    """One such fault on the way costs no answer: the build ends whole."""
    booth.environ["TSUKURIOKI_TIMEOUT"] = "0.5" if row == "time-out" else "5"
    fault, _ = (RETRIED | UNFIT)[row]
    stand_in.script.extend([fault])
    outcome = booth.build(provider=library, wanted=12, per_request=4, concurrency=2)
    assert outcome.status == 0, outcome.err + outcome.error
    assert_good(booth.entries(), 12)
    assert "faults on the way" in outcome.out


@pytest.mark.parametrize("row", STOPPED)
def test_a_build_stops_at_once_and_keeps_everything(
    row: str, library: str, booth: Booth, stand_in: StandIn
) -> None:
    """The sentence says what happened, what is safe and how to go on; going on asks for the rest."""
    fault, step = STOPPED[row]
    stand_in.fault = lambda number: fault if number > 2 else None
    outcome = booth.build(provider=library, wanted=20, per_request=4, concurrency=1)
    assert outcome.status == 2
    assert step in outcome.error
    assert "8 of the entries planned are in the store and safe" in outcome.error
    assert outcome.error.endswith("run the same command again")
    assert "\n" not in outcome.error
    assert stand_in.tally.calls == 3
    stand_in.fault = lambda number: None
    assert booth.build(provider=library, wanted=20, per_request=4).status == 0
    assert_good(booth.entries(), 20)
    assert stand_in.tally.answered == 5


def test_a_pause_is_kept_to_the_second(library: str, booth: Booth, stand_in: StandIn) -> None:
    """429 PerMinute waits as long as it was told, not longer and not shorter."""
    stand_in.script.append(quota_error(PER_MINUTE, "17.5s"))
    clock = FakeClock()
    booth.build(clock, provider=library, wanted=4, concurrency=1)
    assert clock.slept == [17.5]


def test_retries_wait_longer_each_time_and_end(
    library: str, booth: Booth, stand_in: StandIn
) -> None:
    """A service that stays down is asked a bounded number of times, with growing, uneven waits."""
    stand_in.fault = lambda number: UNAVAILABLE
    clock = FakeClock()
    outcome = booth.build(clock, provider=library, wanted=50, per_request=10, concurrency=1)
    assert outcome.status == 2
    assert "many requests in a row" in outcome.error
    assert stand_in.tally.calls == 16
    first = clock.slept[:5]
    assert all(
        low <= wait <= high
        for wait, low, high in zip(first, (0.5, 1, 2, 4, 8), (1, 2, 4, 8, 16), strict=True)
    )
    assert len(set(clock.slept)) == len(clock.slept)
    assert "not cooked" in outcome.err


def test_an_answer_that_the_service_blocks_does_not_take_its_neighbours_along(
    library: str, booth: Booth, stand_in: StandIn
) -> None:
    """A blocked request is cut in two until what the service balks at stands alone, and is named.

    A plan of one request may ask only once more, unless it is told that it may ask more often.
    """
    original = stand_in.next_fault
    stand_in.next_fault = lambda number: (  # type: ignore[method-assign]
        BLOCKED if _asks_for_the_morning(stand_in) else original(number)
    )
    outcome = booth.build(
        provider=library, wanted=9, per_request=9, concurrency=1, extra_requests=20
    )
    entries = booth.entries()
    assert outcome.status == 2
    assert 0 < len(entries) < 9
    assert f"{9 - len(entries)} not cooked" in outcome.err
    assert "blocked" in outcome.err


def _asks_for_the_morning(stand_in: StandIn) -> bool:
    body = stand_in.tally.bodies[-1]
    return "まだ誰のものでもない朝を" in body["contents"][0]["parts"][0]["text"]
