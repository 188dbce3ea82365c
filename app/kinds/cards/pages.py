"""The data for the scripts of a deck's pages: words by language, setting, theme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from app.kinds.cards.deck import PICTURES, Deck
from app.kinds.cards.words import Words, page_words
from app.kinds.language import LANGUAGES

EMPTY: Mapping[str, str] = MappingProxyType({})
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
    """The data for every page of a deck, as JSON."""
    return {
        **bare_page(deck.language, deck.theme),
        "hand": deck.hand_size,
        "choose": deck.choose,
        "words": page_words(deck.language, deck.words),
    }


def bare_page(language: str, theme: Mapping[str, str] = EMPTY) -> dict[str, Any]:
    """The data for a page about a language and a theme."""
    lang = LANGUAGES[language]
    return {
        "type": theme.get("type", "mincho" if lang.vertical else "serif"),
        "picture": theme.get("picture", PICTURES[0]),
        "colours": {COLOURS[name]: theme[name] for name in COLOURS if name in theme},
        "language": lang.id,
        "vertical": lang.vertical,
        "spaced": lang.spaced,
        "quotes": lang.quotes,
    }


def choice_of(deck: Deck) -> dict[str, Any]:
    """The data about a deck for the page on which visitors choose one of several, as JSON."""
    words = page_words(deck.language, deck.words)
    return {
        **bare_page(deck.language, deck.theme),
        "id": deck.id,
        "name": deck.name,
        "path": "/",
        "lines": words[deck.language]["headline"],
        "languages": [(language, of_page["language"]) for language, of_page in words.items()],
    }


def common_words(languages: Iterable[str]) -> dict[str, Words]:
    """The words of the pages in some languages, without what is a deck's own."""
    return {name: page_words(name, {})[name] for name in languages}
