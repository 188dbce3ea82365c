"""WCAG 2.2 AA, as far as a machine can tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.booth.conftest import KIOSK, PHONE, Server, hand_of
from tests.web.booth.player import at_card, begin, screen, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds, each with the elements that it names."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)
    # A picture or a fade that still runs has colours of its own.
    until(page, "document.getAnimations().every((one) => one.playState !== 'running')")
    found = page.evaluate(
        "rules => axe.run(document, { runOnly: rules, resultTypes: ['violations'] })", RULES
    )["violations"]
    return [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]


@pytest.mark.long
@pytest.mark.parametrize(
    ("size", "language"), [(PHONE, "ja-JP"), (KIOSK, "en-GB")], ids=["phone", "kiosk"]
)
def test_game(visit: Visit, server: Server, axe: str, size: dict[str, Any], language: str) -> None:
    """No screen of the game has a violation, in either language, small or large."""
    page = visit(server, language=language, **size)
    found = {"start": violations(page, axe)}
    page.click(".begin")
    page.wait_for_selector(".deal .ready")
    found["deal"] = violations(page, axe)
    page.click(".deal .ready")
    screen(page, "pick")
    found["pick"] = violations(page, axe)
    for at in range(5):
        at_card(page, at + 1)
        page.keyboard.press("1")
    screen(page, "flyer")
    page.wait_for_selector(".front .picture[data-drawn]")
    found["flyer"] = violations(page, axe)
    page.click(".turn")
    found["back"] = violations(page, axe)
    assert {name: list_ for name, list_ in found.items() if list_} == {}


def test_beat_and_refusal(visit: Visit, server: Server, axe: str, watch: Any) -> None:
    """Nor has the beat, or a refusal."""
    watch.expected.append("status of 409")
    page = visit(server, **PHONE)
    begin(page, "touch")
    page.route("**/answer", lambda route: None)
    for at in range(5):
        at_card(page, at + 1)
        page.keyboard.press("1")
    screen(page, "wait")
    assert violations(page, axe) == []
    page.unroute_all(behavior="ignoreErrors")
    page.route(
        "**/deal", lambda route: route.fulfill(status=409, json={"error": "まだありません。"})
    )
    page.reload()
    page.click(".begin")
    screen(page, "sorry")
    assert violations(page, axe) == []


@pytest.mark.long
def test_host_pages(visit: Visit, server: Server, axe: str) -> None:
    """Nor have the wall, empty or hung, and the dashboard."""
    server.call("/api/wall", method="DELETE")
    wall = visit(server, "/wall", **KIOSK)
    wall.wait_for_selector(".empty")
    wall.mouse.move(200, 200)
    assert violations(wall, axe) == []
    server.call("/api/wall", {"hand": hand_of(server.deal())})
    wall.wait_for_selector(".hung .title")
    until(wall, "document.querySelectorAll('.hung').length === 1")
    assert violations(wall, axe) == []
    dashboard = visit(server, "/dashboard", **KIOSK)
    dashboard.wait_for_selector(".panels")
    assert violations(dashboard, axe) == []


@pytest.mark.parametrize("size", [PHONE, KIOSK], ids=["phone", "kiosk"])
def test_targets_are_large(visit: Visit, server: Server, size: dict[str, Any]) -> None:
    """Whatever can be pressed is at least 44 pixels high and wide."""
    page = visit(server, **size)
    small = """() => [...document.querySelectorAll('button')].filter((one) => {
      const { width, height } = one.getBoundingClientRect();
      return width < 44 || height < 44;
    }).map((one) => one.textContent)"""
    assert page.evaluate(small) == []
    begin(page, "mouse")
    assert page.evaluate(small) == []
    for at in range(5):
        at_card(page, at + 1)
        page.keyboard.press("1")
    screen(page, "flyer")
    assert page.evaluate(small) == []
