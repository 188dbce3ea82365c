"""A whole game, as visitors play it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.booth.conftest import KIOSK, PHONE, TABLET, Server, keep
from tests.web.booth.player import Hands, at_card, begin, deal_always, play, press, screen

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
FIRST_SCREEN = 150 * 1024


@pytest.mark.long
@pytest.mark.parametrize(
    ("size", "path", "hands"),
    [
        (PHONE, "/", "touch"),
        (TABLET, "/", "keys"),
        (KIOSK, "/?kiosk", "mouse"),
    ],
    ids=["phone-touch", "tablet-keys", "kiosk-mouse"],
)
def test_whole_game(
    visit: Visit,
    server: Server,
    size: dict[str, Any],
    path: str,
    hands: Hands,
    request: pytest.FixtureRequest,
) -> None:
    """From the start to a flyer with title, poem and five flaws, and on to the next, by one means."""
    page = visit(server, path, **size)
    name = request.node.callspec.id
    keep(page, f"{name}-start")
    flyer = play(page, hands, pick=1)
    keep(page, f"{name}-flyer")
    assert flyer["title"]
    assert 150 <= len(flyer["poem"]) <= 260
    assert len(set(flyer["facts"])) == 5
    press(page, ".turn", hands)
    page.wait_for_selector('.flyer[data-side="back"]')
    page.locator(".back").wait_for(state="visible")
    keep(page, f"{name}-back")
    press(page, ".again", hands)
    screen(page, "flyer")
    press(page, ".next", hands)
    screen(page, "start")


def test_cards_turn_one_after_another(visit: Visit, server: Server) -> None:
    """The cards are turned over one after another, and all at once by one touch."""
    page = visit(server, reduced_motion="no-preference", **KIOSK)
    page.click(".begin")
    page.wait_for_selector(".strip.turned")
    assert page.locator(".strip.turned").count() < 5
    page.click(".deal .primary")
    assert page.locator(".strip.turned").count() == 5


def test_beat_can_be_tapped_away(visit: Visit, server: Server) -> None:
    """Between the last phrase and the flyer there is a beat, which one tap ends."""
    page = visit(server, **PHONE)
    begin(page, "touch")
    for at in range(5):
        at_card(page, at + 1)
        if at == 4:
            # From here on time stands still: without the tap the beat would never end.
            page.clock.install()
        page.tap(".choice")
    page.clock.run_for(50)
    screen(page, "wait")
    page.tap(".skip")
    screen(page, "flyer")


def test_figures_choose(visit: Visit, server: Server) -> None:
    """The keys 1 to 3 choose a phrase, and the arrows go from one to the next."""
    page = visit(server, **KIOSK)
    begin(page, "mouse")
    page.keyboard.press("ArrowDown")
    assert page.locator(".choice:nth-child(2)").evaluate("one => one === document.activeElement")
    page.keyboard.press("3")
    at_card(page, 2)
    page.click(".quiet")
    at_card(page, 1)


def test_enter_begins(visit: Visit, server: Server) -> None:
    """At the start the Enter key alone begins a game, wherever the focus is not."""
    page = visit(server, "/?kiosk", **KIOSK)
    page.keyboard.press("Enter")
    screen(page, "deal")


def test_another_wording_keeps_the_picture(visit: Visit, server: Server) -> None:
    """Another wording asks for the next variant of the same play, over the same picture."""
    page = visit(server, **KIOSK)
    first = play(page)
    with page.expect_request("**/api/decks/poem/answer") as asked:
        page.click(".again")
    assert (asked.value.post_data_json or {})["variant"] == 1
    screen(page, "flyer")
    assert page.locator(".front .picture").get_attribute("data-play") == first["play"]


def test_language_switch(visit: Visit, server: Server) -> None:
    """The interface changes its language at any moment of a game, which goes on where it was."""
    page = visit(server, **PHONE)
    assert page.locator(".begin").text_content() == "内覧をはじめる"
    page.tap("#language")
    assert page.locator(".begin").text_content() == "Begin the viewing"
    assert page.evaluate("document.documentElement.lang") == "en"
    begin(page, "touch")
    page.tap(".choice")
    at_card(page, 2)
    flaw = page.locator("#flaw").text_content()
    page.tap("#language")
    assert "これを" in (page.locator("#question").text_content() or "")
    assert page.locator("#flaw").text_content() == flaw
    assert page.locator("#flaw").get_attribute("lang") == "ja"


def test_visitors_language(visit: Visit, server: Server) -> None:
    """A visitor's phone is met in its own language; the kiosk begins in Japanese."""
    assert (
        visit(server, language="en-GB", **PHONE).locator(".begin").text_content()
        == "Begin the viewing"
    )
    kiosk = visit(server, "/?kiosk", language="en-GB", **KIOSK)
    assert kiosk.locator(".begin").text_content() == "内覧をはじめる"


@pytest.mark.long
def test_votes(visit: Visit, server: Server) -> None:
    """A flyer is voted on once; whoever plays the same cards next at this kiosk votes as well."""
    page = visit(server, "/?kiosk", **KIOSK)
    deal_always(page, server.deal())
    before = server.call("/stats")["decks"]["poem"]["feedback"]["of"]
    for count in (1, 2):
        play(page)
        with page.expect_response("**/api/answers/*/feedback") as voted:
            page.click('[data-vote="up"]')
        assert voted.value.status == 204
        assert page.locator('[data-vote="up"]').get_attribute("aria-pressed") == "true"
        assert page.locator('[data-vote="down"]').is_disabled()
        assert server.call("/stats")["decks"]["poem"]["feedback"]["of"] == before + count
        page.click(".next")


def test_first_screen_is_light(visit: Visit, server: Server) -> None:
    """Everything that the first screen loads, fonts left out, is under 150 KB uncompressed."""
    page = visit(server, **PHONE)
    page.wait_for_load_state("networkidle")
    sizes: dict[str, int] = page.evaluate(
        """() => Object.fromEntries(
          ['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
            .filter(({ name }) => !name.endsWith('.woff2'))
            .map(({ name, decodedBodySize }) => [name, decodedBodySize]))"""
    )
    assert len(sizes) > 10
    assert min(sizes.values()) > 0
    assert sum(sizes.values()) < FIRST_SCREEN


def test_policy_is_enforced(visit: Visit, server: Server, watch: Any) -> None:
    """A script or a style that is not a file of ours does nothing, on all three pages."""
    watch.expected.append("Content Security Policy")
    for path in ("/", "/wall", "/dashboard"):
        page = visit(server, path, **KIOSK)
        page.evaluate(
            """() => {
              const script = document.createElement('script');
              script.textContent = 'document.body.dataset.broken = 1';
              const style = document.createElement('style');
              style.textContent = 'body { opacity: 0.5 }';
              document.body.append(script, style);
            }"""
        )
        assert page.evaluate("document.body.dataset.broken") is None
        assert page.evaluate("getComputedStyle(document.body).opacity") == "1"
