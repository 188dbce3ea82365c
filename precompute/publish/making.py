"""What a browser composes and frames with: a deck's pieces, measured, and as few words as possible.

The modules `composer.js` and `template.js` of the edition read these values.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import frame_length
from app.kinds.cards.proof import always_framed, always_passes
from app.kinds.cards.template import FrameTemplate


def pieces_of(deck: Deck) -> dict[str, Any] | None:
    """For `composer.js`; None unless everything that can be composed passes the gate.

    The gate is not in the browser, so nothing may need it there.
    """
    if not deck.composable or not always_passes(deck):
        return None
    least, most = deck.rules.length
    size = deck.measure
    pieces = deck.pieces
    return {
        "least": least,
        "most": most,
        "ideas": [
            {
                "id": idea.id,
                # The shortest first, as the server's composer has them.
                "frames": sorted(
                    (
                        {**frame._asdict(), "length": frame_length(frame, size)}
                        for frame in idea.frames
                    ),
                    key=itemgetter("length"),
                ),
            }
            for idea in pieces.ideas
        ],
        "phrases": {
            phrase: {
                idea: [(text, size(text), pieces.ranks.get(text)) for text in sentences]
                for idea, sentences in by_idea.items()
            }
            for phrase, by_idea in pieces.phrases.items()
        },
    }


def frames_of(deck: Deck) -> dict[str, Any] | None:
    """For `template.js`; None unless everything that can be framed passes the gate."""
    if not deck.template:
        return None
    template = FrameTemplate(deck)
    texts = (*template.openings, *template.links, *template.closings)
    if not always_framed(deck, texts):
        return None

    def measured(text: str) -> tuple[str, int, list[str]]:
        bits = template.given_away[text]
        hidden = [card.id for place, card in enumerate(deck.cards) if bits >> place & 1]
        return text, template.cost(text), hidden

    def line(text: str) -> tuple[str, int]:
        ended = deck.lang.ended(text)
        return ended, template.cost(ended)

    least, most = deck.rules.length
    return {
        "least": least,
        "most": most,
        "gap": template.cost(""),
        "space": deck.lang.space,
        "paragraphs": deck.rules.paragraphs,
        "titles": [measured(title) for title in deck.titles],
        "openings": [measured(text) for text in template.openings],
        "links": [measured(text) for text in template.links],
        "closings": [measured(text) for text in template.closings],
        "phrases": {card.id: {p.id: line(p.text) for p in card.phrases} for card in deck.cards},
    }
