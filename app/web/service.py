"""What a worker serves with: decks, their indexes and ladders, counters and ledgers.

It is made before workers are forked, so that they share its memory: nothing in it opens a connection
or starts a thread before it is used. Flask's routes find it in `app.extensions["tsukurioki"]`.
"""

from __future__ import annotations

import datetime
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from random import Random, SystemRandom
from typing import Any, NamedTuple, TypeVar

import flask

from app.errors import DeckError, RequestError, SettingError
from app.kinds.cards.deck import Deck
from app.kinds.cards.service import ServedCards
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.service import ServedChat, rate_limit
from app.kinds.decks import kind_of, load_all, prepare_all
from app.kinds.kind import Server, Serving
from app.kinds.loaded_models import LoadedModels
from app.kinds.prompts.service import ServedPrompts
from app.kinds.reading import nearest
from app.kinds.served_models import ServedModels
from app.ledger.counters import Counters
from app.ledger.rate import RateLimit
from app.ledger.state import State
from app.ledger.votes import Ballots, ballot_secret
from app.settings import Settings
from app.store.holder import IndexHolder, IndexState
from app.web.access import Access, client_address, too_many
from app.web.line_bot import LineBot
from app.web.problems import JAPANESE
from app.web.votes import Votes

# Of what devices collected, each item counts once in thirty days; so many are remembered.
COLLECTED = 1 / (30 * 24 * 60), 1, 1 << 16
# Greatest length of a request's body in bytes.
MAX_BODY = 64 * 1024


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return _iso(int(time.time()))


# Cached for the second, in which there can be thousands of misses.
@lru_cache(maxsize=1)
def _iso(second: int) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat()[:19] + "Z"


ServedT = TypeVar("ServedT")


class ReplayedResponse(NamedTuple):
    """A whole response with a stored reply to a prompt, which every client gets who asks the same.

    `state` is that of the deck before it was asked.
    """

    served: ServedPrompts
    tier: str
    state: object | None
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Service:
    """Everything that a worker needs to answer. Raises OperatorError if something is wrong.

    `clock` and `timer` give seconds, `now` UTC in ISO 8601, `wall_clock` seconds of the wall clock.
    `run` names the run of the server. `servers` are the decks by id, prepared for serving.
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
        rng: Random | None = None,
        servers: Mapping[str, Server] | None = None,
    ) -> None:
        self.settings = settings
        self.access = Access(settings, clock=clock)
        self.state = State(settings.ledger, wall_clock)
        self.counters = Counters(self.state, run)
        self.ballots = Ballots(ballot_secret(settings.ledger))
        self.votes = Votes(self.state, self.ballots, now)
        # What devices without a network collected, each item once.
        self.collected_once = RateLimit(self.state, "collected", *COLLECTED)
        self.now = now
        self.timer = timer
        # Set when the worker is being stopped, so that streams end with an event that says so.
        self.stopping = threading.Event()
        # One without a state, because workers that are forks of a process would share it.
        serving = self._serving(clock, rng or SystemRandom(), run)
        servers = servers or prepare_all(load_all(settings.decks))
        # A key is looked up in their order if the request names no deck.
        self.decks = {deck: serve(serving) for deck, serve in servers.items()}
        # The kinds that have routes of their own.
        self.cards: dict[str, ServedCards] = self._of_kind("cards")
        self.chats: dict[str, ServedChat] = self._of_kind("chat")
        self.prompts: dict[str, ServedPrompts] = self._of_kind("prompts")
        self.settings = settings = self._with_deck_of_cards()
        self._check_named()
        self.loaded = LoadedModels(settings.ollama_host, clock) if self._has_local() else None
        self.line = self._line_bot(clock) if settings.line_secret else None
        self.started = now()
        # Takes the path and body of a request and the response, for the fast path.
        self.keep_replay: Callable[[str, bytes, ReplayedResponse], None] | None = None

    def _serving(self, clock: Callable[[], float], rng: Random, run: str) -> Serving:
        settings = self.settings
        models = ServedModels(settings, settings.ledger, clock)
        return Serving(
            settings,
            self.state,
            self.counters,
            models,
            clock,
            self.timer,
            self.now,
            rng,
            run,
            self.stopping.wait,
        )

    def _of_kind(self, room: str) -> dict[str, Any]:
        """What serves the decks of a kind, by id."""
        return {name: one for name, one in self.decks.items() if kind_of(one.deck).room == room}

    def _has_local(self) -> bool:
        """Whether a tier of a deck asks the local model."""
        settings = self.settings
        return bool(
            (self.cards and "local" in settings.tiers)
            or (self.chats and "local" in settings.chat_tiers)
        )

    def _line_bot(self, clock: Callable[[], float]) -> LineBot:
        if not self.chats:
            fault = "there is no deck of characters, which TSUKURIOKI_LINE_SECRET needs"
            raise DeckError(str(self.settings.decks), "", fault)
        return LineBot(
            self.settings,
            self.chat(None),
            self.state,
            self.counters,
            self.rate_limit,
            clock,
            self.stopping,
        )

    def _with_deck_of_cards(self) -> Settings:
        """The settings; if the first deck that is shown is a chat, with the first deck of cards as `deck`."""
        settings = self.settings
        if settings.deck in self.chats and settings.deck in settings.decks_shown:
            first = next((deck for deck in settings.decks_shown if deck in self.cards), "")
            return replace(settings, deck=first or next(iter(self.cards), settings.deck))
        return settings

    def _check_named(self) -> None:
        """Raise SettingError if the settings name a deck that is missing among its kind."""
        settings = self.settings
        for name, wanted, here in (
            ("TSUKURIOKI_DECK", (settings.deck,), self.cards),
            ("TSUKURIOKI_DECKS_SHOWN", settings.decks_shown, {**self.cards, **self.chats}),
            ("TSUKURIOKI_CHAT_DECK", (settings.chat_deck,), self.chats),
        ):
            for deck in wanted:
                if deck and here and deck not in here:
                    known = ", ".join(sorted(here))
                    raise SettingError(name, deck, f"one of {known}{nearest(deck, here)}")

    @property
    def shown(self) -> tuple[str, ...]:
        """The decks that the pages show, of cards and of characters."""
        return tuple(dict.fromkeys(self.settings.decks_shown)) or (self.settings.deck,)

    @property
    def shown_decks(self) -> list[Deck | CharacterDeck]:
        """The same decks, without those that are not there."""
        found = (self.cards.get(one) or self.chats.get(one) for one in self.shown)
        return [served.deck for served in found if served]

    @property
    def shown_chats(self) -> list[CharacterDeck]:
        """The decks of characters to which the chat's page leads: all, unless the settings name some."""
        named = self.settings.decks_shown
        return [one.deck for name, one in self.chats.items() if not named or name in named]

    @property
    def has_choice(self) -> bool:
        """Whether there is a start page on which visitors choose a deck."""
        return len(self.shown) > 1

    def shown_deck(self, deck: str | None) -> ServedCards:
        """A deck of cards that the pages show, the first if it is None. Raises RequestError (404)."""
        if deck is not None and deck not in self.shown:
            known = ", ".join(self.shown)
            detail = f"the pages do not show {deck[:60]!r}; they show {known}"
            raise RequestError(404, "Deck not shown", detail)
        first = next((one for one in self.shown if one in self.cards), self.settings.deck)
        return self.served(first if deck is None else deck)

    @property
    def language(self) -> str:
        """The language for people whose client names none: that of the deck that is shown."""
        shown = self.shown_decks
        return shown[0].language if shown else JAPANESE

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
            detail = f"{deck!r} is a deck of characters: it answers at POST /api/chat"
            raise RequestError(404, "Not a deck of cards", detail)
        return _known("deck", deck, self.cards)

    def chat(self, deck: str | None) -> ServedChat:
        """A deck of characters by id, the default one if it is None. Raises RequestError (404)."""
        if not self.chats:
            raise RequestError(404, "No chat", "there is no deck of characters here")
        shown = [one for one in self.shown if one in self.chats]
        usual = "chat" if "chat" in self.chats else next(iter(self.chats))
        usual = shown[0] if shown else usual
        return _known("deck of characters", deck or self.settings.chat_deck or usual, self.chats)

    @cached_property
    def rate_limit(self) -> RateLimit | None:
        """How fast a client may chat; None if there is no limit, or no chat."""
        return rate_limit(self.settings, self.state) if self.chats else None

    def limit_chats(self, environ: Mapping[str, Any]) -> None:
        """Count a message of a request's client. Raises RequestError (429) if it chats too fast."""
        limit = self.rate_limit
        if limit and (wait := math.ceil(limit.wait(client_address(environ)))):
            raise too_many("Too many messages", wait)


def _known(what: str, name: str, decks: Mapping[str, ServedT]) -> ServedT:
    """A deck by its id. Raises RequestError (404), which says what there is."""
    if name not in decks:
        detail = f"there is no {what} {name[:60]!r}; there is {', '.join(sorted(decks))}"
        raise RequestError(404, "Unknown deck", detail)
    return decks[name]


class StoredAnswer(NamedTuple):
    """A stored answer: its finished body, its deck, and the deck's index with its state."""

    body: bytes
    deck: str
    holder: IndexHolder
    state: IndexState | None


def current_service() -> Service:
    """The service of the Flask application that answers this request."""
    service: Service = flask.current_app.extensions["tsukurioki"]
    return service


def stored_answer(service: Service, key: bytes, variant: int) -> StoredAnswer | None:
    """The stored answer with a key of 16 bytes; None if there is none."""
    for deck, served in service.decks.items():
        holder = served.index
        # The state first: a cached answer that is newer than its state is dropped in time, one that
        # is older would be kept.
        state = holder.state()
        index = holder()
        body = index.get(key, variant) if index else None
        if body is not None:
            return StoredAnswer(body, deck, holder, state)
    return None
