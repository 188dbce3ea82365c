"""The pages of a deck of one's own: its language, its words, its colours, nothing of another's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from precompute.decks.new import Wanted, new_deck
from tests.web.booth.conftest import KIOSK, PHONE, Server

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
UPRIGHT_KIOSK: dict[str, Any] = {"viewport": {"width": 1080, "height": 1920}}
FOREIGN = re.compile(r"[぀-ヿ一-鿿「」]|Estates|propert|move in|live there|five")
COLUMNS = """() => [...document.querySelectorAll("#stage *")].filter((element) =>
  getComputedStyle(element).writingMode !== "horizontal-tb").map((element) => element.className)"""
WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def museum(new_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server of a new deck in English with a hand of three; the template tier answers."""
    decks = tmp_path_factory.mktemp("decks")
    new_deck(decks, Wanted("museum", "en", 3, "The Small Museum"))
    return new_server(TSUKURIOKI_DECKS=str(decks), TSUKURIOKI_DECK="museum")


def examine(page: Page, where: str) -> None:
    """A screen is set in lines, fits, and says nothing of another deck."""
    assert page.evaluate(COLUMNS) == [], where
    assert page.evaluate(WIDER) <= 0, where
    said = page.locator("body").inner_text()
    assert said.strip(), where
    assert not FOREIGN.search(said), (where, said)
    assert not re.search(r"\{[a-z:]+\}|undefined|<<", said), (where, said)


@pytest.mark.long
@pytest.mark.parametrize("size", [UPRIGHT_KIOSK, KIOSK, PHONE], ids=["upright", "wide", "phone"])
def test_every_screen_is_in_the_decks_language(
    visit: Visit, museum: Server, size: dict[str, Any]
) -> None:
    """A kiosk with a Japanese browser plays an English deck in English, in lines, to the end."""
    page = visit(museum, "/?kiosk=print", language="ja-JP", **size)
    examine(page, "start")
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("#language").is_hidden()
    assert "The Small Museum" in page.locator("h1").inner_text()
    page.click(".begin")
    page.wait_for_selector(".deal .ready")
    examine(page, "deal")
    page.click(".deal .primary")
    for number in range(1, 4):
        page.wait_for_selector(f"text=Card {number} of 3")
        examine(page, "pick")
        page.keyboard.press("1")
    page.wait_for_selector(".face.front .poem p")
    examine(page, "front")
    page.click(".turn")
    page.wait_for_selector('[data-side="back"]')
    examine(page, "back")
    assert page.locator(".said").nth(1).inner_text().startswith("“")


def test_the_host_pages_and_the_theme(visit: Visit, museum: Server) -> None:
    """Wall and dashboard too; the deck's colours are the pages'."""
    wall = visit(museum, "/wall", language="ja-JP")
    examine(wall, "wall")
    dashboard = visit(museum, "/dashboard", language="fr-FR")
    dashboard.wait_for_selector(".panel h2")
    said = dashboard.locator("#stage").inner_text()
    assert "Answers by tier over time" in said
    assert not FOREIGN.search(said)
    colour = "() => getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()"
    assert wall.evaluate(colour) == "#f4f1e8"
    assert "Mincho" not in wall.evaluate("() => getComputedStyle(document.body).fontFamily")
