"""The page at `/chat`, by keyboard, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.booth.conftest import DECKS, KIOSK, PHONE, Server, keep
from tests.web.booth.test_access import violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]


def said(page: Page, text: str) -> tuple[str, str, str]:
    """Type and send with Enter; gives who answered, what, and what the label under it tells."""
    before = page.locator("#talk .assistant").count()
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    answer = page.locator("#talk .assistant").nth(before)
    label = answer.locator("small")
    label.wait_for()
    return answer.locator("b").inner_text(), answer.locator("p").inner_text(), label.inner_text()


@pytest.mark.long
@pytest.mark.parametrize("size", [PHONE, KIOSK], ids=["phone", "kiosk"])
def test_a_talk_by_keyboard(
    visit: Visit, server: Server, axe: str, size: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    """Each message is answered by the character that is chosen, and the tier stands under it."""
    page = visit(server, "/chat", ready="#message:focus", **size)
    who, text, label = said(page, "おはよう")
    assert (who, label.split(" ・ ")[:2]) == ("牡丹", ["rules", "morning"])
    assert text
    page.keyboard.press("Shift+Enter")
    assert page.locator("#message").input_value() == "\n"
    page.locator("#message").fill("")
    # From the message back to the name, and to the choice of who answers.
    while page.evaluate("document.activeElement.name") != "character":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    while page.evaluate("document.activeElement.id") != "message":
        page.keyboard.press("Tab")
    who, text, label = said(page, "ありがとう")
    assert (who, label.split(" ・ ")[:2]) == ("Kasho", ["rules", "thanks"])
    assert said(page, "円周率の百桁目は？")[2].split(" ・ ")[0] == "fallback"
    keep(page, f"chat-{request.node.callspec.id}")
    assert violations(page, axe) == []


@pytest.mark.long
def test_a_talk_can_be_stopped(visit: Visit, new_server: Callable[..., Server]) -> None:
    """Escape ends an answer that is still being written; the next message is answered."""
    server = new_server(TSUKURIOKI_DECKS=str(DECKS), TSUKURIOKI_CHAT_PACE="5")
    page = visit(server, "/chat", ready="#message:focus")
    page.keyboard.type("おはよう")
    page.keyboard.press("Enter")
    page.locator("#talk .assistant p:not(:empty)").wait_for()
    page.keyboard.press("Escape")
    page.locator("#stop:disabled").wait_for()
    assert page.locator("#talk .assistant small").count() == 0
    _, text, label = said(page, "ありがとう")
    assert text
    assert label.split(" ・ ")[:2] == ["rules", "thanks"]
