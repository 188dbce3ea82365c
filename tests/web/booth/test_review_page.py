"""The reviewer's page in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from precompute.decks.new import languages
from tests.making import Precompute, wait_for
from tests.precompute.export.kit import poems
from tests.precompute.review.desk_kit import now, reviewing, store
from tests.web.booth.conftest import KIOSK, Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from app.kinds.cards.deck import Deck


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
        page.wait_for_selector(".edit input[name=title]:focus")
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


def test_the_page_is_in_the_readers_language(
    precompute: Precompute, visit: Callable[..., Page]
) -> None:
    """Every language of the pages has all words; `?lang=` chooses one, the deck's is what it is without."""
    store(precompute, *poems(1))
    with reviewing(precompute) as review:
        told = {
            lang: review.ask(f"/api/deck?lang={lang}").json() for lang in (*languages(), "xx", "")
        }
        assert {lang: one["shown"] for lang, one in told.items()} == {
            **{lang: lang for lang in languages()},
            "xx": "ja",
            "": "ja",
        }
        for lang in languages():
            assert told[lang]["words"].keys() == told["en"]["words"].keys()
            for group in ("keys", "labels"):
                assert told[lang]["words"][group].keys() == told["en"]["words"][group].keys()
        page = visit(review, f"/?lang=fr#{review.token}", **KIOSK)
        assert page.locator("html").get_attribute("lang") == "fr"
        assert page.locator("main").get_attribute("lang") == "ja"
        assert "Relecture" in page.locator("#name").inner_text()
        assert "à décider 1" in page.locator("#counts").inner_text()


def test_a_title_is_chosen_from_the_decks(
    precompute: Precompute, poem: Deck, visit: Callable[..., Page]
) -> None:
    """The editor offers the deck's titles, and only those that have what is typed; one is saved."""
    (entry,) = poems(1)
    store(precompute, entry)
    with reviewing(precompute) as review:
        page = visit(review, f"/#{review.token}", **KIOSK)
        page.keyboard.press("e")
        field = page.locator(".edit input[name=title]:focus")
        field.wait_for()
        offered = field.evaluate("field => [...field.list.options].map((one) => one.value)")
        assert offered == list(poem.titles)
        # What is typed takes the place of the old title.
        other = next(title for title in poem.titles if title != entry.response["title"])
        page.keyboard.insert_text(other)
        page.keyboard.press("Enter")
        page.wait_for_selector(".answer[data-status=edited]")
    assert now(precompute)[entry.key].response == {**entry.response, "title": other}
