"""A build of which nothing can be kept stops soon, and what it has cost is counted everywhere."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from app.store.log import Damage, log_path, read_log
from precompute.cook.choose import CONCURRENCY
from tests.conftest import Serve
from tests.cook import Answer, Spoil
from tests.kit import Booth, poem_deck
from tests.making import Precompute, row
from tests.standin import BLOCKED, Fault, StandIn, finished


def _declined(envelope: dict[str, object]) -> None:
    parts = [{"text": "I'm sorry, but I can't help with that."}]
    envelope["candidates"] = [{"content": {"parts": parts}, "finishReason": "STOP"}]


def _wrong_title(number: int, answers: list[Answer]) -> list[Answer]:
    return [answer | {"title": "ない題"} for answer in answers]


def _short(number: int, answers: list[Answer]) -> list[Answer]:
    return [answer | {"poem": ["短い。"]} for answer in answers]


# By the word with which each is reported: what happens to every request, or to all its answers.
FAULTS: dict[str, Fault | Spoil] = {
    "blocked: PROHIBITED_CONTENT": BLOCKED,
    "blocked: SAFETY": finished("SAFETY"),
    "declined": Fault(how="answer", change=_declined),
    "title": _wrong_title,
    "length": _short,
}


@pytest.mark.parametrize("wanted", [7, 100])
@pytest.mark.parametrize("per_request", [1, 10])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_run_of_one_kind_of_refusal_is_stopped_and_named(
    kind: str, per_request: int, wanted: int, tmp_path: Path
) -> None:
    """At most twice the planned requests, and far fewer of many; the reason is said; the bill is kept."""
    fault = FAULTS[kind]
    with StandIn(poem_deck(), None if isinstance(fault, Fault) else fault) as server:
        if isinstance(fault, Fault):
            server.fault = lambda number: fault
        booth = Booth(tmp_path, server)
        said = booth.build(provider="gemini", wanted=wanted, per_request=per_request)
    planned = -(-wanted // per_request)
    assert said.status == 2
    assert server.tally.calls <= 2 * planned
    if wanted == 100:
        # The brake: 40 refused answers or eleven replies in a row. Until the last is counted, each of
        # those who ask may have had a reply and be asking again, where the machine is busy.
        assert server.tally.calls <= (80 if per_request == 1 else 11 + 2 * CONCURRENCY)
        assert "many requests in a row" in said.error
        assert "run the same command again" in said.error
    assert kind in said.error + said.err
    assert booth.entries() == []


def test_more_requests_than_twice_the_plan_are_made_only_if_told(tmp_path: Path) -> None:
    """One answer of ten is blocked: a run splits the request within its limit, and says how to allow more."""
    asked: dict[str, Any] = {"wanted": 10, "per_request": 10, "concurrency": 1}

    def hated(number: int) -> Fault | None:
        with server.lock:
            prompt = orjson.dumps(server.tally.bodies[-1]).decode()
        return BLOCKED if name in prompt else None

    with StandIn(poem_deck()) as server:
        booth = Booth(tmp_path, server)
        booth.build(provider="composer", wanted=1)
        name = f"-{booth.entries()[0].key[:4]}］"
        server.fault = hated
        first = booth.build(provider="gemini", **asked)
        assert server.tally.calls == 2
        assert "--extra-requests" in first.err
        told = booth.build(provider="gemini", extra_requests=8, **asked)
    assert server.tally.calls > 4
    assert len({entry.key for entry in booth.entries() if entry.source == "gemini"}) == 9
    assert "1 not cooked" in told.err
    assert "blocked: PROHIBITED_CONTENT" in told.err


@pytest.mark.parametrize("seed", range(2))
def test_what_builds_spent_is_what_stats_and_the_dashboard_say(
    seed: int, tmp_path: Path, serve: Serve, poem_alone: Path
) -> None:
    """Builds that keep all, some or none of what they paid for add up, to the cent and beyond."""
    rng = Random(seed)
    share = 0.0

    def spoil(number: int, answers: list[Answer]) -> list[Answer]:
        return [a | {"title": "ない題"} if rng.random() < share else a for a in answers]

    spent = 0.0
    store = tmp_path / "store"
    settings = {
        "TSUKURIOKI_DATA": tmp_path,
        "TSUKURIOKI_DECKS": poem_alone,
        "TSUKURIOKI_STORE": store,
    }
    precompute = Precompute(settings)
    with StandIn(poem_deck(), spoil) as server:
        booth = Booth(tmp_path, server)
        for refused in rng.sample([0.0, 0.4, 1.0, 1.0], 4):
            share = refused
            wanted = len(booth.entries()) + rng.randint(1, 12)
            said = booth.build(provider="gemini", wanted=wanted)
            spent += float(row(said.out, "spent").split()[0])
            server.fault = lambda number: BLOCKED if number % 3 == 0 else None
        paid = sum(entry.cost_usd for entry in booth.entries())
    told = orjson.loads(precompute("stats", "--json").stdout)
    assert told["money"]["spent_usd"] == pytest.approx(spent, abs=0.0005)
    assert told["money"]["spent_usd"] > paid
    assert told["store"]["damaged_lines"] == 0
    assert not [x for x in read_log(log_path(store, "poem")) if isinstance(x, Damage)]
    if seed == 0:
        # The index may be built anew, and the log be checked: bills are no damage.
        (store / "poem.lmdb").unlink()
        assert "\n0 errors" in precompute("check", "--repair").stdout
        with serve(**settings).client() as client:
            figures = client.get("/stats").json()["decks"]["poem"]
        assert figures["money"] == told["money"]
