"""What the scripts of a deck's pages are told: words by language, setting, theme."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.kinds.cards.deck import PICTURES, Deck
from app.kinds.cards.words import Words, page_words

# The CSS properties of a theme's colours.
COLOURS = {
    "background": "--night",
    "deep": "--deep",
    "paper": "--paper",
    "ink": "--ink",
    "soft": "--soft",
    "accent": "--gold",
    "accent_ink": "--gold-ink",
    "light": "--gold-light",
    "seal": "--seal",
}


def page_of(deck: Deck) -> dict[str, Any]:
    """What every page of a deck is told, as JSON."""
    lang = deck.lang
    return {
        **_theme(deck),
        "language": lang.id,
        "vertical": lang.vertical,
        "spaced": lang.spaced,
        "quotes": lang.quotes,
        "hand": deck.hand_size,
        "choose": deck.choose,
        "words": page_words(deck.language, deck.words),
    }


def choice_of(deck: Deck) -> dict[str, Any]:
    """What the page is told of a deck on which visitors choose one of several, as JSON."""
    words = page_words(deck.language, deck.words)
    return {
        **_theme(deck),
        "id": deck.id,
        "name": deck.name,
        "language": deck.language,
        "lines": words[deck.language]["headline"],
        "languages": [(language, of_page["language"]) for language, of_page in words.items()],
    }


def common_words(decks: Iterable[Deck]) -> dict[str, Words]:
    """The words in all languages of some decks' pages, without what is a deck's own."""
    found: dict[str, Words] = {}
    for deck in decks:
        found |= page_words(deck.language, {name: {} for name in deck.words}) | found
    return found


def _theme(deck: Deck) -> dict[str, Any]:
    theme = deck.theme
    return {
        "type": theme.get("type", "mincho" if deck.lang.vertical else "serif"),
        "picture": theme.get("picture", PICTURES[0]),
        "colours": {COLOURS[name]: theme[name] for name in COLOURS if name in theme},
    }
