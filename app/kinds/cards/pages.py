"""What the scripts of a deck's pages are told: words by language, setting, colours."""

from __future__ import annotations

from typing import Any

from app.kinds.cards.deck import Deck
from app.kinds.cards.words import page_words

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
    theme = dict(deck.theme)
    lang = deck.lang
    return {
        "type": theme.pop("type", "mincho" if lang.vertical else "serif"),
        "language": lang.id,
        "vertical": lang.vertical,
        "spaced": lang.spaced,
        "quotes": lang.quotes,
        "colours": {COLOURS[name]: value for name, value in theme.items()},
        "words": page_words(deck.language, deck.words),
    }
