"""A visitor: the same game by touch, by mouse, or with the keyboard alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Page

Hands = Literal["touch", "mouse", "keys"]


def screen(page: Page, name: str) -> None:
    """Wait until a screen is shown."""
    page.wait_for_selector(f'#stage[data-screen="{name}"]')


def until(page: Page, expression: str, seconds: float = 30) -> None:
    """Wait until something holds. (Playwright's own waiting evaluates a text within the page, which
    the page's policy forbids.)"""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"this never came true: {expression}"
        page.wait_for_timeout(25)


def at_card(page: Page, number: int) -> None:
    """Wait until the phrases of a card are shown, the first being 1."""
    until(page, f"document.querySelectorAll('.pips .done').length === {number}")


def press(page: Page, selector: str, hands: Hands) -> None:
    """Press a button; with keys, by going to it and not by a short cut."""
    page.wait_for_selector(selector)
    if hands == "touch":
        page.tap(selector)
    elif hands == "mouse":
        page.click(selector)
    else:
        tab_to(page, selector)
        page.keyboard.press("Enter")


def tab_to(page: Page, selector: str) -> None:
    """Go to an element with the tabulator, and see that its focus can be seen."""
    for _ in range(25):
        if page.evaluate("wanted => document.activeElement?.matches(wanted)", selector):
            style = "getComputedStyle(document.activeElement)"
            assert page.evaluate(f"{style}.outlineStyle") == "solid"
            assert page.evaluate(f"parseFloat({style}.outlineWidth)") >= 2
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the tabulator never came to {selector}")


def begin(page: Page, hands: Hands) -> None:
    """From the start to the first card's phrases."""
    press(page, ".begin", hands)
    screen(page, "deal")
    page.wait_for_selector(".deal .primary.ready")
    press(page, ".deal .primary.ready", hands)
    screen(page, "pick")


def play(page: Page, hands: Hands = "mouse", pick: int = 0) -> dict[str, Any]:
    """A whole game; what stands on the flyer."""
    begin(page, hands)
    for at in range(5):
        at_card(page, at + 1)
        press(page, f".choice:nth-child({pick + 1})", hands)
    screen(page, "flyer")
    return read_flyer(page)


def read_flyer(page: Page) -> dict[str, Any]:
    """The texts of the flyer that is shown."""
    page.wait_for_selector(".front .picture[data-drawn]")
    return {
        "title": page.locator(".front .title").text_content(),
        "poem": page.locator(".front .poem").text_content(),
        "facts": page.locator(".back .fact").all_text_contents(),
        "play": page.locator(".front .picture").get_attribute("data-play"),
    }


def deal_always(page: Page, cards: list[dict[str, Any]]) -> None:
    """Let this page be dealt just these cards."""
    body = {"deck": "poem", "mode": "stocked", "cards": cards}
    page.route("**/api/decks/poem/deal", lambda route: route.fulfill(json=body))
