"""The font that ships with the page."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from app.kinds.cards.loading import load_deck
from app.kinds.cards.words import page_words
from tests.web.booth.conftest import ROOT

BOOTH = ROOT / "app" / "static" / "booth"
FONTS = BOOTH / "fonts"


def signs_in(font: str) -> set[str]:
    """The characters that a font can set."""
    tools = pytest.importorskip(
        "fontTools.ttLib", reason="fonttools is missing: pip install fonttools brotli"
    )
    pytest.importorskip("brotli", reason="brotli is missing: pip install brotli")
    with tools.TTFont(FONTS / font) as opened:
        return set(map(chr, opened.getBestCmap()))


def texts(value: object) -> str:
    """Every text within a JSON value."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(map(texts, value.values()))
    return "".join(map(texts, value)) if isinstance(value, list) else ""


def test_every_character_of_the_deck() -> None:
    """Every character that the poem deck can show is in the font."""
    deck = ROOT / "data" / "decks" / "poem"
    wanted = {
        sign
        for file in deck.glob("*.json")
        # Nobody sees the examples that a model is trained with.
        if file.name != "training.json"
        for sign in texts(orjson.loads(file.read_bytes()))
    }
    assert wanted - signs_in("mincho.woff2") - {"\n"} == set()


def test_every_character_of_the_interface() -> None:
    """So is every character that the interface says in Japanese."""
    deck = load_deck(ROOT / "data" / "decks" / "poem")
    said = texts(page_words(deck.language, deck.words))
    wanted = set(re.findall(r"[^\x00-\x7f]", said))
    assert wanted - signs_in("mincho.woff2") == set()


def test_vertical_forms() -> None:
    """The canvas has vertical forms for the signs that stand otherwise in a column."""
    assert set("、。「」ー…（）〜っゃゅょァッ") <= signs_in("tate.woff2")


def test_licence_is_beside_it() -> None:
    """The licence stands beside the fonts, and the fonts stay small."""
    assert "SIL Open Font License" in (FONTS / "OFL.txt").read_text(encoding="utf-8")
    assert sum(font.stat().st_size for font in Path(FONTS).glob("*.woff2")) < 900_000
