"""Batch jobs: half the price, picked up after a kill, given up where they are stuck."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from app.providers.prices import load_prices
from app.store.entry import Usage
from tests.cook import Answer
from tests.kit import Booth, FakeClock, assert_good
from tests.precompute.cook.test_runner import forker
from tests.standin import Fault, StandIn


def state_file(booth: Booth) -> Path:
    return booth.folder / "store" / "poem.batch.json"


def test_a_batch_job_cooks_everything_at_half_the_price(booth: Booth, stand_in: StandIn) -> None:
    """Submitted once, polled, fetched, gated, appended; no model is called directly."""
    clock = FakeClock()
    outcome = booth.build(clock, provider="gemini", wanted=40, batch=True)
    assert outcome.status == 0, outcome.error + outcome.err
    assert_good(booth.entries(), 40)
    assert len(stand_in.batches) == 1
    assert stand_in.tally.calls == 0
    assert clock.slept == [20, 20]
    price = load_prices().price("gemini", "gemini-3.5-flash-lite", "2026-11-20", batch=True)
    assert price
    usage = sum((e.usage for e in booth.entries() if e.usage), start=Usage())
    assert sum(e.cost_usd for e in booth.entries()) == pytest.approx(price.cost(usage))
    assert not state_file(booth).exists()
    assert "4 requests for 40 answers submitted" in outcome.err


def test_what_failed_in_the_job_is_asked_for_directly(booth: Booth, stand_in: StandIn) -> None:
    """A line with an error and a refused answer: the rest by ordinary requests, with the reason."""
    stand_in.batch_error_lines = 1
    stand_in.cook.spoil = lambda number, answers: (
        [answers[0] | {"title": "ない題"}, *answers[1:]] if number == 1 else answers
    )
    outcome = booth.build(provider="gemini", wanted=40, batch=True)
    assert outcome.status == 0, outcome.error + outcome.err
    assert_good(booth.entries(), 40)
    assert stand_in.tally.calls == 2
    assert any("題「ない題」が候補にない" in prompt for prompt in stand_in.cook.prompts)


def test_a_job_is_picked_up_after_a_kill(booth: Booth, stand_in: StandIn) -> None:
    """Killed while it waits, a build finds its job again and does not submit another."""
    stand_in.batch_polls = 10**9
    arguments = ("build", "--provider", "gemini", "--n", "20", "--batch")
    with forker(booth) as builds:
        child = builds.start(*arguments)
        while not any(job.polls for job in stand_in.batches.values()):
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        assert builds.ended() == -signal.SIGKILL
        stand_in.batch_polls = 0
        builds.start(*arguments)
        assert builds.ended() == 0, builds.log.read_text()
        assert "is picked up" in builds.log.read_text()
    assert len(stand_in.batches) == 1
    assert_good(booth.entries(), 20)


def test_a_build_that_died_while_submitting_does_not_submit_twice(
    booth: Booth, stand_in: StandIn
) -> None:
    """The job is found by the name that only it has; where there is none, it is submitted anew."""
    # The job is made, the reply is lost, and so is every later one.
    stand_in.script.extend([Fault(how="reset")])
    outcome = booth.build(provider="gemini", wanted=20, batch=True)
    assert outcome.status == 0, outcome.error
    assert len(stand_in.batches) == 1
    assert_good(booth.entries(), 20)


def test_a_stuck_job_is_given_up_and_the_rest_asked_for_directly(
    booth: Booth, stand_in: StandIn
) -> None:
    """After the limit it is cancelled, and the build ends whole."""
    stand_in.batch_polls = 10**9
    outcome = booth.build(provider="gemini", wanted=20, batch=True, give_up_hours=0.1)
    assert outcome.status == 0, outcome.error + outcome.err
    assert_good(booth.entries(), 20)
    assert [job.cancelled for job in stand_in.batches.values()] == [True]
    assert "is given up (still RUNNING after 0.1 h)" in outcome.err
    assert stand_in.tally.calls == 2


@pytest.mark.parametrize("word", ["FAILED", "EXPIRED", "CANCELLED"])
def test_a_job_that_failed_is_told_and_made_up_for(
    word: str, booth: Booth, stand_in: StandIn
) -> None:
    """FAILED, EXPIRED and CANCELLED end in ordinary requests."""
    stand_in.batch_state = f"BATCH_STATE_{word}"
    outcome = booth.build(provider="gemini", wanted=10, batch=True)
    assert outcome.status == 0, outcome.error + outcome.err
    assert_good(booth.entries(), 10)
    assert word in outcome.err


def test_results_taken_in_before_a_kill_are_not_taken_in_twice(
    booth: Booth, stand_in: StandIn
) -> None:
    """A build killed between the last append and forgetting the job fetches it again, for nothing."""
    kept: list[bytes] = []

    def keep(number: int, answers: list[Answer]) -> list[Answer]:
        kept.append(state_file(booth).read_bytes())
        return answers

    stand_in.cook.spoil = keep
    booth.build(provider="gemini", wanted=20, batch=True)
    # As the kill would have left it: the entries are there, and so is the job's file.
    state_file(booth).write_bytes(kept[0])
    outcome = booth.build(provider="gemini", wanted=20, batch=True)
    assert outcome.status == 0, outcome.error
    assert "is picked up" in outcome.err
    assert_good(booth.entries(), 20)
    assert len(stand_in.batches) == 1
    assert stand_in.tally.calls == 0


def test_a_job_asked_for_with_another_prompt_is_given_up(booth: Booth, stand_in: StandIn) -> None:
    """Its answers could not be told apart any more; what is missing is submitted anew."""
    kept: list[bytes] = []

    def keep(number: int, answers: list[Answer]) -> list[Answer]:
        kept.append(state_file(booth).read_bytes())
        return answers

    stand_in.cook.spoil = keep
    booth.build(provider="gemini", wanted=10, batch=True)
    old = kept[0].replace(b'"fingerprint":"poem:', b'"fingerprint":"poem:0')
    state_file(booth).write_bytes(old)
    outcome = booth.build(provider="gemini", wanted=20, batch=True)
    assert outcome.status == 0, outcome.error
    assert "the prompt has changed since" in outcome.err
    assert [job.cancelled for job in stand_in.batches.values()] == [True, False]
    assert_good(booth.entries(), 20)


def test_a_budget_limits_what_is_submitted(booth: Booth, stand_in: StandIn) -> None:
    """Only as many requests as the budget surely has room for."""
    outcome = booth.build(provider="gemini", wanted=400, batch=True, budget_usd=0.05)
    assert outcome.status == 2
    assert "has room for" in outcome.err
    assert sum(entry.cost_usd for entry in booth.entries()) <= 0.05
    assert booth.entries()


def test_batch_is_geminis_alone(booth: Booth) -> None:
    """With another provider it is refused in a sentence."""
    outcome = booth.build(provider="openai", wanted=10, batch=True)
    assert outcome.status == 2
    assert "--provider gemini" in outcome.error
