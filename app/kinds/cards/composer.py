"""What is in the box: answers composed from the deck's own pieces, for nothing and offline."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import DeckError
from app.kinds.cards.composing import MODEL, SOURCE, Composer
from app.kinds.cards.deck import Deck
from app.kinds.tasks import Draft, Drafts, Task

# A refused composition is asked again as a further variant of its play, from far away, so that it
# is not the one that the ladder would compose for `variant=1`.
_RETRY_STRIDE = 1000


class ComposerProvider:
    """Composes. Raises DeckError where the deck has no pieces to compose from."""

    name = SOURCE

    def __init__(self, deck: Deck) -> None:
        if not deck.composable:
            raise DeckError(
                str(deck.folder),
                "forms.json, pieces.json",
                "the composer needs a form, and pieces for every card; choose another --provider",
            )
        self._composer = Composer(deck)
        self.fingerprint = self._composer.fingerprint

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """One composition a task."""
        drafts = []
        for task in tasks:
            variant = task.variant + _RETRY_STRIDE * len(task.refusals)
            made = self._composer.compose(task.query, variant)
            if made:
                drafts.append(Draft(task, made.response))
        return Drafts(tuple(drafts), MODEL)

    def close(self) -> None:
        """Nothing to let go of."""
