"""Plays hands through the tiers of a deck of cards that ask no model, before an event does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.template import FrameTemplate
from app.store.key import Query
from precompute.review.check import Finding

HANDS = 1_000
# Says why a tier does not answer a play; empty if it does.
WhyNot = Callable[[Query], str]


def check_tiers(deck: Deck) -> Iterator[Finding]:
    """Whether a play that is not stored is answered, and the reasons for which it is not."""
    tiers = dict(_tiers(deck))
    where = f"{deck.id}: {deck.folder}"
    if not tiers:
        fault = (
            "only stored answers can be served: there are neither frames (template in deck.json) "
            "nor ideas and pieces, so a play that is not stored gets no answer"
        )
        yield Finding(where, fault, error=False)
        return
    rng = Random(0)
    plays = [random_play(deck, rng) for _ in range(HANDS)]
    answered: set[int] = set()
    found = []
    for name, why_not in tiers.items():
        reasons = [why_not(play) for play in plays]
        answered.update(at for at, why in enumerate(reasons) if not why)
        if failed := Counter(why for why in reasons if why):
            why, _ = failed.most_common(1)[0]
            fault = f"tier {name} answers {HANDS - failed.total():,} of {HANDS:,} hands: {why}"
            found.append((fault, failed.total() == HANDS))
    # A tier that answers nobody is an error; others are warnings, if another tier answers them.
    for fault, useless in found:
        yield Finding(where, fault, error=useless or len(answered) < HANDS)


def _tiers(deck: Deck) -> Iterator[tuple[str, WhyNot]]:
    if deck.composable:
        composer, gate = Composer(deck), Gate.of(deck)

        def composed(query: Query) -> str:
            made = composer.compose(query)
            if made is None:
                least, most = deck.rules.length
                return f"no frame brings it to {least}-{most} {deck.rules.unit}"
            return str(gate.examine(query, made.response) or "")

        yield "composed", composed
    if deck.template:
        yield "template", FrameTemplate(deck).why_not
