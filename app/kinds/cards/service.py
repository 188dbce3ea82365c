"""A deck of cards as a worker serves it: the deck, its index and ladder, its counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NoReturn

import orjson

from app.errors import RequestError
from app.kinds.cards.dealing import deal, permuted
from app.kinds.cards.deck import Card, Deck
from app.kinds.cards.figures import (
    coverage,
    miss_summary,
    missed_plays,
    money,
    read_rehearsal,
    space,
)
from app.kinds.cards.models import ModelSetup, ModelTier
from app.kinds.cards.plays import Play
from app.kinds.cards.stocked import StockTable
from app.kinds.cards.tiers import CardLadder, CardTier, Makers, at_once, build_ladder
from app.kinds.figures import store
from app.kinds.kind import Serving
from app.ledger.counters import answer_summary
from app.ledger.frequencies import Frequencies
from app.ledger.journal import JournalCounts
from app.ledger.misses import Ledger
from app.ledger.votes import VoteBox, VoteCounts
from app.store.answer import WHOLE_TIERS, Answer
from app.store.holder import IndexHolder
from app.store.key import Query
from app.store.log import log_path
from app.store.proof import identity
from app.store.rows import Meta

MOST_WANTED = 10


class ServedCards:
    """One deck of cards as it is served.

    `makers`: the deck's, if they were made before the fork.
    """

    def __init__(self, deck: Deck, serving: Serving, makers: Makers | None = None) -> None:
        settings = serving.settings
        self.deck = deck
        self.index = IndexHolder(settings.store_options, deck.id, serving.clock)
        self.votes = VoteBox(settings.ledger, deck.id)
        self._serving = serving
        self._ledger = Ledger(settings.ledger, deck.id)
        # The name under which the state counts the hands dealt from stock.
        self._dealt = f"dealt {deck.id}"
        self._missed = JournalCounts(
            settings.ledger, deck.id, missed_plays, lambda: Frequencies(MOST_WANTED)
        )
        self._voted = VoteCounts(settings.ledger, deck.id)
        self._table: tuple[object, StockTable] | None = None
        self._tabling = threading.Lock()
        models: dict[str, Callable[[], CardTier]] = {"local": self._local, "cloud": self._cloud}
        self.ladder: CardLadder = build_ladder(
            deck, settings.tiers, self.index, settings.radius, makers, models
        )
        self._at_once = tuple(at_once(self.ladder))

    @cached_property
    def body(self) -> bytes:
        """The body of `GET /api/decks/<deck>`."""
        deck = self.deck
        return orjson.dumps(
            {
                "id": deck.id,
                "name": deck.name,
                "language": deck.language,
                "hand": {"size": deck.hand_size, "distinct": "category", "choose": deck.choose},
                "hands": deck.count_hands(),
                "plays": deck.count_plays(),
                "cards": [card.raw for card in deck.cards],
                "titles": deck.titles,
            }
        )

    def _local(self) -> CardTier:
        settings = self._serving.settings
        engine = self._serving.models.local(self._note)
        whole = settings.local_prompt == "whole"
        setup = ModelSetup(engine, settings.ollama_model, whole, settings.deadline)
        return ModelTier("local", self.deck, setup)

    def _cloud(self) -> CardTier:
        settings = self._serving.settings
        engine = self._serving.models.cloud(settings.cloud.cheap, self._note)
        setup = ModelSetup(engine, settings.cloud.cheap.model, True, settings.deadline, self._keep)
        return ModelTier("cloud", self.deck, setup)

    def _note(self, tier: str, why: str, reason: str) -> None:
        self._serving.counters.passed(self.deck.id, tier, why, reason)

    def _keep(
        self, query: Query, variant: int, response: Mapping[str, Any], source: str, model: str
    ) -> None:
        answer = {**response, "variant": variant, "source": source, "model": model}
        self._ledger.candidate(query, "cloud", answer, self._serving.now())

    def answer(self, query: Query, variant: int) -> Answer:
        """Answer a query, count it, and note a miss. Raises RequestError (404) if no tier answers."""
        start = self._serving.timer()
        answer = self.ladder.answer(Play(query, variant)) or _no_answer()
        return self._counted(query, variant, answer, start)

    def answer_at_once(self, query: Query, variant: int) -> Answer | None:
        """The same with the tiers before the first that asks a model; None if none answers.

        For the event loop: the ladder's generators would take as long as finding a stored answer.
        """
        start = self._serving.timer()
        for tier in self._at_once:
            body = tier.find(query, variant)
            if body is not None:
                return self._counted(query, variant, Answer(tier.name, body), start)
        return None

    def _counted(self, query: Query, variant: int, answer: Answer, start: float) -> Answer:
        """Count an answer, and note a miss."""
        serving = self._serving
        serving.counters.answered(self.deck.id, answer.tier, serving.timer() - start)
        if answer.tier not in WHOLE_TIERS and serving.settings.misses:
            self._ledger.miss(query, variant, answer.tier, serving.now())
        return answer

    def missed(self, query: Query, variant: int) -> None:
        """Note a miss that happened elsewhere, unless there is a whole answer by now."""
        answer = self.ladder.quick().answer(Play(query, variant))
        if self._serving.settings.misses and (answer is None or answer.tier not in WHOLE_TIERS):
            tier = answer.tier if answer else ""
            self._ledger.miss(query, variant, tier, self._serving.now())

    def deal(self, mode: str | None) -> tuple[str, tuple[Card, ...]]:
        """How a hand was dealt, and its cards: from stock if there is any, unless `mode` is random.

        Raises RequestError (409) if `mode` is stocked and there is no stock.
        """
        deck, rng, state = self.deck, self._serving.rng, self._serving.state
        index = self.index()
        stock = index.meta().stocked_hands if index else 0
        if mode == "stocked" and not stock:
            raise RequestError(
                409,
                "Nothing stocked",
                f"deck {deck.id!r} has no stocked hand; run: precompute build --deck {deck.id} "
                "--n 1000",
                "作り置きの手札は、まだありません。",
            )
        if index is None or not stock or mode == "random":
            return "random", deal(deck, rng)
        cards = index.stocked(permuted(state.take_number(self._dealt, stock), stock))
        if not cards or not all(card in deck.card_by_id for card in cards):
            return "random", deal(deck, rng)
        return "stocked", tuple(deck.card_by_id[card] for card in cards)

    def stock(self, chosen: Sequence[str]) -> dict[str, Any]:
        """How many stocked hands have the chosen cards, and which cards lead to one.

        `otherwise` is the tier that is asked first for a play of another hand, None if there is
        none. Raises RequestError (400) for cards that make no hand.
        """
        cards = self.deck.part_of_hand(chosen)
        leads = self._stock_table().leads([card.id for card in cards])
        tiers = (tier.name for tier in self.ladder.tiers)
        otherwise = next((name for name in tiers if name not in WHOLE_TIERS), None)
        return {"hands": leads.hands, "cards": leads.cards, "otherwise": otherwise}

    def _stock_table(self) -> StockTable:
        """The table of the current index, made again after a change."""
        index = self.index()
        meta = index.meta() if index else None
        state = (meta.log, meta.generation, meta.stocked_hands) if meta else None
        with self._tabling:
            if self._table is None or self._table[0] != state:
                hands = index.stock() if index else []
                categories = {card.id: card.category for card in self.deck.cards}
                # What Redis did not answer is asked for again.
                state = state if all(hands) else None
                self._table = state, StockTable(hands, categories)
            return self._table[1]

    def health(self) -> dict[str, Any]:
        """For `/healthz`."""
        return {"index": self.index() is not None, "composable": self.deck.composable}

    def figures(self) -> dict[str, Any]:
        """For `/stats`."""
        deck, settings, counters = self.deck, self._serving.settings, self._serving.counters
        index = self.index()
        meta = index.meta() if index else None
        log = identity(log_path(settings.store, deck.id))
        answers = answer_summary(counters.by_tier(deck.id))
        return {
            "space": space(deck),
            "store": {
                **store(meta),
                "bytes": log.size if log else 0,
                "problem": self.index.problem or None,
            },
            "coverage": coverage(deck, meta),
            "answers": answers,
            "expected": read_rehearsal(settings.store, deck.id),
            "passed": counters.passes(deck.id),
            "deals": self._deals(meta),
            "misses": {"kept": settings.misses, **self._missed.read(miss_summary)},
            "feedback": self._voted.totals(),
            "money": money(meta, answers["whole"]),
        }

    def _deals(self, meta: Meta | None) -> dict[str, Any]:
        """Hands dealt from stock, and hands in stock."""
        stock = meta.stocked_hands if meta else 0
        dealt = self._serving.state.taken(self._dealt, stock) if stock else 0
        return {"dealt": dealt, "stocked": stock, "rounds": dealt / stock if stock else None}


def _no_answer() -> NoReturn:
    raise RequestError(
        404,
        "No answer",
        "no tier of the ladder has an answer for this play; see TSUKURIOKI_TIERS",
        "いまは、ことばを用意できません。",
    )
