"""A deck of characters as a worker serves it: its ladder, conversations and counts.

`ServedChat` is for a deck of characters what `app.kinds.cards.service.ServedCards` is for a deck of cards.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import orjson

from app.kinds.chat import care, figures, rotation
from app.kinds.chat import memory as talked
from app.kinds.chat.care import CareMemory, Step
from app.kinds.chat.characters import Character
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.gate import ChatGate
from app.kinds.chat.heard import Heard
from app.kinds.chat.models import CloudTier, Limits, LocalTier, NamedEngine, VariedTier
from app.kinds.chat.turn import ChatTier, Reply, Turn, system_prompt, why
from app.kinds.chat.vetted import FallbackTier, LearnedTier, RulesTier
from app.kinds.figures import store
from app.kinds.kind import Serving
from app.kinds.ladder import Delta, Discard, Ladder
from app.ledger.counters import answer_summary
from app.ledger.misses import Ledger
from app.ledger.rate import RateLimit
from app.ledger.state import KeyedValues, State
from app.ledger.tally import Tally, Use
from app.settings import Settings
from app.store.holder import IndexHolder
from app.store.key import Query

Event = Delta | Discard | Reply

# What a client may send: messages of a conversation, characters of one, and of an id.
MAX_MESSAGES, MAX_MESSAGE, MAX_ID = 200, 4000, 64
# Tokens of a reply. The gate refuses lines of more than a sentence or two: with more tokens, a
# small model's lines would only be refused later. The cloud's tokeniser is not known, so it gets
# more.
LOCAL_TOKENS, CLOUD_TOKENS = 50, 200
# Seconds for a reply of the cloud; visitors do not wait longer.
CLOUD_SECONDS = 10.0
# The newest messages of a conversation that a model gets, and their characters. More would be too
# much for a small model, and the cloud bills them.
MESSAGES, CHARACTERS = 12, 2000
# Conversations whose lines are remembered, so that a character does not repeat itself, and for how
# many seconds. Each takes some tens of bytes.
CONVERSATIONS, FORGET_SECONDS = 4096, 3600.0


def local_now() -> datetime.datetime:
    """The server's local time, on which greetings depend."""
    return datetime.datetime.now().astimezone()


class ServedChat:
    """One deck of characters as it is served. `local` gives local time."""

    def __init__(
        self,
        deck: CharacterDeck,
        serving: Serving,
        local: Callable[[], datetime.datetime] = local_now,
    ) -> None:
        settings, state = serving.settings, serving.state
        self.deck = deck
        self.index = IndexHolder(settings.store_options, deck.id, serving.clock)
        self.local = local
        self._settings = settings
        self._counters = serving.counters
        self._timer = serving.timer
        self._models = serving.models
        self.conversations = KeyedValues(
            state, f"conversations {deck.id}", CONVERSATIONS, rotation.SIZE, FORGET_SECONDS
        )
        self._talks = KeyedValues(
            state, f"talks {deck.id}", CONVERSATIONS, talked.SIZE, FORGET_SECONDS
        )
        self._plan = deck.care.plan if deck.care else care.Plan()
        self._danger = KeyedValues(
            state, f"danger {deck.id}", CONVERSATIONS, care.SIZE, self._plan.hours * 3600
        )
        self.prices = figures.price_table(settings)
        # Counted before the fork, because counting writes to most of what workers share.
        self._space = figures.space(deck)
        self.tally = Tally(state, deck.id)
        self._ledger = Ledger(settings.ledger, deck.id)
        self.ladder = self._ladder()

    @cached_property
    def body(self) -> bytes:
        """The body of `GET /api/decks/<deck>`."""
        deck = self.deck
        return orjson.dumps(
            {
                "id": deck.id,
                "name": deck.name,
                "language": deck.language,
                "characters": [
                    {"id": c.id, "name": c.name, "about": c.about} for c in deck.characters
                ],
                "intents": [{"id": i.id, "name": i.name} for i in deck.intents],
            }
        )

    def health(self) -> dict[str, Any]:
        """For `/healthz`."""
        return {"index": self.index() is not None}

    def figures(self) -> dict[str, Any]:
        """For `/stats`."""
        deck, settings = self.deck, self._settings
        index = self.index()
        rows = list(self.tally.rows())
        answers = answer_summary(self._counters.by_tier(deck.id))
        today = self.local().date().isoformat()
        return {
            "space": self._space,
            "store": {
                **store(index.meta() if index else None),
                "problem": self.index.problem or None,
            },
            "tiers": list(settings.chat_tiers),
            "answers": {"total": answers["total"], "by_tier": answers["by_tier"]},
            "passed": self._counters.passes(deck.id),
            "layers": figures.layers(deck, rows),
            "cost": figures.cost(deck, rows, self.prices, settings.cloud, today),
            "conversations": self.conversations.count(),
            "texts_kept": settings.chat_learn and "cloud" in settings.chat_tiers,
        }

    def _ladder(self) -> Ladder[Turn, Reply]:
        settings = self._settings
        gate = ChatGate(self.deck)
        rules = RulesTier(self.index, self.conversations, gate)
        limits = Limits(LOCAL_TOKENS, settings.chat_deadline, MESSAGES, CHARACTERS)
        local = LocalTier(
            NamedEngine(self._models.local(self._note), settings.ollama_model),
            gate,
            limits,
            last="cloud" not in _after("local", settings.chat_tiers),
        )
        makers: dict[str, Callable[[], ChatTier]] = {
            "learned": lambda: LearnedTier(self.index),
            "rules": lambda: VariedTier(rules, local) if settings.chat_vary else rules,
            "local": lambda: local,
            "cloud": lambda: self._cloud(gate),
            "fallback": lambda: FallbackTier(rules),
        }
        self._rules = rules
        # Messages about life and death are answered by vetted lines, whatever the ladder is.
        self._vetted = Ladder[Turn, Reply]([rules])
        self._last = FallbackTier(rules)
        return Ladder(makers[name]() for name in settings.chat_tiers)

    def _cloud(self, gate: ChatGate) -> CloudTier:
        settings = self._settings
        limits = Limits(CLOUD_TOKENS, CLOUD_SECONDS, MESSAGES, CHARACTERS)
        cheap, strong = (
            NamedEngine(self._models.cloud(name, self._note), name.model) for name in settings.cloud
        )
        return CloudTier(cheap, strong, gate, limits)

    def _note(self, tier: str, why: str, reason: str) -> None:
        self._counters.passed(self.deck.id, tier, why, reason)

    def answer(self, turn: Turn) -> Generator[Event, None, Reply]:
        """The events of an answer, its Reply last. Closing the generator stops the model."""
        start = self._timer()
        turn = self._with_heard(turn)
        reply = yield from self._climb(turn)
        reply = reply._replace(why=why(turn, reply))
        self._keep(turn, reply)
        self._counters.answered(self.deck.id, reply.tier, self._timer() - start)
        self._account(turn, reply)
        yield reply
        return reply

    def aside(self, turn: Turn, pool: str) -> str:
        """The next line of a pool of `lines.ASIDES`; empty if the deck has none.

        If it asks something, the next message is read as an answer to it.
        """
        reply = self._rules.next(turn, pool, pool)
        if reply and reply.asks:
            self._keep(turn, reply)
        return reply.text if reply else ""

    def _with_heard(self, turn: Turn) -> Turn:
        """The turn, read in the light of its conversation; unless it is about life and death."""
        talk = turn.talk
        if talk is None or turn.grave:
            return turn
        text = talk.hearing.text(turn.text, turn.character.mention)
        memory = talked.unpacked(self._talks.read(self._talk_key(turn)))
        if not memory.turn and len(turn.messages) > 1:
            memory = talk.remembering.replayed(self._history(turn))
        clear = turn.main is None or turn.main.clear
        heard = talk.hear(memory, text, turn.text, turn.intents, turn.conversation, clear=clear)
        return replace(turn, heard=heard, name=turn.name or heard.memory.name)

    def _history(self, turn: Turn) -> Iterator[tuple[bool, str]]:
        """The messages before this one as `Remembering.replayed` takes them."""
        for message in turn.messages[-care.HISTORY : -1]:
            text, of_user = message["content"], message["role"] == "user"
            if of_user and turn.talk:
                text = turn.talk.hearing.text(text, turn.character.mention)
            yield of_user, text

    def _keep(self, turn: Turn, reply: Reply) -> None:
        """Write down what the conversation remembers; an open question lapses with any message."""
        if turn.talk is None:
            return
        heard = turn.heard or Heard(talked.unpacked(self._talks.read(self._talk_key(turn))))
        fallback = reply.tier == FallbackTier.name
        after = turn.talk.remembering.after(
            heard, reply.text, reply.pools, reply.asks, fallback=fallback
        )

        def change(row: bytearray) -> None:
            row[:] = after.packed()

        self._talks.change(self._talk_key(turn), change)

    def _talk_key(self, turn: Turn) -> str:
        return f"{turn.conversation} {self.deck.id} {turn.character.id}"

    def turn(
        self,
        character: Character,
        messages: tuple[Mapping[str, str], ...],
        conversation: str,
        name: str = "",
        *,
        explain: bool = False,
    ) -> Turn:
        """A message to a character, the last of `messages`, now; for the rest see `Turn`."""
        return Turn(
            self.deck, character, messages, conversation, name, self.local(), explain=explain
        )

    def with_care(self, turn: Turn) -> Turn:
        """The turn with its kind of careful answer; changes the memory of its conversation.

        If there is no memory yet, it is computed from the history that the client sent. An existing
        one counts more than the history, so that a reset by a person holds.
        """
        if not self.deck.care:
            return turn
        signs = self.deck.signs(turn.text)
        key = self._danger_key(turn.conversation)
        memory = care.unpacked(self._danger.read(key))
        if not memory.known:
            memory = self._replayed(turn)
            if care.step(memory, signs, self._plan)[0].blank:
                return turn

        def change(row: bytearray) -> tuple[CareMemory, Step | None]:
            kept = care.unpacked(bytes(row))
            after, step = care.step(kept if kept.known else memory, signs, self._plan)
            row[:] = after.packed()
            return after, step

        after, step = self._danger.change(key, change)
        return replace(turn, care=step, watch=after.watch)

    def forget(self, conversation: str) -> None:
        """Forget what a conversation remembers: what the user told, not what the care needs."""

        def change(row: bytearray) -> None:
            # Not blank, or it would be computed anew from a history that a client still has.
            row[:] = talked.Memory(turn=1).packed()

        for character in self.deck.characters:
            self._talks.change(f"{conversation} {self.deck.id} {character.id}", change)

    def reset_care(self, conversation: str) -> None:
        """Answer a conversation as usual again, until there is another grave message."""

        def change(row: bytearray) -> None:
            row[:] = CareMemory().packed()

        self._danger.change(self._danger_key(conversation), change)

    def _danger_key(self, conversation: str) -> str:
        # For all characters of the deck together.
        return f"{conversation} {self.deck.id}"

    def _replayed(self, turn: Turn) -> CareMemory:
        """The memory after the earlier messages in the client's history."""
        memory = CareMemory()
        said = [m["content"] for m in turn.messages[:-1] if m["role"] == "user"]
        for text in said[-care.HISTORY :]:
            memory, _ = care.step(memory, self.deck.signs(text), self._plan)
        return memory

    def _climb(self, turn: Turn) -> Generator[Event, None, Reply]:
        if turn.care:
            return self._rules.careful(turn, turn.care)
        answered = turn.heard and turn.heard.pools and RulesTier.name in self._settings.chat_tiers
        reply = None
        if turn.grave or turn.watch or answered:
            reply = yield from self._vetted.climb(turn)
        if not (reply or turn.grave or turn.watch):
            reply = yield from self.ladder.climb(turn)
        if turn.watch and not reply:
            # "I did not catch it" is no answer here.
            return self._rules.careful(turn, Step.STAY)
        # The fallback answers even if it is not in the ladder.
        return reply or self._last.next(turn)

    def _account(self, turn: Turn, reply: Reply) -> None:
        day = turn.at.date().isoformat()
        shown = turn.history(MESSAGES, CHARACTERS)
        characters = len(system_prompt(turn)) + sum(len(m["content"]) for m in shown)
        usd = 0.0
        for source, written in turn.bill:
            price = self.prices.price(source, written.model, day)
            usd += price.cost(written.usage) if price else 0.0
        self.tally.add(
            day,
            reply.tier,
            Use(
                characters,
                len(reply.text),
                round(sum(f.usage.prompt for _, f in turn.bill)),
                round(sum(f.usage.output + f.usage.thoughts for _, f in turn.bill)),
                usd,
            ),
        )
        self._remember(turn, reply, usd)

    def _remember(self, turn: Turn, reply: Reply, usd: float) -> None:
        """Note a candidate with its texts if the settings allow it, else a miss without texts."""
        at = turn.at.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if reply.candidate and self._settings.chat_learn:
            self._ledger.candidate(
                turn.deck.message_query(turn.character, turn.text),
                reply.tier,
                {
                    "asked": turn.text,
                    "text": reply.text,
                    "source": reply.source,
                    "model": reply.model,
                    "cost_usd": usd,
                },
                at,
            )
        elif reply.tier in ("local", "cloud", "fallback") and self._settings.misses:
            missed = Query.pattern(self.deck.id, [("character", turn.character.id)])
            self._ledger.miss(missed, 0, reply.tier, at)


def _after(tier: str, tiers: tuple[str, ...]) -> tuple[str, ...]:
    return tiers[tiers.index(tier) + 1 :] if tier in tiers else ()


def rate_limit(settings: Settings, state: State) -> RateLimit | None:
    """The limit of messages for each client address, None if the settings set none.

    A sixth of a minute's messages may come at once.
    """
    if not settings.chat_rate:
        return None
    return RateLimit(state, "messages", settings.chat_rate, max(1, settings.chat_rate // 6))
