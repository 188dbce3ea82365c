"""The server goes away in the middle of a game."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.web.booth.conftest import PHONE, Server, keep
from tests.web.booth.player import at_card, begin, read_flyer, screen

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]


def test_waits_and_goes_on(visit: Visit, new_server: Callable[..., Server], watch: Any) -> None:
    """A game whose server stops says so, waits, and gives its flyer when the server is back."""
    watch.expected.append("ERR_CONNECTION_REFUSED")
    server = new_server()
    page = visit(server, **PHONE)
    begin(page, "touch")
    server.stop()
    for at in range(5):
        at_card(page, at + 1)
        page.tap(".choice")
    page.wait_for_selector("#notice:not([hidden])")
    assert "担当者" in (page.locator("#notice").text_content() or "")
    keep(page, "phone-away")
    server.start()
    screen(page, "flyer")
    assert page.locator("#notice").is_hidden()
    assert len(read_flyer(page)["facts"]) == 5


def test_refusal_is_told(visit: Visit, server: Server, watch: Any) -> None:
    """What the server refuses is told in the server's own sentence, with a way back."""
    watch.expected.append("status of 409")
    page = visit(server, **PHONE)
    refusal = {
        "title": "Nothing stocked",
        "status": 409,
        "error": "作り置きの手札は、まだありません。",
    }
    page.route("**/deal", lambda route: route.fulfill(status=409, json=refusal))
    page.tap(".begin")
    screen(page, "sorry")
    assert page.locator(".sorry .lead").text_content() == refusal["error"]
    page.tap(".sorry .primary")
    screen(page, "start")
