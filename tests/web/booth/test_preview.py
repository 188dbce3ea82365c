"""A preview in a browser: the page is loaded again at a save, and shows what is wrong with the deck."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from precompute.decks.new import NewDeck, new_deck
from tests.making import previewing, write_json
from tests.web.booth.conftest import keep

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.long
def test_the_page_follows_the_files(visit: Callable[..., Page], tmp_path: Path) -> None:
    """A fault appears without a click, goes when it is mended, and a new name takes the old one's place."""
    new_deck(tmp_path / "decks", NewDeck("mine", "en", 3, "First name"))
    path = tmp_path / "decks" / "mine" / "deck.json"
    good = path.read_bytes()
    with previewing(tmp_path, "mine") as shown:
        page = visit(shown, "/", language="en-GB")
        assert "First name" in page.locator("h1").inner_text()
        panel = page.locator("details")
        path.write_bytes(good.replace(b'"hand"', b'"hnad"'))
        page.wait_for_selector("details li.error")
        assert "did you mean 'hand'?" in panel.inner_text()
        assert "the last version that worked is shown" in panel.inner_text()
        assert "First name" in page.locator("h1").inner_text()
        keep(page, "preview-fault")
        write_json(path, {**orjson.loads(good), "name": "Second name"})
        page.wait_for_selector("h1:has-text('Second name')")
        panel.wait_for(state="hidden")
        page.goto("about:blank")
