"""The dashboard: what the host watches."""

from __future__ import annotations

import random
import urllib.error
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from precompute.decks.new import NewDeck, languages, new_deck
from tests.web.booth.conftest import KIOSK, Server, keep
from tests.web.booth.player import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
PLAYS = 200
TOKEN = "open-sesame"


def play_many(server: Server, plays: int) -> None:
    """Plays by HTTP, as many pages at once would make them."""
    rng = random.Random(7)
    for _ in range(plays):
        hand = [
            {"card": card["id"], "phrase": rng.choice(card["poems"])["id"]}
            for card in server.deal()
        ]
        server.call("/api/decks/poem/answer", {"hand": hand})


def shown(page: Page, panel: str) -> str:
    """The large figure of a panel."""
    return page.locator(f".panel.{panel} .value").text_content() or ""


@pytest.mark.long
def test_follows_200_plays(visit: Visit, new_server: Callable[..., Server]) -> None:
    """While 200 plays run the figures follow, and at the end they are what /stats says."""
    server = new_server()
    page = visit(server, "/dashboard", **KIOSK)
    page.wait_for_selector(".panels")
    play_many(server, PLAYS // 2)
    until(page, "Number(document.querySelector('.answers .value').textContent) > 0")
    play_many(server, PLAYS // 2)
    until(page, f"document.querySelector('.answers .value').textContent === '{PLAYS}'")
    answers = server.call("/stats")["decks"]["poem"]["answers"]
    assert answers["total"] == PLAYS
    assert shown(page, "hits") == f"{round(answers['hit_rate'] * 100)}%"
    for tier, figures in answers["by_tier"].items():
        legend = page.locator(f".legend li:has(.tier-{tier})").text_content() or ""
        assert legend.endswith(f" {figures['answers']}")
    columns = page.locator(".stacked rect").count()
    assert columns >= len(answers["by_tier"])
    keep(page, "dashboard")


def test_fits_one_screen(visit: Visit, server: Server) -> None:
    """At 1080p everything is on one screen, and nothing is set smaller than three metres allow."""
    page = visit(server, "/dashboard", **KIOSK)
    page.wait_for_selector(".panels")
    assert page.evaluate("document.documentElement.scrollHeight") <= 1080
    sizes = "[...document.querySelectorAll('.panel *')].map((one) => parseFloat(getComputedStyle(one).fontSize))"
    assert min(page.evaluate(sizes)) >= 18


def test_stats_is_its_only_source(visit: Visit, server: Server) -> None:
    """The dashboard asks /stats and nothing else, once it has its own scripts, styles and fonts."""
    page = visit(server, "/dashboard", **KIOSK)
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
    for _ in range(2):
        with page.expect_response("**/stats"):
            pass
    assert set(asked) == {"/stats"}


def test_tells_what_later_servers_tell(visit: Visit, server: Server) -> None:
    """Hands dealt, rehearsal, votes, money, refusals and loaded models are shown where /stats has them."""
    page = visit(server, "/dashboard", **KIOSK)
    stats = server.call("/stats")
    deck = stats["decks"]["poem"]
    deck["deals"] = {"dealt": 30, "stocked": 40}
    deck["expected"] = {"same_hand": 0.75, "composed": 0.25}
    deck["feedback"] = {"up": 3, "down": 1}
    deck["money"] = {"spent_usd": 0.5, "saved_usd": 12}
    deck["chat"] = {"refusals": {"length": 2, "echo": 3}}
    model = {"name": "qwen2.5:0.5b", "bytes": 500 * 2**20}
    stats["local_models"] = {"models": [model], "bytes": 500 * 2**20, "fault": ""}
    page.route("**/stats", lambda route: route.fulfill(json=stats))
    page.wait_for_selector(".panel.votes:not([hidden])")
    until(page, "document.querySelector('.dealt .value').textContent === '30'")
    assert shown(page, "votes") == "75%"
    assert shown(page, "money") == "$0.5000"
    assert "12.00" in (page.locator(".panel.money").text_content() or "")
    assert shown(page, "refusals") == "5"
    assert shown(page, "models") == "500"
    assert "qwen2.5:0.5b" in (page.locator(".panel.models").text_content() or "")
    assert page.evaluate("document.documentElement.scrollHeight") <= 1080
    assert page.locator("rect.expected").count() >= 2
    page.unroute("**/stats")
    page.wait_for_selector(".panel.refusals[hidden]", state="attached")


@pytest.fixture(scope="module")
def decks(new_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of a new deck in each language that has words, with the language as its id."""
    folder = tmp_path_factory.mktemp("decks")
    for language in languages():
        new_deck(folder, NewDeck(language, language, 3))
    shown = ",".join(languages())
    return new_server(TSUKURIOKI_DECKS=str(folder), TSUKURIOKI_DECKS_SHOWN=shown)


# 1,234.5 s; 12.5 USD; 1,234,567 answers; 1,500 MiB, each as the language writes it.
WRITTEN = {
    "en": ("1,234.5 s", "$12.50", "1,234,567", "1.5 GiB"),
    "ja": ("1,234.5 s", "$12.50", "1,234,567", "1.5 GiB"),
    "fr": ("1 234,5 s", "12,50 $", "1 234 567", "1,5 Gio"),
}


@pytest.mark.parametrize("language", languages())
def test_numbers_and_tiers_are_in_the_language(visit: Visit, decks: Server, language: str) -> None:
    """Numbers are written as the page's language writes them, and tiers are words, not ids."""
    page = visit(decks, f"/dashboard?deck={language}", language=language, **KIOSK)
    assert page.locator("html").get_attribute("lang") == language
    stats = decks.call("/stats")
    deck = stats["decks"][language]
    row = {"answers": 1_234_567, "share": 1, "p50_us": 1_234_500_000, "p99_us": 1_234_500_000}
    deck["answers"] = {"total": 1_234_567, "by_tier": {"same_hand": row}}
    deck["expected"] = {"tiers": {"same_hand": 0.0625}, "plays": 4321, "deal": "stocked"}
    deck["money"] = {"spent_usd": 12.5, "saved_usd": None}
    stats["local_models"] = {"models": [], "bytes": 1500 * 2**20, "fault": ""}
    page.route("**/stats", lambda route: route.fulfill(json=stats))
    page.wait_for_selector(".panel.models:not([hidden])")
    shown = " ".join(page.locator("#stage").inner_text().split())
    for part in WRITTEN[language]:
        assert part in shown
    assert "same_hand" not in shown
    assert "stocked" not in shown
    keep(page, f"dashboard-{language}")


def test_says_what_to_cook(
    visit: Visit, server: Server, new_server: Callable[..., Server], tmp_path: Any
) -> None:
    """An empty store asks for a stock, with the command to copy; nothing is wrong with it."""
    bare = new_server(TSUKURIOKI_STORE=str(tmp_path / "none"))
    page = visit(bare, "/dashboard", **KIOSK)
    command = page.locator(".command code")
    assert command.text_content() == "precompute build --strategy stock --n 1000"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click(".copy")
    until(page, "document.querySelector('#said').textContent !== ''")
    assert page.evaluate("navigator.clipboard.readText()") == command.text_content()
    assert page.locator(".trouble").is_hidden()


def test_token(visit: Visit, new_server: Callable[..., Server], watch: Any) -> None:
    """Where a token is set the figures are the host's alone: the page asks for it once."""
    watch.expected.append("status of 401")
    server = new_server(TSUKURIOKI_TOKEN=TOKEN)
    for path in ("/stats", "/metrics"):
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            server.call(path)
        assert refused.value.headers["WWW-Authenticate"].startswith("Bearer")
        refused.value.close()
    page = visit(server, "/dashboard", **KIOSK)
    page.fill(".token input", "wrong")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.wrong').textContent !== ''")
    page.fill(".token input", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector(".panels")
    page.reload()
    page.wait_for_selector(".panels")
