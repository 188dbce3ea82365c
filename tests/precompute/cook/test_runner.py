"""The runner: what is there is a checkpoint, what is refused is asked again, what ends says how."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from app.providers.prices import load_prices
from app.store.entry import Usage
from app.store.log import Damage, log_path, read_log
from precompute.cook.clock import SystemClock
from tests.cook import Answer
from tests.kit import Booth, Outcome, assert_good, poem_deck
from tests.making import REPO
from tests.providers.test_gemini_faults import RETRIED, UNFIT
from tests.standin import Fault, StandIn


def bill(stand_in: StandIn) -> float:
    """What the service would charge."""
    price = load_prices().price("gemini", "gemini-3.5-flash-lite", "2026-11-20")
    assert price
    tally = stand_in.tally
    return price.cost(Usage(prompt=tally.prompt_tokens, output=tally.output_tokens))


class Forker:
    """Builds in processes that can be killed."""

    def __init__(self, booth: Booth) -> None:
        self.log = booth.folder / "builds.log"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.precompute.cook.forker", str(self.log)],
            cwd=REPO,
            env={**os.environ, **booth.full_environ()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def start(self, *arguments: str) -> int:
        """Start a build; returns its process id."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def ended(self) -> int:
        """Wait for it; returns its exit status, negative where a signal ended it."""
        return int(self._line())

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def forker(booth: Booth) -> Iterator[Forker]:
    made = Forker(booth)
    try:
        yield made
    finally:
        made.close()


def kill_often(booth: Booth, stand_in: StandIn, kills: int, arguments: tuple[str, ...]) -> int:
    """Start builds and kill each at a random moment; returns how many were still running."""
    rng = Random(7)
    running = 0
    with forker(booth) as builds:
        for _ in range(kills):
            child = builds.start(*arguments)
            # The moment of the kill is the point of the test, not something that is waited for.
            time.sleep(rng.uniform(0.0, 0.9))
            # A build may have ended by itself in that moment; it does not count then.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            running += builds.ended() == -signal.SIGKILL
        builds.start(*arguments)
        assert builds.ended() == 0, builds.log.read_text()[-2000:]
    return running


def test_a_killed_build_loses_nothing_and_pays_nothing_twice(
    booth: Booth, stand_in: StandIn
) -> None:
    """However often it is killed, at any moment: every answer once, and paid once but for those in flight."""
    stand_in.latency = 0.05
    kills, wanted, at_once, a_request = 10, 100, 2, 2
    # Those a minute that a service has by default, requests and tokens, would be waited for, for minutes.
    arguments = (
        *("build", "--provider", "gemini", "--n", str(wanted)),
        *("--per-request", str(a_request), "--rpm", "10000", "--tpm", "100000000"),
    )
    running = kill_often(booth, stand_in, kills, (*arguments, "--concurrency", str(at_once)))
    assert running >= 0.8 * kills
    assert_good(booth.entries(), wanted)
    log = log_path(booth.folder / "store", "poem")
    assert not [item for item in read_log(log) if isinstance(item, Damage)]
    assert stand_in.tally.answered <= wanted / a_request + kills * at_once
    written = stand_in.cook.written.total()
    assert written <= wanted + kills * at_once * a_request
    # Each torn tail was set aside, each answer that arrived whole was kept.
    spent = sum(entry.cost_usd for entry in booth.entries())
    assert spent == pytest.approx(bill(stand_in), rel=kills * at_once * a_request / wanted)


@pytest.mark.parametrize("library", ["gemini", "gemini-legacy"])
@pytest.mark.parametrize("wanted", [200])
def test_a_night_with_every_fault_ends_whole_with_a_true_bill(
    library: str, wanted: int, booth: Booth, stand_in: StandIn
) -> None:
    """Latency, a rate limit and every fault of the table: all entries, all gated, and the bill."""
    faults = [
        f
        for name, (f, _) in (RETRIED | UNFIT).items()
        if name not in ("time-out", "429 per minute")
    ]
    stand_in.fault = lambda number: faults[number // 6 % len(faults)] if number % 6 == 2 else None
    stand_in.latency = 0.02
    stand_in.limit = (60, 1.0)
    refusing = Random(3)

    def spoil(number: int, answers: list[Answer]) -> list[Answer]:
        if refusing.random() < 0.3:
            answers[0] = answers[0] | {"title": "ない題"}
        return answers

    stand_in.cook.spoil = spoil
    outcomes: list[Outcome] = []
    # An answer that is refused three times is left out, and the sentence says: run the same again.
    while len(outcomes) < 4 and (not outcomes or outcomes[-1].status):
        per_request = 10 if wanted > 500 else 5
        outcomes.append(
            booth.build(FastBackoff(), provider=library, wanted=wanted, per_request=per_request)
        )
        if outcomes[-1].status:
            assert "run the same again" in outcomes[-1].err
    outcome = outcomes[0]
    assert outcomes[-1].status == 0, outcomes[-1].error + outcomes[-1].err
    assert_good(booth.entries(), wanted)
    spent = sum(entry.cost_usd for entry in booth.entries())
    # Replies that the library could not read are billed and bring no figures.
    assert spent == pytest.approx(bill(stand_in), rel=0.001)
    assert "faults on the way" in outcome.out
    assert "title" in outcome.out
    assert stand_in.tally.most_at_once <= 4


class FastBackoff(SystemClock):
    """The machine's clock; waits between retries are shortened to spare the tester's time."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.05))


def test_ollama_does_the_same(booth: Booth, stand_in: StandIn) -> None:
    """Faults of its own mixed in, two steps a poem, nothing to pay."""
    faults = [
        Fault(how="reset"),
        Fault(status=503, body=b'{"error": "server busy"}'),
        Fault(how="cut"),
    ]
    stand_in.fault = lambda number: faults[number // 9 % 3] if number % 9 == 4 else None
    outcome = booth.build(FastBackoff(), provider="ollama", wanted=60)
    assert outcome.status == 0, outcome.error + outcome.err
    assert_good(booth.entries(), 60)
    assert "0.0000 USD" in outcome.out


def test_what_is_in_flight_is_kept_when_the_run_is_stopped(
    booth: Booth, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C waits for the requests that are out and keeps their answers: they are paid."""
    stand_in.latency = 0.3
    stopped = threading.Event()

    def interrupt() -> None:
        while stand_in.tally.calls < 2:
            time.sleep(0.005)
        stopped.set()
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        booth.build(SystemClock(), provider="gemini", wanted=100, concurrency=2)
    thread.join()
    assert stopped.is_set()
    assert len(booth.entries()) == 10 * stand_in.tally.answered
    assert stand_in.tally.answered >= 2


def test_a_better_source_replaces_a_worse_one_and_not_the_other_way(
    booth: Booth, stand_in: StandIn
) -> None:
    """Gemini cooks what only the composer has written; the composer leaves Gemini's alone."""
    booth.build(provider="composer", wanted=20)
    upgraded = booth.build(provider="gemini", wanted=20)
    assert stand_in.tally.calls == 2
    assert "gemini 20" in upgraded.out
    again = booth.build(provider="composer", wanted=20)
    assert re.search(r"already there +20\b", again.out)
    assert len(booth.entries()) == 40


def test_the_order_of_sources_is_a_setting(booth: Booth, stand_in: StandIn) -> None:
    """Whoever prefers the composer says so, and Gemini is not asked."""
    booth.environ["TSUKURIOKI_SOURCES"] = "composer,gemini"
    booth.build(provider="composer", wanted=20)
    booth.build(provider="gemini", wanted=20)
    assert stand_in.tally.calls == 0


def test_a_near_copy_is_asked_for_again(tmp_path: Path) -> None:
    """Two answers alike are not both kept; the second is written anew."""

    def copy(number: int, answers: list[Answer]) -> list[Answer]:
        if number == 1:
            answers[1] = answers[1] | {"poem": answers[0]["poem"]}
        return answers

    with StandIn(poem_deck(), copy) as server:
        booth = Booth(tmp_path, server)
        outcome = booth.build(provider="gemini", wanted=10)
        again = server.cook.prompts[1]
    assert outcome.status == 0
    poems = {entry.response["poem"] for entry in booth.entries()}
    assert len(poems) == 10
    assert "near-copy 1" in outcome.out or "wording" in outcome.out or "leak" in outcome.out
    assert "前回の不合格" in again


def test_an_answer_that_never_passes_is_set_aside_and_named(tmp_path: Path) -> None:
    """It is asked for once and three times again, if requests allow; the others are kept."""

    def stubborn(number: int, answers: list[Answer]) -> list[Answer]:
        return [a | {"title": "ない題"} if a["id"].endswith(hated) else a for a in answers]

    with StandIn(poem_deck()) as server:
        booth = Booth(tmp_path, server)
        booth.build(provider="composer", wanted=1)
        hated = booth.entries()[0].key[:4]
        server.cook.spoil = stubborn
        outcome = booth.build(provider="gemini", wanted=10, extra_requests=8)
    assert outcome.status == 2
    assert f"not cooked: {booth.entries()[0].key} variant 0: title: ない題" in outcome.err
    assert "title 4" in outcome.out
    assert len(booth.refused()) == 4
    assert len([e for e in booth.entries() if e.source == "gemini"]) == 9


def test_with_no_provider_named_a_key_decides(booth: Booth, stand_in: StandIn) -> None:
    """Gemini where a key is set, the composer where none is, and it says which and why."""
    told = booth.build(wanted=3)
    assert "provider: gemini (GEMINI_API_KEY is set)" in told.err
    booth.environ |= {"GEMINI_API_KEY": "", "GOOGLE_API_KEY": "k-123456"}
    stand_in.key = "k-123456"
    assert "provider: gemini (GOOGLE_API_KEY is set)" in booth.build(wanted=4).err
    booth.environ["GOOGLE_API_KEY"] = ""
    assert "provider: composer (no GEMINI_API_KEY is set" in booth.build(wanted=5).err


def test_a_request_that_asks_for_nothing_is_told_so(booth: Booth) -> None:
    """Neither --n nor a refresh nor pieces: one sentence."""
    outcome = booth.build(provider="composer")
    assert outcome.status == 2
    assert "--n 1000" in outcome.error


def test_the_command_line_says_all_of_it(booth: Booth, stand_in: StandIn) -> None:
    """As typed: status 0 and a table; with a bad key, status 2, one line, no trace, no key."""
    environ = {**os.environ, **booth.full_environ()}
    command = [sys.executable, "-m", "precompute", "build", "--n", "10", "--provider", "gemini"]
    run = subprocess.run(
        command, cwd=REPO, env=environ, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "spent" in run.stdout
    assert "passed at the first try" in run.stdout
    environ["GEMINI_API_KEY"] = "AIza-wrong-key-987654321"
    command[command.index("10")] = "20"
    run = subprocess.run(
        command, cwd=REPO, env=environ, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    told = [line for line in run.stderr.splitlines() if line.startswith("precompute:")]
    assert len(told) == 1
    assert "Traceback" not in run.stderr
    assert "AIza-wrong-key-987654321" not in run.stderr + run.stdout
    assert "10 of the entries planned are in the store and safe" in told[0]
