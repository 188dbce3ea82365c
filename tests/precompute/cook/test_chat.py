"""Chat lines are cooked by the same pipeline as poems: its options work, and its promises hold."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from app.errors import OperatorError
from app.kinds.chat.gate import TEXT, ChatGate
from app.store.entry import Entry
from app.store.index import Index
from app.store.log import Record, log_path, read_log
from precompute.cook.build import build
from precompute.cook.chat import plan_lines
from precompute.cook.clock import Clock
from precompute.cook.options import BuildOptions
from tests.kit import MODELS, Booth, FakeClock, Outcome, chat_deck, poem_deck
from tests.making import PATIENCE, REPO, environment, wait_for
from tests.standin import PER_DAY, PER_MINUTE, Fault, StandIn, quota_error

_WANTED = re.compile(r"^(?:id \d+ is said by (?P<who>\w+); )?id (?P<id>\d+): .*? \((?P<intent>\w+)\);", re.MULTILINE)  # fmt: skip


@cache
def chat_gate() -> ChatGate:
    """The deck's gate, which compiles its expressions when it first needs them."""
    return ChatGate(chat_deck())


@cache
def good_lines(character: str, intent: str) -> list[str]:
    """The deck's own lines for an intent that its gate lets pass."""
    gate, deck = chat_gate(), chat_deck()
    query = deck.line_query(character, intent, "plain", "any")
    lines = (line.text for line in deck.lines[character][intent])
    return [text for text in lines if not gate.refusals(query, {TEXT: text})]


class LinesModel:
    """A model that says the deck's own lines, each once, which the gate lets pass."""

    def __init__(self) -> None:
        self.said: Counter[tuple[str, str]] = Counter()
        self.prompts: list[str] = []
        self._lock = threading.Lock()

    def reply(self, prompt: str) -> str:
        with self._lock:
            self.prompts.append(prompt)
            only = next(c.id for c in chat_deck().characters if c.persona in prompt)
            found = _WANTED.finditer(prompt)
            lines = [self._line(m["who"] or only, m["intent"], int(m["id"])) for m in found]
        assert lines, prompt
        return json.dumps({"lines": lines}, ensure_ascii=False)

    def _line(self, who: str, intent: str, number: int) -> dict[str, object]:
        lines = good_lines(who, intent)
        self.said[who, intent] += 1
        return {"id": number, "text": lines[self.said[who, intent] % len(lines)] if lines else "x"}


@pytest.fixture
def model(stand_in: StandIn) -> LinesModel:
    made = LinesModel()
    stand_in.cook.reply = made.reply  # type: ignore[method-assign]
    return made


def cook(booth: Booth, clock: Clock | None = None, **asked: object) -> Outcome:
    """`precompute build --deck chat` with these options."""
    context = replace(booth.context(clock), deck=chat_deck())
    error, status = "", 2
    try:
        status = build(BuildOptions(**asked), context)  # type: ignore[arg-type]
    except OperatorError as fault:
        error = str(fault)
    out, err = context.out.file, context.err.file
    assert isinstance(out, io.StringIO)
    assert isinstance(err, io.StringIO)
    return Outcome(status, out.getvalue(), err.getvalue(), error, context.clock)


def entries(booth: Booth) -> list[Entry]:
    log = log_path(booth.folder / "store", "chat")
    return [item.entry for item in read_log(log) if isinstance(item, Record)]


def good(outcome: Outcome, of: int) -> int:
    """How many of the lines that were wanted the report says were cooked; nothing else went wrong."""
    found = re.search(r"cooked +(\d+)", outcome.out)
    assert found, outcome.out + outcome.err + outcome.error
    assert int(found[1]) >= 0.7 * of, outcome.out + outcome.err
    return int(found[1])


@pytest.mark.long
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_lines_are_cooked_by_every_provider(
    name: str, batch: bool, booth: Booth, stand_in: StandIn, model: LinesModel
) -> None:
    """Each provider cooks gated lines with their bill, directly and, for Gemini, by batch job."""
    outcome = cook(booth, provider=name, wanted=40, batch=batch)
    if batch and name != "gemini":
        assert "--batch" in outcome.error
        return
    count = good(outcome, 40)
    assert len(entries(booth)) == count
    gate = chat_gate()
    assert not any(gate.examine(entry.query, entry.response) for entry in entries(booth))
    assert all("+" in entry.fingerprint and entry.usage for entry in entries(booth))
    assert len(stand_in.batches) == batch


def test_what_is_there_is_not_cooked_again(
    booth: Booth, stand_in: StandIn, model: LinesModel
) -> None:
    """A second build asks only for what the first did not get."""
    count = good(cook(booth, provider="gemini", wanted=20), 20)
    asked = len(model.prompts)
    again = cook(booth, provider="gemini", wanted=20)
    assert re.search(rf"already there +{count}\b", again.out)
    assert len(model.prompts) - asked <= 8


def test_a_budget_really_bounds(booth: Booth, stand_in: StandIn, model: LinesModel) -> None:
    """--budget-usd ends a chat build before it costs more, keeps everything, and says how to go on."""
    outcome = cook(booth, provider="gemini", wanted=2000, budget_usd=0.01, concurrency=1)
    spent = sum(entry.cost_usd for entry in entries(booth))
    assert outcome.status == 2
    assert 0 < spent <= 0.01
    assert "--budget-usd" in outcome.error
    index = Index(booth.folder / "store", "chat")
    assert index.meta().entries == len(entries(booth))
    index.close()


def test_rpm_bounds_chat_builds(booth: Booth, stand_in: StandIn, model: LinesModel) -> None:
    """In no minute are there more requests than were allowed."""
    clock = FakeClock()
    times: list[float] = []
    stand_in.fault = lambda number: times.append(clock.now())
    cook(booth, clock, provider="ollama", wanted=30, per_request=3, rpm=2, concurrency=1)
    assert len(times) >= 10
    assert max(sum(first <= t < first + 60 for t in times) for first in times) <= 2


def test_a_pause_is_waited_for(booth: Booth, stand_in: StandIn, model: LinesModel) -> None:
    """A 429 is waited for as long as it asks, not asked again at once."""
    stand_in.script.append(quota_error(PER_MINUTE, "17.5s"))
    clock = FakeClock()
    good(cook(booth, clock, provider="gemini", wanted=10, concurrency=1), 10)
    assert clock.slept[0] == 17.5


def test_a_quota_of_the_day_ends_it_and_all_is_served(
    booth: Booth, stand_in: StandIn, model: LinesModel
) -> None:
    """What an interrupted build cooked stands in the index."""
    stand_in.fault = lambda number: quota_error(PER_DAY) if number > 2 else None
    outcome = cook(booth, provider="gemini", wanted=60, concurrency=1)
    assert "in the store and safe" in outcome.error
    index = Index(booth.folder / "store", "chat")
    assert index.meta().entries == len(entries(booth)) > 0
    index.close()


@pytest.mark.parametrize(
    "fault", [Fault(body=b"[]"), Fault(body=b'{"candidates": 3}'), Fault(body=b"<html>")]
)
def test_no_reply_ends_a_chat_build_with_a_traceback(
    fault: Fault, booth: Booth, stand_in: StandIn, model: LinesModel
) -> None:
    """Replies of no known shape are counted, told, and asked for within the budget of tries."""
    stand_in.fault = lambda number: fault
    outcome = cook(booth, provider="gemini", wanted=20)
    assert outcome.status == 2
    assert stand_in.tally.calls <= 12
    assert "unreadable" in outcome.out


def test_a_refused_line_is_asked_for_again_with_the_reason(
    booth: Booth, stand_in: StandIn, model: LinesModel
) -> None:
    """What the gate refuses is told to the model, and kept in a side file."""
    real = model.reply
    stand_in.cook.reply = lambda prompt: (  # type: ignore[method-assign]
        real(prompt) if "was refused" in prompt else real(prompt).replace("！", "です。")
    )
    cook(booth, provider="gemini", wanted=6)
    assert any("your last line was refused: " in prompt for prompt in model.prompts)
    assert (booth.folder / "store" / "chat.refused.jsonl").exists()


def test_a_dry_run_asks_nobody(booth: Booth, stand_in: StandIn) -> None:
    """It says how many requests, tokens and USD a chat build would take."""
    outcome = cook(booth, provider="gemini", wanted=100, dry_run=True)
    assert outcome.status == 0
    assert re.search(r"requests +10\b", outcome.out)
    assert "USD by the prices of" in outcome.out
    assert "by intent" in outcome.out
    assert stand_in.tally.paths == []


def test_refresh_cooks_lines_of_an_older_persona_again(
    booth: Booth, stand_in: StandIn, model: LinesModel
) -> None:
    """--refresh stale finds the lines of a character whose persona has changed, and no others."""
    good(cook(booth, provider="gemini", wanted=12), 12)
    planned = cook(booth, provider="gemini", refresh="stale", dry_run=True)
    assert re.search(r"to cook +0\b", planned.out)
    deck = chat_deck()
    changed = tuple(
        c._replace(persona=f"{c.persona}!") if n == 0 else c for n, c in enumerate(deck.characters)
    )
    context = replace(booth.context(), deck=replace(deck, characters=changed))
    build(BuildOptions(provider="gemini", refresh="stale", dry_run=True), context)
    assert isinstance(context.out.file, io.StringIO)
    of_first = [e for e in entries(booth) if dict(e.query.picks)["character"] == changed[0].id]
    assert re.search(rf"to cook +{len(of_first)}\b", context.out.file.getvalue())
    assert "nobody votes" in cook(booth, provider="gemini", refresh="disliked").error


@pytest.mark.long
def test_a_line_is_not_near_to_one_of_an_earlier_build(
    booth: Booth, stand_in: StandIn, model: LinesModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was cooked before counts as said."""
    # Of few intents, the lines of another time of day soon come after those of any time.
    few = {intent.id for intent in chat_deck().intents[:3]}
    jobs = [job for job in plan_lines(chat_deck()) if dict(job.query.picks)["intent"] in few]
    monkeypatch.setattr("precompute.cook.chat.plan_lines", lambda _deck: iter(jobs))
    good(cook(booth, provider="gemini", wanted=6), 6)
    model.said.clear()
    cook(booth, provider="gemini", wanted=30)
    texts = Counter((dict(e.query.picks)["character"], e.response[TEXT]) for e in entries(booth))
    assert texts.total() > 6
    assert max(texts.values()) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("deck", "end"), [("chat", signal.SIGINT), ("chat", signal.SIGTERM), ("poem", signal.SIGTERM)]
)
def test_asked_to_end_a_build_keeps_what_is_in_flight(
    deck: str, end: signal.Signals, booth: Booth, stand_in: StandIn, model: LinesModel
) -> None:
    """SIGTERM and Ctrl-C wait for the requests that are out and keep and publish their answers."""
    if deck == "poem":
        with StandIn(poem_deck()) as poems:
            _ended(deck, end, replace(booth, stand_in=poems), poems)
    else:
        _ended(deck, end, booth, stand_in)


def _ended(deck: str, end: signal.Signals, booth: Booth, stand_in: StandIn) -> None:
    stand_in.latency = 0.3
    words = ["build", "--deck", deck, "--n", "600", "--provider", "gemini", "--concurrency", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "precompute", *words],
        cwd=REPO, env={**environment(), **booth.full_environ()},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: stand_in.tally.calls >= 2, "two requests")
    os.kill(process.pid, end)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    log = log_path(booth.folder / "store", deck)
    kept = [item.entry for item in read_log(log) if isinstance(item, Record)]
    assert len(kept) >= 0.7 * 10 * stand_in.tally.answered > 10
    index = Index(booth.folder / "store", deck)
    assert index.meta().entries == len(kept)
    index.close()
