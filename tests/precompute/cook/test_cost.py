"""Prices: dated data that the user can override; estimates that hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.errors import SettingError
from app.providers.prices import load_prices
from app.store.entry import Usage
from tests.kit import Booth
from tests.standin import StandIn

DAY = "2026-11-20"
MILLION = Usage(prompt=1e6, output=1e6)


def test_the_table_in_the_box_has_the_prices_of_its_day() -> None:
    """3.5-flash-lite: 0.30 in, 2.50 out; half of it by batch; thoughts are billed as output."""
    prices = load_prices()
    price = prices.price("gemini", "gemini-3.5-flash-lite", DAY)
    half = prices.price("gemini", "gemini-3.5-flash-lite", DAY, batch=True)
    assert price
    assert half
    assert price.cost(MILLION) == pytest.approx(2.80)
    assert half.cost(MILLION) == pytest.approx(1.40)
    assert price.cost(Usage(thoughts=1e6)) == pytest.approx(2.50)


def test_a_price_holds_until_its_day() -> None:
    """3.8-flash doubles in 2027."""
    prices = load_prices()
    cheap = prices.price("gemini", "gemini-3.8-flash", "2026-12-31T23:59:59Z")
    dear = prices.price("gemini", "gemini-3.8-flash", "2027-01-01T00:00:00Z")
    assert cheap
    assert dear
    assert (cheap.input, dear.input) == (0.75, 1.50)


def test_what_costs_nothing_and_what_nobody_knows_are_told_apart() -> None:
    """Ollama and the composer are free; a model that the table lacks has no price."""
    prices = load_prices()
    free = prices.price("ollama", "anything", DAY)
    assert free
    assert free.cost(MILLION) == 0
    assert prices.price("gemini", "gemini-flash-latest", DAY) is None
    assert prices.price("openai", "local-70b", DAY) is None


def test_a_version_of_a_model_has_its_price() -> None:
    """`…-001`, and names with `models/` before them."""
    prices = load_prices()
    assert prices.price("gemini", "models/gemini-3.5-flash-lite-001", DAY)
    assert prices.price("gemini", "gemini-3.5-flash", DAY) is None


def test_a_file_replaces_models_and_adds_some(tmp_path: Path) -> None:
    """TSUKURIOKI_PRICES names a table whose models come first; the others stay."""
    own = tmp_path / "own.json"
    row = {"prices": [{"input": 1, "output": 2}]}
    own.write_text(json.dumps({"dated": "2027-03-01", "models": {"local-70b": row}}))
    prices = load_prices(own)
    price = prices.price("openai", "local-70b", DAY)
    assert price
    assert price.cost(MILLION) == pytest.approx(3.0)
    assert prices.dated == "2027-03-01"
    assert prices.price("gemini", "gemini-3.5-flash-lite", DAY)


@pytest.mark.parametrize("text", ["", "[]", '{"models": {"m": {"prices": [{"input": "x"}]}}}'])
def test_a_table_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    """The error names the setting, the file and the shape that is expected."""
    own = tmp_path / "own.json"
    own.write_text(text)
    with pytest.raises(SettingError, match="TSUKURIOKI_PRICES"):
        load_prices(own)


def test_a_dry_run_is_true(booth: Booth, stand_in: StandIn) -> None:
    """Requests are exact, and the price is within 30 % of the bill, by another way of counting."""
    plan = booth.build(provider="gemini", wanted=100, dry_run=True)
    assert stand_in.tally.paths == []
    assert not (booth.folder / "store").exists()
    told = dict(line.strip().split("  ", 1) for line in plan.out.splitlines()[1:])
    figures = {name: value.strip() for name, value in told.items()}
    assert figures["requests"] == "10"
    booth.build(provider="gemini", wanted=100)
    assert stand_in.tally.calls == 10
    spent = sum(entry.cost_usd for entry in booth.entries())
    estimate = float(figures["price, about"].split()[0])
    assert 0.7 * spent < estimate < 1.3 * spent
    again = booth.build(provider="gemini", wanted=150, dry_run=True)
    assert "already there" in again.out
    assert "5" in [line.split()[-1] for line in again.out.splitlines() if "requests" in line]


def test_a_dry_run_needs_no_key(booth: Booth) -> None:
    """It can be asked before an account is made."""
    booth.environ |= {"GEMINI_API_KEY": "", "TSUKURIOKI_GEMINI_BASE_URL": "http://127.0.0.1:9"}
    outcome = booth.build(provider="gemini", wanted=1000, dry_run=True)
    assert outcome.status == 0
    assert "USD by the prices of 2026-10-07" in outcome.out
    assert "USD" in outcome.out


def test_a_model_that_is_shut_down_is_told(booth: Booth) -> None:
    """gemini-2.5-flash ends on 2026-12-01, and has no price here."""
    outcome = booth.build(provider="gemini", model="gemini-2.5-flash", wanted=9, dry_run=True)
    assert "shut down on 2026-12-01" in outcome.out
    assert "not known" in outcome.out


def test_a_budget_needs_a_price(booth: Booth, stand_in: StandIn) -> None:
    """A budget that could not be kept is refused before anything is asked."""
    outcome = booth.build(provider="gemini", model="gemini-x", wanted=9, budget_usd=1.0)
    assert outcome.status == 2
    assert "TSUKURIOKI_PRICES" in outcome.error
    assert stand_in.tally.paths == []


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_budget_is_not_passed(concurrency: int, booth: Booth, stand_in: StandIn) -> None:
    """The run ends before the limit, says so, keeps everything, and a higher one goes on."""
    outcome = booth.build(provider="gemini", wanted=400, budget_usd=0.1, concurrency=concurrency)
    spent = sum(entry.cost_usd for entry in booth.entries())
    assert outcome.status == 2
    assert 0.05 < spent <= 0.1
    assert "--budget-usd" in outcome.error
    calls = stand_in.tally.calls
    assert booth.build(provider="gemini", wanted=400, budget_usd=9.0).status == 0
    assert stand_in.tally.calls == 40
    assert calls < 40


def test_the_bill_holds_what_was_refused_too(booth: Booth, stand_in: StandIn) -> None:
    """What was billed for refused answers is in the entries that came in their place."""

    stand_in.cook.spoil = lambda number, answers: answers[:5] if number == 1 else answers
    booth.build(provider="gemini", wanted=10, concurrency=1)
    price = load_prices().price("gemini", "gemini-3.5-flash-lite", DAY)
    assert price
    tally = stand_in.tally
    bill = price.cost(Usage(prompt=tally.prompt_tokens, output=tally.output_tokens))
    assert sum(entry.cost_usd for entry in booth.entries()) == pytest.approx(bill)
