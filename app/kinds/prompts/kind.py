"""Decks of prompts as a kind of deck."""

from __future__ import annotations

from pathlib import Path

from app.kinds.kind import Served, Server, Serving
from app.kinds.prompts.deck import PromptDeck, load_prompt_deck
from app.kinds.prompts.gate import PromptGate


class Prompts:
    """Requests of any application to a model, answered by recorded replies."""

    room = "prompts"

    def load(self, folder: Path) -> PromptDeck:
        return load_prompt_deck(folder)

    def gate(self, deck: PromptDeck) -> PromptGate:
        return PromptGate(deck.checks)

    def prepare(self, deck: PromptDeck) -> Server:
        """The deck is all that workers share."""
        # Only what serves needs it.
        from app.kinds.prompts.service import ServedPrompts

        def serve(serving: Serving) -> Served:
            return ServedPrompts(deck, serving)

        return serve
