"""What became stale is told, priced, and cooked again on request."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from app.kinds.cards.deck import Deck
from app.kinds.cards.loading import load_deck
from app.kinds.cards.written import WRITTEN_FILE
from app.providers import NamedModel
from app.providers.prices import Price, load_prices
from precompute.cook import cache
from precompute.cook.build import build
from precompute.cook.choose import ProviderChoice
from precompute.cook.kinds import GONE, Cook, cooking_of
from precompute.cook.options import BuildOptions
from precompute.cook.refresh import REFUSED, SERVABLE, VALID, ages, survey
from precompute.plan.strategies import plan_stock
from tests.kit import POEM, Booth, poem_deck
from tests.standin import StandIn

TODAY = "2026-11-20"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(POEM, tmp_path / "decks" / "poem"))


def refresh(booth: Booth, deck: Deck, **asked: object) -> int:
    context = replace(booth.context(), deck=deck)
    return build(BuildOptions(refresh="stale", provider="gemini", **asked), context)  # type: ignore[arg-type]


def change_prompt(folder: Path) -> None:
    path = folder / "prompts" / "poem.txt"
    path.write_text(path.read_text().replace("二百十字前後", "二百字前後"))


def change_card(folder: Path) -> None:
    cards = orjson.loads((folder / "cards.json").read_bytes())
    for card in cards:
        card["condition_text"] += "、冬も"
    (folder / "cards.json").write_bytes(orjson.dumps(cards))


def change_rules(folder: Path) -> None:
    deck = orjson.loads((folder / "deck.json").read_bytes())
    deck["answer"]["characters"] = [10, 20]
    (folder / "deck.json").write_bytes(orjson.dumps(deck))


def drop_phrases(folder: Path) -> None:
    cards = orjson.loads((folder / "cards.json").read_bytes())
    for card in cards:
        for number, phrase in enumerate(card["poems"]):
            phrase["id"] = f"{card['id']}-new-{number}"
    (folder / "cards.json").write_bytes(orjson.dumps(cards))
    (folder / "pieces.json").unlink()
    (folder / WRITTEN_FILE).unlink()


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda folder: None, VALID),
        (change_prompt, SERVABLE),
        (change_card, SERVABLE),
        (change_rules, REFUSED),
        (drop_phrases, GONE),
    ],
)
def test_each_change_ages_entries_in_its_way(
    change: Callable[[Path], None], state: str, folder: Path, booth: Booth
) -> None:
    """Valid, stale but servable, to be cooked again, gone."""
    booth.build(provider="gemini", wanted=10)
    change(folder)
    found = survey(booth.settings(), load_deck(folder), TODAY)
    assert found.states == {state: 10}


def test_another_model_ages_entries(booth: Booth) -> None:
    """What another model wrote than the one that is set today is stale, and servable."""
    booth.build(provider="gemini", wanted=10)
    booth.environ["TSUKURIOKI_GEMINI_MODEL"] = "gemini-3.8-flash"
    found = list(ages(booth.settings(), poem_deck()))
    assert [aged.state for aged in found] == [SERVABLE] * 10
    assert "gemini-3.8-flash" in found[0].why


def test_what_is_stale_is_priced(folder: Path, booth: Booth) -> None:
    """The survey's sentence names counts, the command and the price."""
    booth.build(provider="gemini", wanted=10)
    change_prompt(folder)
    told = str(survey(booth.settings(), load_deck(folder), TODAY))
    assert "0 entries still valid, 10 stale but servable" in told
    assert "build --refresh stale --provider gemini costs about 0.00" in told


def test_a_refresh_cooks_the_stale_ones_and_no_others(
    folder: Path, booth: Booth, stand_in: StandIn
) -> None:
    """Afterwards all are valid, and a second refresh asks for nothing."""
    booth.build(provider="gemini", wanted=20)
    change_prompt(folder)
    deck = load_deck(folder)
    assert refresh(booth, deck) == 0
    calls = stand_in.tally.calls
    assert 4 <= calls <= 6
    assert survey(booth.settings(), deck, TODAY).states == {VALID: 20}
    assert refresh(booth, deck) == 0
    assert stand_in.tally.calls == calls


def test_a_refresh_leaves_what_it_could_not_better(booth: Booth, folder: Path) -> None:
    """The composer would not be served in Gemini's place: it is not asked, and that is told."""
    booth.build(provider="gemini", wanted=10)
    change_prompt(folder)
    context = replace(booth.context(), deck=load_deck(folder))
    assert build(BuildOptions(refresh="stale", provider="composer"), context) == 0
    assert len(booth.entries()) == 10
    assert "composer would not be served" in context.err.file.getvalue()  # type: ignore[attr-defined]


def test_a_refresh_without_a_store_says_so(booth: Booth) -> None:
    """One sentence."""
    outcome = booth.build(provider="composer", refresh="stale")
    assert outcome.status == 2
    assert "nothing is cooked" in outcome.error


PAYS = Price(0.30, 2.50, cached=0.03, storage_hour=1.0)


@pytest.mark.parametrize(
    ("tokens", "requests", "least", "price", "why"),
    [
        (5000, 1000, 4096, PAYS, ""),
        (1200, 1000, 4096, PAYS, "caches from 4,096"),
        (5000, 1000, None, PAYS, "from how many tokens"),
        (5000, 1000, 4096, Price(0.30, 2.50), "no price for what"),
        (5000, 2, 4096, PAYS, "it would save"),
    ],
)
def test_caching_is_used_where_it_is_allowed_and_pays(
    tokens: int, requests: int, least: int | None, price: Price, why: str
) -> None:
    """Otherwise a line says why not."""
    told = cache.why_not(tokens, requests, least, price, "m")
    assert why in told if why else not told


def test_a_long_prompt_is_cached_and_the_cache_removed(
    folder: Path, booth: Booth, stand_in: StandIn, tmp_path: Path
) -> None:
    """The fixed part goes up once, requests name it instead of repeating it, and it is deleted."""
    path = folder / "prompts" / "poem.txt"
    path.write_text(
        path.read_text().replace("■ 何を書くか", "手本の詩をよく読む。" * 600 + "\n■ 何を書くか")
    )
    own = tmp_path / "prices.json"
    row = {"input": 0.3, "output": 2.5, "cached": 0.03, "storage_hour": 1.0}
    models = {"gemini-3.5-flash-lite": {"caches_from": 4096, "prices": [row]}}
    own.write_bytes(orjson.dumps({"models": models}))
    booth.environ["TSUKURIOKI_PRICES"] = str(own)
    context = replace(booth.context(), deck=load_deck(folder))
    assert build(BuildOptions(wanted=200, provider="gemini"), context) == 0
    assert len(stand_in.caches) == 1
    assert "手本の詩" in stand_in.caches[0]
    bodies = stand_in.tally.bodies
    assert all(body["cachedContent"] == "cachedContents/c1" for body in bodies)
    assert not any("systemInstruction" in body for body in bodies)
    assert stand_in.tally.paths[-1] == "DELETE /v1/cachedContents/c1"


def test_the_prompt_in_the_box_is_too_short_to_cache(booth: Booth, stand_in: StandIn) -> None:
    """A build says so, and asks without."""
    outcome = booth.build(provider="gemini", wanted=10)
    assert "context caching is not used: the fixed part has about" in outcome.err
    assert stand_in.caches == []


def test_the_plan_is_the_same_for_every_provider() -> None:
    """So that a night with Gemini betters what an evening with the composer stocked."""
    first = [
        job.query.key for job, _ in zip(plan_stock(poem_deck(), 0, 1), range(30), strict=False)
    ]
    second = [
        job.query.key for job, _ in zip(plan_stock(poem_deck(), 0, 1), range(30), strict=False)
    ]
    assert first == second
    cook: Cook = cooking_of(poem_deck()).cook(
        ProviderChoice("gemini", "m"), NamedModel("gemini", "m")
    )
    assert cook.estimate
    assert load_prices().dated
