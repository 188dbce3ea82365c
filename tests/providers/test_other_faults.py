"""The fault tables for Ollama and for OpenAI-compatible servers, and what is particular to each."""

from __future__ import annotations

import json

import pytest

from app.errors import ProviderRetryError, ProviderStopError
from app.kinds.cards.writer import WHOLE_SCHEMA
from app.providers import Prompt, transport
from app.providers.guards import MIB
from app.providers.ollama import Ollama
from app.providers.openai import OpenAICompatible
from app.providers.secret import Secret
from tests.kit import Booth, FakeClock, assert_good
from tests.standin import KEY, Fault, StandIn

MODEL = "qwen2.5:0.5b"
PROMPT = Prompt("決まり", '{"keywords"', WHOLE_SCHEMA, 100)
HANG, RESET, CLOSE, CUT, TRICKLE = (
    Fault(how=how) for how in ("hang", "reset", "close", "cut", "trickle")
)


def ollama_error(status: int, message: str) -> Fault:
    return Fault(status=status, body=json.dumps({"error": message}).encode())


def openai_error(status: int, message: str, code: str = "", *headers: tuple[str, str]) -> Fault:
    body = json.dumps({"error": {"message": message, "type": "x", "code": code}}).encode()
    return Fault(status=status, body=body, headers=(("Content-Type", "application/json"), *headers))


OLLAMA_RETRIED = {
    "busy": (ollama_error(503, "server busy, please try again"), "503"),
    "500": (ollama_error(500, "llama runner process has terminated"), "500"),
    "hang": (HANG, "time-out"),
    "reset": (RESET, "connection"),
    "closed": (CLOSE, "connection"),
    "cut": (CUT, "connection"),
    "trickle": (TRICKLE, "time-out"),
    "bad JSON": (Fault(body=b'{"message": '), "unreadable"),
    "not a reply": (Fault(body=b'{"message": 3}'), "unreadable"),
    "empty body": (Fault(body=b""), "unreadable"),
}
OLLAMA_STOPPED = {
    "missing model": (ollama_error(404, f"model '{MODEL}' not found"), f"ollama pull {MODEL}"),
    "low memory": (
        ollama_error(500, "model requires more system memory (5.6 GiB) than is available"),
        "smaller model",
    ),
}
OPENAI_RETRIED = {
    "429": (openai_error(429, "slow down", "rate_limit", ("retry-after", "7")), "429"),
    "500": (openai_error(500, "oops"), "500"),
    "HTML 502": (
        Fault(status=502, body=b"<h1>Bad Gateway</h1>", headers=(("Content-Type", "text/html"),)),
        "502",
    ),
    "503": (openai_error(503, "overloaded"), "503"),
    "hang": (HANG, "time-out"),
    "reset": (RESET, "connection"),
    "closed": (CLOSE, "connection"),
    "cut": (CUT, "connection"),
    "trickle": (TRICKLE, "time-out"),
    "bad JSON": (Fault(body=b'{"choices": '), "unreadable"),
}
OPENAI_STOPPED = {
    "no quota": (openai_error(429, "check your plan", "insufficient_quota"), "billing"),
    "bad key": (openai_error(401, f"Incorrect API key provided: {KEY}"), "OPENAI_API_KEY"),
    "403": (openai_error(403, "no"), "allowed"),
    "404": (openai_error(404, "no such model"), "--model"),
    "400": (openai_error(400, "bad request"), "bad request"),
}


def ollama(stand_in: StandIn, free_mb: int = 0, memory: int = 0) -> Ollama:
    return Ollama(stand_in.url, MODEL, 0.5, free_mb, lambda: memory)


def openai(stand_in: StandIn) -> OpenAICompatible:
    return OpenAICompatible(Secret(KEY), f"{stand_in.url}/v1", "local-70b", 0.5)


@pytest.mark.parametrize("row", OLLAMA_RETRIED)
def test_ollama_may_work_later(row: str, stand_in: StandIn) -> None:
    """Busy, broken and silent Ollamas are errors that may be retried."""
    fault, kind = OLLAMA_RETRIED[row]
    stand_in.script.append(fault)
    model = ollama(stand_in)
    with pytest.raises(ProviderRetryError) as caught:
        model.complete(PROMPT)
    model.close()
    assert caught.value.kind == kind


@pytest.mark.parametrize("row", OLLAMA_STOPPED)
def test_ollama_needs_a_person(row: str, stand_in: StandIn) -> None:
    """A model that is not there, or too large, stops at once and says what to do."""
    fault, step = OLLAMA_STOPPED[row]
    stand_in.script.append(fault)
    model = ollama(stand_in)
    with pytest.raises(ProviderStopError, match=step):
        model.complete(PROMPT)
    model.close()


@pytest.mark.parametrize("row", OPENAI_RETRIED)
def test_openai_may_work_later(row: str, stand_in: StandIn) -> None:
    """Overload, broken connections and unreadable replies are errors that may be retried."""
    fault, kind = OPENAI_RETRIED[row]
    stand_in.script.append(fault)
    model = openai(stand_in)
    with pytest.raises(ProviderRetryError) as caught:
        model.complete(PROMPT)
    model.close()
    assert caught.value.kind == kind
    if row == "429":
        assert caught.value.retry_after == 7
        assert caught.value.hold


@pytest.mark.parametrize("row", OPENAI_STOPPED)
def test_openai_needs_a_person(row: str, stand_in: StandIn) -> None:
    """Quota, key, permission and model stop at once, say what to do, and do not show the key."""
    fault, step = OPENAI_STOPPED[row]
    stand_in.script.append(fault)
    model = openai(stand_in)
    with pytest.raises(ProviderStopError, match=step) as caught:
        model.complete(PROMPT)
    model.close()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("provider", "row"),
    [("ollama", row) for row in OLLAMA_RETRIED] + [("openai", row) for row in OPENAI_RETRIED],
)
def test_a_build_survives_it(provider: str, row: str, booth: Booth, stand_in: StandIn) -> None:
    """One such fault on the way costs no answer."""
    booth.environ["TSUKURIOKI_TIMEOUT"] = "0.5" if row in ("hang", "trickle") else "5"
    fault, _ = (OLLAMA_RETRIED if provider == "ollama" else OPENAI_RETRIED)[row]
    stand_in.script.append(fault)
    outcome = booth.build(provider=provider, prompt="whole", wanted=8, per_request=4)
    assert outcome.status == 0, outcome.err + outcome.error
    assert_good(booth.entries(), 8)


def test_a_server_that_cannot_do_schemas_is_asked_in_a_plainer_form(
    booth: Booth, stand_in: StandIn
) -> None:
    """Where response_format is refused, the next form is used, and kept."""
    stand_in.script.append(openai_error(400, "response_format type is unavailable"))
    stand_in.script.append(openai_error(422, "unknown field response_format"))
    outcome = booth.build(provider="openai", wanted=8, per_request=4, concurrency=1)
    assert outcome.status == 0
    forms = [body.get("response_format", {}).get("type") for body in stand_in.tally.bodies]
    assert forms == ["json_schema", "json_object", None, None]


def test_the_model_that_is_loaded_is_taken(booth: Booth, stand_in: StandIn) -> None:
    """With no model named, an OpenAI-compatible server is asked which it has."""
    assert booth.build(provider="openai", wanted=4).status == 0
    assert {entry.model for entry in booth.entries()} == {"local-70b"}


def test_without_a_server_or_a_key_openai_says_what_to_set(booth: Booth) -> None:
    """Asked for by name with nothing set, it names the two settings."""
    booth.environ |= {"OPENAI_BASE_URL": "", "OPENAI_API_KEY": ""}
    outcome = booth.build(provider="openai", wanted=4)
    assert outcome.status == 2
    assert "OPENAI_BASE_URL" in outcome.error


def test_a_model_is_not_loaded_into_too_little_memory(stand_in: StandIn) -> None:
    """Below the guard nothing is asked; a model that is loaded already may be."""
    model = ollama(stand_in, free_mb=600, memory=599 * MIB)
    with pytest.raises(ProviderStopError, match="599 MiB of memory"):
        model.complete(PROMPT)
    assert stand_in.tally.calls == 0
    stand_in.loaded.add(MODEL)
    assert model.complete(PROMPT).text
    model.close()


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is used for services, not for servers on this machine."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert transport.proxy_for("https://service.example/v1") == "http://proxy.example:3128"
    assert transport.proxy_for("http://127.0.0.1:11434") is None
    assert transport.proxy_for("localhost:11434") is None


def test_a_slow_server_is_given_time_between_tries(booth: Booth, stand_in: StandIn) -> None:
    """retry-after is waited for to the second."""
    stand_in.script.append(openai_error(429, "slow", "rate", ("retry-after", "7")))
    clock = FakeClock()
    booth.build(clock, provider="openai", wanted=4)
    assert clock.slept == [7]
