"""Connections to a service: kept for the next request, shared by threads, closed at the end."""

from __future__ import annotations

import pytest

from app.kinds.cards.writer import WHOLE_SCHEMA
from app.providers import Prompt
from app.providers.ollama import Ollama
from app.providers.relay import Abort, Ask
from precompute.cook.choose import ProviderChoice, make_model
from tests.kit import MODELS, Booth
from tests.standin import StandIn

MODEL = "qwen2.5:0.5b"
PATIENCE = 10.0
PROMPT = Prompt("決まり", '{"keywords"', WHOLE_SCHEMA, 100)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("name", MODELS)
def test_a_build_opens_a_connection_for_each_thread(
    name: str, threads: int, booth: Booth, stand_in: StandIn
) -> None:
    """However many requests a build makes, it opens one connection for each thread that makes them."""
    outcome = booth.build(
        provider=name, wanted=60, per_request=4, concurrency=threads, prompt="whole"
    )
    assert outcome.status == 0, outcome.err + outcome.error
    assert stand_in.tally.calls >= 15
    assert 1 <= stand_in.tally.accepted <= threads


@pytest.mark.parametrize("name", MODELS)
def test_a_build_closes_its_connections(name: str, booth: Booth, stand_in: StandIn) -> None:
    """When a build ends its connections are closed, although the service would keep them."""
    booth.build(provider=name, wanted=10)
    tally = stand_in.tally
    with stand_in.changed:
        assert stand_in.changed.wait_for(lambda: tally.ended == tally.accepted, PATIENCE)


@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_a_connection_that_the_service_closed_is_opened_again(
    name: str, booth: Booth, stand_in: StandIn
) -> None:
    """Where a service closes a connection that waits, the next request opens one, and is no fault."""
    # Some clients make two requests for a reply: on a busy machine they are tenths of a second apart.
    stand_in.idle = 1.0
    choice = ProviderChoice(name, "gemini-3.5-flash-lite" if "gemini" in name else MODEL)
    model = make_model(choice, booth.settings())
    tally = stand_in.tally
    for _ in range(3):
        model.complete(PROMPT)
        with stand_in.changed:
            assert stand_in.changed.wait_for(lambda: tally.ended == tally.accepted, PATIENCE)
    assert tally.calls == tally.accepted == 3
    model.close()


def test_a_reply_that_streams_has_a_connection_of_its_own(stand_in: StandIn) -> None:
    """A stream is ended by shutting its socket, so that it shares none, and its socket is known."""
    model = Ollama(stand_in.url, MODEL, 5.0, free_mb=0)
    model.complete(PROMPT)
    ask = Ask(MODEL, "", ({"role": "user", "content": '{"keywords"'},), 100, 5.0)
    abort = Abort()
    pieces = model.stream(ask, abort)
    next(pieces)
    assert stand_in.tally.accepted == 2
    abort.fire()
    with stand_in.changed:
        assert stand_in.changed.wait_for(lambda: stand_in.tally.ended == 1, PATIENCE)
    pieces.close()
    model.close()
