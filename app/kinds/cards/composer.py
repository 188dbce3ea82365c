"""The composer as a provider: answers from the deck's pieces, free and offline."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import DeckError
from app.kinds.cards.composing import MODEL, SOURCE, Composer
from app.kinds.cards.deck import Deck
from app.kinds.tasks import Draft, Drafts, Task

# A refused composition is replaced by one with another lead, after two refusals of another form: a
# variant with a number far from those that the ladder would compose for requests. (The number is
# prime, so that the lead of a hand of any size changes.)
_ROUNDS = 1009


class ComposerProvider:
    """A provider that composes answers. Raises DeckError if the deck lacks pieces."""

    name = SOURCE

    def __init__(self, deck: Deck) -> None:
        if not deck.composable:
            raise DeckError(
                str(deck.folder),
                "forms.json, pieces.json",
                "the composer needs a form, and pieces for every card; set GEMINI_API_KEY, or choose "
                "another --provider",
            )
        self._composer = Composer(deck)
        self._stride = _ROUNDS * len(deck.pieces.forms)
        self.fingerprint = self._composer.fingerprint

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """One composition for each task, if there is one."""
        drafts = []
        for task in tasks:
            refused = len(task.refusals)
            variant = task.variant + self._stride * refused + refused // 2
            made = self._composer.compose(task.query, variant)
            if made:
                drafts.append(Draft(task, made.response))
        return Drafts(tuple(drafts), MODEL)
