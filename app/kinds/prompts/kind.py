"""Decks of prompts as a kind of deck: requests of any application, answered by recorded replies."""

from __future__ import annotations

from app.kinds.kind import Server
from app.kinds.prompts.deck import PromptDeck, load_prompt_deck
from app.kinds.prompts.gate import PromptGate

room = "prompts"
load = load_prompt_deck


def gate(deck: PromptDeck) -> PromptGate:
    return PromptGate(deck.checks)


def prepare(deck: PromptDeck) -> Server:
    """The deck is all that workers share."""
    # Only what serves needs it.
    from app.kinds.prompts.service import ServedPrompts

    return lambda serving: ServedPrompts(deck, serving)
