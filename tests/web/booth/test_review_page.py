"""The reviewer's page in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.making import Precompute, wait_for
from tests.precompute.export.kit import poems
from tests.precompute.review.desk_kit import now, reviewing, store
from tests.web.booth.conftest import KIOSK, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page


def test_a_review_goes_by_keys_alone(
    precompute: Precompute, visit: Callable[..., Page], watch: Watch
) -> None:
    """Approve, reject, take back, edit, force with a note, delete and search without a mouse."""
    entries = poems(5)
    store(precompute, *entries)
    watch.expected.append("422")
    with reviewing(precompute) as review:
        page = visit(review, f"/#{review.token}", **KIOSK)
        keys = page.keyboard

        def until(place: int, status: str) -> None:
            page.wait_for_selector(f".answer:nth-child({place})[data-status={status}]")

        assert page.locator("html").get_attribute("lang") == "ja"
        keys.press("a")
        until(1, "approved")
        keys.press("r")
        until(2, "rejected")
        keys.press("k")
        keys.press("u")
        until(2, "open")
        keys.press("j")
        keys.press("e")
        page.wait_for_selector(".edit textarea:focus")
        keys.press("Tab")
        keys.press("Control+a")
        keys.insert_text("短い。")
        keys.press("Control+Enter")
        page.wait_for_selector(".edit input:visible")
        assert "length" in (page.locator(".edit .check").text_content() or "")
        # Who goes on writing writes into the text; against the gate saves its button alone.
        assert page.locator(".edit textarea:focus").count() == 1
        keys.press("Tab")
        keys.insert_text("a joke")
        with page.expect_response(lambda told: told.status == 422):
            keys.press("Control+Enter")
        assert page.locator(".edit").count() == 1
        page.locator(".edit button:visible").nth(1).press("Enter")
        until(3, "edited")
        page.once("dialog", lambda dialog: dialog.accept())
        keys.press("D")
        until(4, "deleted")
        assert "承認 1" in (page.locator("#counts").text_content() or "")
        keys.press("/")
        keys.insert_text(entries[4].response["poem"][:12])
        wait_for(lambda: page.locator(".answer").count() == 1, "what was searched for")
        keys.press("Enter")
        keys.press("a")
        until(1, "approved")
    found = [now(precompute)[entry.key] for entry in entries]
    assert [one.verdict for one in found] == [
        "approved",
        "reopened",
        "edited",
        "deleted",
        "approved",
    ]
    assert found[2].decision
    assert found[2].decision.note == "a joke"
