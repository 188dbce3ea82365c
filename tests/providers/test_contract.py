"""What holds for every provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.kinds.tasks import Task
from app.store.entry import Usage
from precompute.cook.choose import ProviderChoice, make_model
from precompute.cook.kinds import cooking_of
from precompute.plan.strategies import plan_sampled
from tests.cook import Answer
from tests.kit import MODELS, Booth, assert_good, poem_deck
from tests.standin import KEY, StandIn

PROVIDERS = ("composer", *MODELS)


def tasks(count: int) -> list[Task]:
    plan = plan_sampled(poem_deck(), 0)
    return [Task(job.query) for job, _ in zip(plan, range(count), strict=False)]


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_build_ends_with_as_many_gated_entries_as_were_asked_for(name: str, booth: Booth) -> None:
    """`--n 30` gives 30 entries that pass the gate, whoever writes them."""
    outcome = booth.build(provider=name, wanted=30)
    assert outcome.status == 0, outcome.err + outcome.error
    entries = booth.entries()
    assert_good(entries, 30)
    assert {entry.source for entry in entries} == {name}
    assert all(entry.created and entry.model and "+" in entry.fingerprint for entry in entries)


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_is_there_is_not_asked_for_again(name: str, booth: Booth, stand_in: StandIn) -> None:
    """A second build asks for what the first did not have, and for nothing else."""
    booth.build(provider=name, wanted=10)
    calls = stand_in.tally.calls
    outcome = booth.build(provider=name, wanted=10)
    assert stand_in.tally.calls == calls
    assert "already there" in outcome.out
    booth.build(provider=name, wanted=12)
    assert_good(booth.entries(), 12)


@pytest.mark.parametrize("name", MODELS)
def test_every_draft_belongs_to_a_task(name: str, booth: Booth) -> None:
    """What comes back is keyed: drafts are for tasks that were handed in, each at most once."""
    choice = ProviderChoice(name, "gemini-3.5-flash-lite" if "gemini" in name else "qwen2.5:0.5b")
    model = make_model(choice, booth.settings())
    provider = cooking_of(poem_deck()).cook(choice, model).provider
    asked = tasks(7)
    batch = provider.write(asked)
    model.close()
    assert [draft.task for draft in batch.drafts] == asked
    assert batch.usage is not None
    assert batch.usage.prompt > 0
    assert not batch.fault


@pytest.mark.parametrize("name", MODELS)
def test_a_refused_answer_is_asked_for_again_with_the_reason(name: str, tmp_path: Path) -> None:
    """What the gate refuses is told to the model in the next request, and kept in a side file."""

    def too_short(number: int, answers: list[Answer]) -> list[Answer]:
        if number == 1:
            answers[0] = answers[0] | {"poem": ["短い。", "短い。", "短い。"]}
        return answers

    with StandIn(poem_deck(), too_short) as server:
        booth = Booth(tmp_path, server)
        outcome = booth.build(provider=name, wanted=10, prompt="whole")
        assert outcome.status == 0
        assert_good(booth.entries(), 10)
        again = server.cook.prompts[1]
    assert "前回の不合格：詩の長さが9字だった" in again
    assert "1 (length 1)" in outcome.out
    assert booth.refused()[0]["refusals"][0].startswith("length: 9 ")
    assert "9 of 10 (90.0%)" in outcome.out


@pytest.mark.parametrize("name", MODELS)
def test_the_bill_is_what_came_back(name: str, booth: Booth, stand_in: StandIn) -> None:
    """The usage of all entries together is what the service counted, refused answers included."""
    booth.build(provider=name, wanted=10)
    total = sum((entry.usage for entry in booth.entries() if entry.usage), start=Usage())
    if name.startswith("gemini"):
        assert round(total.prompt) == stand_in.tally.prompt_tokens
        assert round(total.output) == stand_in.tally.output_tokens
    assert total.prompt > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_service_that_is_not_there_is_named_and_nothing_is_lost(
    name: str, tmp_path: Path
) -> None:
    """With nobody listening, a build ends with a sentence that says so and how to go on."""
    booth = Booth(tmp_path)
    outcome = booth.build(provider=name, wanted=5, model="m", concurrency=1)
    assert outcome.status == 2
    told = outcome.error + outcome.err
    assert "run the same" in told
    assert "safe" in told


@pytest.mark.parametrize("name", MODELS)
def test_the_key_is_nowhere(name: str, booth: Booth, stand_in: StandIn) -> None:
    """A key reaches the service and nothing else: no entry, side file, message or settings' repr."""
    booth.build(provider=name, wanted=5)
    stand_in.key = "another"
    refused = booth.build(provider=name, wanted=8)
    told = refused.out + refused.err + refused.error + repr(booth.settings())
    assert KEY not in told
    assert not any(KEY.encode() in data for data in booth.files())


def test_nobody_is_asked_who_was_not_asked_for(booth: Booth, stand_in: StandIn) -> None:
    """The composer needs no network, even where a key is set."""
    booth.build(provider="composer", wanted=20)
    assert stand_in.tally.paths == []
