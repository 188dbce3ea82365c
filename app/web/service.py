"""The state of a worker: decks, their indexes and ladders, counters and ledgers.

Each worker has one `Service`; Flask's routes find it in `app.extensions["tsukurioki"]`.
"""

from __future__ import annotations

import datetime
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from random import Random
from typing import Any, NamedTuple, NoReturn

import orjson

from app.errors import DeckError, RequestError
from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import deal
from app.kinds.cards.deck import Card, Deck
from app.kinds.cards.models import ModelSetup, ModelTier
from app.kinds.cards.plays import Play
from app.kinds.cards.tiers import CardLadder, CardTier, build_ladder
from app.kinds.chat.deck import PatternDeck
from app.kinds.chat.service import ServedChat, rate_limit
from app.kinds.decks import load_all
from app.kinds.kind import AnyDeck
from app.kinds.served_models import ServedModels
from app.ledger.counters import Counters
from app.ledger.deals import DealCounter, permuted
from app.ledger.misses import Ledger, MissCounts
from app.ledger.rate import RateLimit
from app.ledger.state import State
from app.ledger.votes import Ballots, VoteBox, VoteCounts, ballot_secret
from app.settings import Settings
from app.store.answer import WHOLE_TIERS, Answer
from app.store.holder import IndexHolder, IndexState
from app.store.key import Query
from app.web.access import Access, too_many

# Greatest length of a request's body in bytes.
MAX_BODY = 64 * 1024
# Votes from one address. A kiosk sends about three a minute; several kiosks may share an address, and
# so may phones behind one router.
VOTES_A_MINUTE, VOTES_AT_ONCE = 20, 10


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return _iso(int(time.time()))


# Cached for the second, in which there can be thousands of misses.
@lru_cache(maxsize=1)
def _iso(second: int) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat()[:19] + "Z"


@dataclass(frozen=True)
class ServedCards:
    """One deck of cards as it is served. `immediate` is the ladder for the event loop."""

    deck: Deck
    index: IndexHolder
    ladder: CardLadder
    immediate: CardLadder
    ledger: Ledger | None
    votes: VoteBox
    dealt: DealCounter
    missed: MissCounts
    voted: VoteCounts

    @cached_property
    def body(self) -> bytes:
        """The body of `GET /api/decks/<deck>`."""
        deck = self.deck
        return orjson.dumps(
            {
                "id": deck.id,
                "name": deck.name,
                "language": deck.language,
                "hand": {"size": deck.hand_size, "distinct": "category"},
                "hands": deck.count_hands(),
                "plays": deck.count_plays(),
                "cards": [card.raw for card in deck.cards],
                "titles": deck.titles,
            }
        )


class Service:
    """Everything that a worker needs to answer. Raises OperatorError if something is wrong.

    `clock` and `timer` give seconds, `now` UTC in ISO 8601, `wall_clock` seconds of the wall clock.
    `run` names the run of the server, `secret` is for ballots. `decks` and `composers` are those
    that were made before the fork, if any.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[[], float] = time.perf_counter,
        now: Callable[[], str] = utc_now,
        wall_clock: Callable[[], float] = time.time,
        run: str = "",
        secret: bytes = b"",
        rng: Random | None = None,
        decks: Mapping[str, AnyDeck] | None = None,
        composers: Mapping[str, Composer] | None = None,
    ) -> None:
        self.settings = settings
        self.access = Access(settings, clock=clock)
        self.state = State(settings.ledger, wall_clock)
        self.counters = Counters(self.state, run)
        self.ballots = Ballots(secret or ballot_secret(settings.ledger))
        # Votes from one address, and one vote for each visitor and answer, over all workers.
        self.vote_rate = RateLimit(self.state, "voters", VOTES_A_MINUTE, VOTES_AT_ONCE)
        self.vote_once = RateLimit(self.state, "votes", 1 / 1440, 1)
        self._models = ServedModels(settings, settings.ledger, clock)
        self.now = now
        self.timer = timer
        self._rng = rng or Random(secrets.randbits(64))
        found = (decks or load_all(settings.decks)).values()
        self._composers = composers or {}
        self.cards = {d.id: self._served(d, clock) for d in found if isinstance(d, Deck)}
        self.chats = {
            deck.id: ServedChat(
                deck,
                IndexHolder(settings.store_options, deck.id, clock),
                settings,
                self.counters,
                self.state,
                clock=clock,
                models=self._models,
            )
            for deck in found
            if isinstance(deck, PatternDeck)
        }
        # In which a key is looked up if the request names no deck.
        self.indexes = tuple(
            (deck, served.index)
            for cards in (self.cards, self.chats)
            for deck, served in cards.items()
        )
        self.rate_limit = rate_limit(settings, self.state) if self.chats else None
        self._check_named()
        self.started = now()

    def _check_named(self) -> None:
        """Raise DeckError if the settings name a deck that is missing among others of its kind."""
        for name, named, here in (
            ("TSUKURIOKI_DECK", self.settings.deck, self.cards),
            ("TSUKURIOKI_CHAT_DECK", self.settings.chat_deck, self.chats),
        ):
            if named and here and named not in here:
                fault = f"{name}={named!r}, the decks here are {sorted(here)}"
                raise DeckError(str(self.settings.decks), "", fault)

    def _served(self, deck: Deck, clock: Callable[[], float]) -> ServedCards:
        settings = self.settings
        index = IndexHolder(settings.store_options, deck.id, clock)
        folder = settings.ledger
        ledger = Ledger(folder, deck.id)
        ladder = build_ladder(
            deck,
            settings.tiers,
            index,
            settings.radius,
            self._composers.get(deck.id),
            self._model_tiers(deck, ledger),
        )
        return ServedCards(
            deck=deck,
            index=index,
            ladder=ladder,
            immediate=ladder.before_slow(),
            ledger=ledger if settings.misses else None,
            votes=VoteBox(folder, deck.id),
            dealt=DealCounter(self.state, deck.id),
            missed=MissCounts(folder, deck.id),
            voted=VoteCounts(folder, deck.id),
        )

    def _model_tiers(self, deck: Deck, ledger: Ledger) -> dict[str, Callable[[], CardTier]]:
        settings = self.settings

        def note(tier: str, why: str, reason: str) -> None:
            self.counters.passed(deck.id, tier, why, reason)

        def keep(
            query: Query, variant: int, response: Mapping[str, Any], source: str, model: str
        ) -> None:
            answer = {**response, "variant": variant, "source": source, "model": model}
            ledger.candidate(query, "cloud", answer, self.now())

        def local() -> CardTier:
            engine = self._models.local(note)
            whole = settings.local_prompt == "whole"
            setup = ModelSetup(engine, settings.ollama_model, whole, settings.deadline)
            return ModelTier("local", deck, setup)

        def cloud() -> CardTier:
            engine = self._models.cloud(note)
            setup = ModelSetup(engine, settings.gemini_model, True, settings.deadline, keep)
            return ModelTier("cloud", deck, setup)

        return {"local": local, "cloud": cloud}

    def slow_paths(self) -> Iterator[str]:
        """The paths of requests for plays that may wait for a model."""
        for deck, served in self.cards.items():
            if any(tier.slow for tier in served.ladder.tiers):
                yield f"/api/decks/{deck}/answer"
                if deck == self.settings.deck:
                    yield "/api/generate-poem"

    def served(self, deck: str) -> ServedCards:
        """A deck of cards by its id. Raises RequestError (404)."""
        if deck in self.chats:
            detail = f"{deck!r} is a deck of patterns: it answers at POST /api/chat"
            raise RequestError(404, "Not a deck of cards", detail)
        if deck not in self.cards:
            known = ", ".join(sorted(self.cards))
            raise RequestError(
                404, "Unknown deck", f"there is no deck {deck[:60]!r}; there is {known}"
            )
        return self.cards[deck]

    def chat(self, deck: str | None) -> ServedChat:
        """A deck of patterns by its id, the default one if it is None. Raises RequestError (404)."""
        if not self.chats:
            raise RequestError(404, "No chat", "there is no deck of patterns here")
        usual = "chat" if "chat" in self.chats else next(iter(self.chats))
        wanted = deck or self.settings.chat_deck or usual
        if wanted not in self.chats:
            known = ", ".join(self.chats)
            detail = f"there is no deck of patterns {wanted[:60]!r}; there is {known}"
            raise RequestError(404, "Unknown deck", detail)
        return self.chats[wanted]

    def answer(self, served: ServedCards, query: Query, variant: int) -> Answer:
        """Answer a query, count it, and note a miss. Raises RequestError (404) if no tier answers."""
        start = self.timer()
        return self._counted(served, query, variant, served.ladder, start) or _no_answer()

    def answer_at_once(self, served: ServedCards, query: Query, variant: int) -> Answer | None:
        """The same with the tiers before the first that asks a model; None if none answers."""
        return self._counted(served, query, variant, served.immediate, self.timer())

    def _counted(
        self, served: ServedCards, query: Query, variant: int, ladder: CardLadder, start: float
    ) -> Answer | None:
        answer = ladder.answer(Play(query, variant))
        if answer is None:
            return None
        self.counters.answered(served.deck.id, answer.tier, self.timer() - start)
        if answer.tier not in WHOLE_TIERS and served.ledger:
            served.ledger.miss(query, variant, answer.tier, self.now())
        return answer

    def vote(
        self,
        served: ServedCards,
        key: str,
        variant: int,
        vote: str,
        ballot: object,
        voter: tuple[str, str],
    ) -> None:
        """Count a vote, once for each visitor and answer. Raises RequestError (400 or 429).

        `voter` is the client's address, and a text that distinguishes visitors who share it: a kiosk
        sends another one for each play.
        """
        deck = served.deck.id
        if not self.ballots.fits(ballot, deck, key, variant):
            raise RequestError(
                400,
                "Bad ballot",
                "'ballot' is what X-Tsukurioki-Ballot said beside the answer that is voted on",
                "うまく受け取れませんでした。",
            )
        address, visitor = voter
        if wait := math.ceil(self.vote_rate.wait(address)):
            raise too_many("Too many votes", wait)
        if self.vote_once.wait(f"{address} {visitor} {ballot}"):
            return
        stored = stored_answer(self, bytes.fromhex(key), variant)
        created = str(parse_json(stored.body).get("created", "")) if stored else ""
        served.votes.vote(key, variant, vote, self.now(), created)

    def deal(self, served: ServedCards, mode: str | None) -> tuple[str, tuple[Card, ...]]:
        """How a hand was dealt, and its cards: from stock if there is any, unless `mode` is random.

        Raises RequestError (409) if `mode` is stocked and there is no stock.
        """
        index = served.index()
        stock = index.meta().stocked_hands if index else 0
        if mode == "stocked" and not stock:
            raise RequestError(
                409,
                "Nothing stocked",
                f"deck {served.deck.id!r} has no stocked hand; run: precompute build --strategy stock",
                "作り置きの手札は、まだありません。",
            )
        if index is None or not stock or mode == "random":
            return "random", deal(served.deck, self._rng)
        cards = index.stocked(permuted(served.dealt.take(stock), stock))
        if not cards or not all(card in served.deck.card_by_id for card in cards):
            return "random", deal(served.deck, self._rng)
        return "stocked", tuple(served.deck.card_by_id[card] for card in cards)


def _no_answer() -> NoReturn:
    raise RequestError(
        404,
        "No answer",
        "no tier of the ladder has an answer for this play; see TSUKURIOKI_TIERS",
        "いまは、ことばを用意できません。",
    )


class Stored(NamedTuple):
    """A stored answer: its finished body, its deck, and the deck's index with its state."""

    body: bytes
    deck: str
    holder: IndexHolder
    state: IndexState | None


def stored_answer(service: Service, key: bytes, variant: int) -> Stored | None:
    """The stored answer with a key of 16 bytes; None if there is none."""
    for deck, holder in service.indexes:
        # The state first: a cached answer that is newer than its state is dropped in time, one that
        # is older would be kept.
        state = holder.state()
        index = holder()
        body = index.get(key, variant) if index else None
        if body is not None:
            return Stored(body, deck, holder, state)
    return None


def parse_json(raw: bytes) -> Any:
    """The JSON of a request's body. Raises RequestError (400)."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            400, "Bad JSON", f"the body is not JSON: {error.msg}", "うまく読み取れませんでした。"
        ) from None
