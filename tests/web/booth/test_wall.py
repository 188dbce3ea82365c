"""The wall: what visitors have made, on a second screen."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.booth.conftest import KIOSK, PHONE, Server, hand_of, keep
from tests.web.booth.player import play, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

Visit = Callable[..., "Page"]
TOKEN = "open-sesame"
# What hangs in front; the one before fades out behind it.
HUNG = ".hung:not([inert])"


def hang(server: Server, pick: int = 0) -> dict[str, Any]:
    """Hang one play; what the list says of it."""
    server.call("/api/wall", {"hand": hand_of(server.deal(), pick), "variant": 0})
    newest: dict[str, Any] = listed(server)[0]
    return newest


def listed(server: Server, token: str = "") -> list[dict[str, Any]]:
    """The flyers that hang."""
    found: list[dict[str, Any]] = server.call("/api/wall", token=token)["flyers"]
    return found


@pytest.fixture(scope="module")
def own(new_server: Callable[..., Server]) -> Server:
    """A server whose wall only these tests use."""
    return new_server()


@pytest.fixture(autouse=True)
def empty(own: Server) -> None:
    """Every test begins with an empty wall."""
    own.call("/api/wall", method="DELETE")


@pytest.mark.long
def test_finished_flyer_is_hung(visit: Visit, own: Server) -> None:
    """A finished game appears on a wall that is already open, with its own title and picture."""
    wall = visit(own, "/wall", **KIOSK)
    wall.wait_for_selector(".empty")
    keep(wall, "wall-empty")
    phone = visit(own, **PHONE)
    with phone.expect_response("**/api/wall?deck=*"):
        flyer = play(phone, "touch")
    wall.wait_for_selector(f"{HUNG} .title")
    assert wall.locator(f"{HUNG} .title").text_content() == flyer["title"]
    assert wall.locator(f"{HUNG} .picture").get_attribute("data-play") == flyer["play"]
    keep(wall, "wall")


@pytest.mark.long
def test_changes_slowly(visit: Visit, own: Server) -> None:
    """Flyers take turns, and a new one comes to the front at once."""
    first, second = hang(own), hang(own, 1)
    wall = visit(own, "/wall?every=2", **KIOSK)
    wall.wait_for_selector(f'{HUNG} [data-flyer="{second["id"]}"]')
    wall.wait_for_selector(f'{HUNG} [data-flyer="{first["id"]}"]')
    third = hang(own, 2)
    wall.wait_for_selector(f'{HUNG} [data-flyer="{third["id"]}"]')


def test_host_removes_one_and_clears(visit: Visit, own: Server) -> None:
    """The host takes one down and then all, each with a second press to be sure."""
    kept = hang(own)
    bad = hang(own, 1)
    wall = visit(own, "/wall", **KIOSK)
    wall.wait_for_selector(f'[data-flyer="{bad["id"]}"]')
    wall.mouse.move(500, 500)
    wall.click(".take-down")
    assert [flyer["id"] for flyer in listed(own)] == [bad["id"], kept["id"]]
    wall.click(".take-down")
    wall.wait_for_selector(f'{HUNG} [data-flyer="{kept["id"]}"]')
    assert [flyer["id"] for flyer in listed(own)] == [kept["id"]]
    wall.click(".clear-wall")
    wall.click(".clear-wall")
    wall.wait_for_selector(f"{HUNG} .empty")
    assert listed(own) == []


def test_token_opens_the_wall(visit: Visit, new_server: Callable[..., Server], watch: Any) -> None:
    """Where a token is set visitors may hang flyers, and only the host sees and tends the list."""
    watch.expected.append("status of 401")
    guarded = new_server(TSUKURIOKI_TOKEN=TOKEN)
    guarded.call("/api/wall", {"hand": hand_of(guarded.deal())})
    for path, method in (("/api/wall", "GET"), ("/api/wall", "DELETE"), ("/api/wall/0", "DELETE")):
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            guarded.call(path, method=method)
        refused.value.close()
    assert len(listed(guarded, TOKEN)) == 1
    wall = visit(guarded, "/wall", **KIOSK)
    wall.wait_for_selector(".token")
    wall.fill(".token input", "wrong")
    wall.keyboard.press("Enter")
    until(wall, "document.querySelector('.wrong').textContent !== ''")
    wall.fill(".token input", TOKEN)
    wall.keyboard.press("Enter")
    wall.wait_for_selector(".hung .title")
