"""The kiosk: nobody is at the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.web.booth.conftest import KIOSK, Server
from tests.web.booth.player import begin, play, screen

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]


def idle_page(visit: Visit, server: Server, path: str = "/?kiosk") -> Page:
    """A page whose clock is the test's."""
    page = visit(server, path, **KIOSK)
    page.clock.install()
    page.reload()
    page.wait_for_selector("body[data-ready]")
    return page


def test_goes_back_when_idle(visit: Visit, server: Server) -> None:
    """After the settable time without a touch the kiosk is back at its start, in its language."""
    page = idle_page(visit, server)
    assert page.evaluate("document.body.dataset.idle") == "60"
    page.click("#language")
    begin(page, "mouse")
    page.clock.run_for(52_000)
    assert page.locator("#notice").is_visible()
    page.clock.run_for(9_000)
    screen(page, "start")
    assert page.locator("#notice").is_hidden()
    assert page.locator(".begin").text_content() == "内覧をはじめる"


def test_a_touch_keeps_it(visit: Visit, server: Server) -> None:
    """Whoever stirs when the kiosk warns is left in peace for the whole time again."""
    page = idle_page(visit, server)
    begin(page, "mouse")
    page.clock.run_for(55_000)
    page.mouse.move(300, 300)
    page.clock.run_for(40_000)
    screen(page, "pick")
    assert page.locator("#notice").is_hidden()


def test_only_the_kiosk_is_impatient(visit: Visit, server: Server) -> None:
    """Outside the kiosk a visitor may take all day."""
    page = idle_page(visit, server, "/")
    begin(page, "mouse")
    page.clock.run_for(600_000)
    screen(page, "pick")


def test_idle_time_is_a_setting(visit: Visit, new_server: Callable[..., Server]) -> None:
    """TSUKURIOKI_IDLE says after how many seconds the kiosk goes back."""
    page = idle_page(visit, new_server(TSUKURIOKI_IDLE="8"))
    begin(page, "mouse")
    page.clock.run_for(9_000)
    screen(page, "start")


def test_no_way_out(visit: Visit, server: Server) -> None:
    """In the kiosk nothing can be selected, zoomed, dragged or opened, and nothing leads elsewhere."""
    page = visit(server, "/?kiosk", **KIOSK)
    play(page)
    assert page.locator(".save, .print, a[href]").count() == 0
    assert page.evaluate("getComputedStyle(document.querySelector('.poem')).userSelect") == "none"
    assert page.evaluate("getComputedStyle(document.body).touchAction") == "pan-y"
    refused = """(name) => {
      const made = new Event(name, { bubbles: true, cancelable: true });
      return !document.querySelector('.poem').dispatchEvent(made);
    }"""
    for name in ("contextmenu", "dragstart", "selectstart", "gesturestart"):
        assert page.evaluate(refused, name), name
    zoom = "() => !document.body.dispatchEvent(new WheelEvent('wheel', { ctrlKey: true, bubbles: true, cancelable: true }))"
    assert page.evaluate(zoom)


def test_zoom_stays_outside_the_kiosk(visit: Visit, server: Server) -> None:
    """A visitor's own phone may select and zoom as it likes."""
    page = visit(server, **KIOSK)
    assert "user-scalable" not in (
        page.locator("meta[name=viewport]").get_attribute("content") or ""
    )
    assert page.evaluate("getComputedStyle(document.body).userSelect") != "none"


def test_printing_kiosk(visit: Visit, server: Server) -> None:
    """A kiosk whose browser prints without a dialogue may be told to offer paper."""
    page = visit(server, "/?kiosk=print", **KIOSK)
    play(page)
    assert page.locator(".print").count() == 1
    assert page.locator(".save").count() == 0
