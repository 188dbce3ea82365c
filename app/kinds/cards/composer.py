"""The composer as a provider: answers from the deck's pieces, free and offline."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import DeckError
from app.kinds.cards.composing import MODEL, SOURCE, Composer
from app.kinds.cards.deck import Deck
from app.kinds.cards.pieces import IDEAS_FILE, PIECES_FILE
from app.kinds.tasks import Draft, Drafts, Task

# A refused composition is replaced by one in another frame, after two refusals of another idea: a variant
# with a number far from those that the ladder would compose for requests. (The number is prime, so that
# the frame changes, however many there are.)
_ROUNDS = 1009


class ComposerProvider:
    """A provider that composes answers. Raises DeckError if the deck lacks pieces."""

    name = SOURCE

    def __init__(self, deck: Deck) -> None:
        if not deck.composable:
            raise DeckError(
                str(deck.folder),
                f"{IDEAS_FILE}, {PIECES_FILE}",
                "the composer needs an idea, and sentences for every phrase; set GEMINI_API_KEY, or choose "
                "another --provider",
            )
        self._composer = Composer(deck)
        self._stride = _ROUNDS * len(deck.pieces.ideas)
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
