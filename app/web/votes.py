"""Counting votes on answers, within limits over all workers."""

from __future__ import annotations

import math
from collections.abc import Callable

import orjson

from app.errors import RequestError
from app.kinds.cards.service import ServedCards
from app.ledger.rate import RateLimit
from app.ledger.state import State
from app.ledger.votes import Ballots
from app.web.access import too_many

# Votes from one address. A kiosk sends about three a minute; several kiosks may share an address,
# and so may phones behind one router.
VOTES_A_MINUTE, VOTES_AT_ONCE = 20, 10
# Greatest length of the text that distinguishes visitors who share an address.
MAX_VISITOR = 64


class Votes:
    """Counts votes, one for each visitor and answer. `now` gives UTC in ISO 8601.

    A voter is the client's address, and a text that distinguishes visitors who share it: a kiosk
    sends another one for each play.
    """

    def __init__(self, state: State, ballots: Ballots, now: Callable[[], str]) -> None:
        self._ballots = ballots
        self._now = now
        self._rate = RateLimit(state, "voters", VOTES_A_MINUTE, VOTES_AT_ONCE)
        self._once = RateLimit(state, "votes", 1 / 1440, 1)

    def wait(self, address: str) -> int:
        """Seconds until this address may vote; 0 if it may now, which counts."""
        return math.ceil(self._rate.wait(address))

    def vote(
        self,
        served: ServedCards,
        key: str,
        variant: int,
        vote: str,
        ballot: object,
        voter: tuple[str, str],
    ) -> None:
        """Count a vote that comes with the answer's ballot. Raises RequestError (400 or 429)."""
        if not self._ballots.fits(ballot, served.deck.id, key, variant):
            detail = "'ballot' is what X-Tsukurioki-Ballot said beside the answer that is voted on"
            raise RequestError(400, "Bad ballot", detail)
        if wait := self.wait(voter[0]):
            raise too_many("Too many votes", wait)
        self.count(served, key, variant, vote, voter)

    def count(
        self, served: ServedCards, key: str, variant: int, vote: str, voter: tuple[str, str]
    ) -> None:
        """Count a vote, unless this voter has voted on the answer before."""
        address, visitor = voter
        ballot = self._ballots.of(served.deck.id, key, variant)
        if self._once.wait(f"{address} {visitor} {ballot}"):
            return
        index = served.index()
        stored = index.get(bytes.fromhex(key), variant) if index else None
        created = str(orjson.loads(stored).get("created", "")) if stored else ""
        served.votes.vote(key, variant, vote, self._now(), created)
