"""The tiers of a chat: learned → rules → local → cloud → fallback (see `app.kinds.ladder`)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import orjson

from app.kinds.chat.care import FOLLOWING, Step
from app.kinds.chat.deck import (
    ANY,
    FALLBACK,
    NAME_SLOT,
    PLAIN,
    Character,
    Hit,
    Line,
    Moment,
    PatternDeck,
)
from app.kinds.chat.gate import ChatGate, Spoken
from app.kinds.chat.message import normalise
from app.kinds.chat.rotation import LINES, next_line
from app.kinds.engine import Engine, hidden
from app.kinds.ladder import Tier
from app.ledger.state import KeyedValues
from app.providers.relay import Ask, Finish
from app.store.index import IndexSource

DECK = "deck"
_NAME_OR = re.compile(r"「\{name\}[^」]*」か")


@dataclass(frozen=True)
class Turn:
    """One message to answer, with its context.

    `messages` is the whole history with this message last, `name` the user's (empty if unknown),
    `at` the local time. `care` is how the message is answered if somebody may be in danger, `watch`
    whether something grave was said before. `bill` collects the source and the end of each model's
    reply, refused ones too.
    """

    deck: PatternDeck
    character: Character
    messages: tuple[Mapping[str, str], ...]
    conversation: str
    name: str
    at: datetime.datetime
    care: Step | None = None
    watch: bool = False
    bill: list[tuple[str, Finish]] = field(default_factory=list)

    @cached_property
    def text(self) -> str:
        """The message to answer."""
        return self.messages[-1]["content"]

    @cached_property
    def hits(self) -> list[Hit]:
        """The intents of the message, in order of appearance."""
        return self.deck.recognise(self.text)

    @cached_property
    def main(self) -> Hit | None:
        """The intent that an answer must be about."""
        return self.deck.main(self.hits)

    @cached_property
    def moment(self) -> Moment:
        """Time of day, weekday and season."""
        return self.deck.moment(self.at)

    @property
    def intent(self) -> str | None:
        """The id of the main intent, None if none was recognised."""
        return self.main.intent.id if self.main else None

    @property
    def grave(self) -> bool:
        """Whether the message is, or may be, about life and death."""
        return self.care is not None or any(hit.intent.careful for hit in self.hits)

    @cached_property
    def signals(self) -> tuple[str, ...]:
        """The names of the signals of importance that the message has."""
        importance = self.deck.importance
        text = normalise(self.text)
        seen = {
            "new_user": sum(m["role"] == "user" for m in self.messages) == 1,
            "playful": any(expression.search(text) for expression in importance.playful),
            "feelings": any(hit.intent.id in importance.feelings for hit in self.hits),
            "question": "?" in text,
            "long": len(text) >= importance.long,
            "named": any(normalise(name) in text for name in self.character.names),
        }
        return tuple(name for name, there in seen.items() if there)

    def history(self, messages: int, characters: int) -> tuple[Mapping[str, str], ...]:
        """The newest messages within both limits, from a user's on; the last is cut if too long."""
        kept: list[Mapping[str, str]] = []
        left = characters
        for message in reversed(self.messages[-messages:]):
            if kept and len(message["content"]) > left:
                break
            content = message["content"][: max(1, left)]
            left -= len(content)
            kept.append({"role": message["role"], "content": content})
        while len(kept) > 1 and kept[-1]["role"] != "user":
            kept.pop()
        return tuple(reversed(kept))


class Reply(NamedTuple):
    """An answer.

    `near` is whether it was learned from another spelling, None if it was not learned; `importance`
    is the message's if the cloud answered. `candidate` is whether it may be learned.
    """

    text: str
    tier: str
    source: str
    model: str
    near: bool | None = None
    importance: float | None = None
    candidate: bool = False


Pieces = Generator[str, None, Reply | None]
ChatTier = Tier[Turn, Reply]


class LearnedTier:
    """Learned answers to the same message, in this or another spelling."""

    name = "learned"
    slow = False

    def __init__(self, index: IndexSource) -> None:
        self._index = index

    def reply(self, turn: Turn) -> Pieces:
        """The learned answer; None if there is none or the message is grave."""
        index = self._index()
        if index is None or turn.grave:
            return None
        query = turn.deck.message_query(turn.character, turn.text)
        body = index.get(bytes.fromhex(query.key))
        if body is None:
            return None
        stored = orjson.loads(body)
        near = stored.get("asked") != normalise(turn.text)
        return Reply(stored["text"], self.name, stored["source"], stored["model"], near)
        yield  # a generator, as every tier


class RulesTier:
    """Vetted and cooked lines by intent."""

    name = "rules"
    slow = False

    def __init__(self, index: IndexSource, state: KeyedValues) -> None:
        self._index = index
        self._state = state

    def reply(self, turn: Turn) -> Pieces:
        """The next line for the main intent."""
        return self.next(turn, turn.intent, self.name) if turn.intent else None
        yield

    def careful(self, turn: Turn, step: Step) -> Reply:
        """The answer to a user who may be in danger: vetted lines, and who can be called."""
        care = turn.deck.care
        pools = (step, *FOLLOWING[step]) if care else (step,)
        parts = [self.next(turn, pool, self.name) for pool in pools]
        text = _joined([part.text for part in parts], turn.deck.rules.script)
        numbers = care.spelled(whole=step is Step.CRISIS) if care else ""
        return parts[0]._replace(text=f"{text}\n{numbers}".rstrip())

    def next(self, turn: Turn, intent: str, tier: str) -> Reply:
        """The next line for an intent, in the conversation's rotation."""
        mood = turn.deck.mood(turn.hits, turn.main) if turn.main else PLAIN
        pool = self._pool(turn, intent, mood)
        last = next((m["content"] for m in reversed(turn.messages) if m["role"] == "assistant"), "")
        fitting = [i for i, (line, _, _) in enumerate(pool) if line.fits(turn.moment, turn.name)]
        fresh = [i for i in fitting if _filled(pool[i][0].text, turn.name) not in last]
        key = f"{turn.conversation} {turn.deck.id} {turn.character.id} {intent}"
        chosen = self._state.change(
            key, lambda row: next_line(row, len(pool), fresh or fitting, key)
        )
        line, source, model = pool[chosen]
        text = _lead(turn, line.text) + line.text
        return Reply(_filled(text, turn.name), tier, source, model)

    def _pool(self, turn: Turn, intent: str, mood: str) -> list[tuple[Line, str, str]]:
        lines = turn.deck.lines[turn.character.id][intent]
        pool = [(line, DECK, DECK) for line in lines]
        index = self._index()
        if index is None or turn.grave or intent == FALLBACK:
            return pool
        for of_mood in dict.fromkeys((mood, PLAIN)):
            for time in (turn.moment.time, ANY):
                query = turn.deck.line_query(turn.character.id, intent, of_mood, time)
                for body in index.variants(bytes.fromhex(query.key), LINES - len(pool)):
                    cooked = orjson.loads(body)
                    pool.append((Line(cooked["text"]), cooked["source"], cooked["model"]))
        return pool


def _joined(sentences: Sequence[str], script: str) -> str:
    if script != "ja":
        return " ".join(sentences)
    # Lines may lack a closing mark, which they need before another sentence.
    ended = [text if text[-1] in "。！？!?…" else f"{text}。" for text in sentences[:-1]]
    return "".join([*ended, sentences[-1]])


def _filled(text: str, name: str) -> str:
    return text.replace(NAME_SLOT, name)


def _lead(turn: Turn, line: str) -> str:
    """Words for another intent of the message: 「ただいま、疲れた」 is answered with a welcome too."""
    if turn.main is None or turn.grave:
        return ""
    for hit in turn.hits:
        lead = turn.character.leads.get(hit.intent.id)
        greeting = turn.deck.greetings.get(hit.intent.id)
        said = (greeting.search(line) if greeting else None) or (lead and lead[:3] in line)
        if hit.intent.id != turn.main.intent.id and lead and not said:
            return lead if turn.deck.rules.script == "ja" else f"{lead} "
    return ""


class Limits(NamedTuple):
    """The limits of a model: tokens and seconds of a reply, messages and characters of history."""

    tokens: int
    seconds: float
    messages: int
    characters: int


class ModelTier:
    """A model's answer, judged by the gate while it is written and when it is complete."""

    name: str
    slow = True

    def __init__(self, engine: Engine, gate: ChatGate, limits: Limits) -> None:
        self._engine = engine
        self._gate = gate
        self._limits = limits

    def _written(
        self, turn: Turn, ask: Ask, facts: Spoken, *, show: bool = True
    ) -> Generator[str, None, tuple[str, Finish] | None]:
        """The model's text and the end of its reply; None if it was refused or failed, as noted."""
        engine, gate = self._engine, self._gate
        pieces = engine.write(
            self.name,
            ask,
            lambda text: gate.judge_part(replace(facts, text=text)),
            lambda finish: turn.bill.append((engine.model.name, finish)),
        )
        written = yield from pieces if show else hidden(pieces)
        if written is None:
            return None
        refusal = gate.judge(replace(facts, text=written.text))
        if refusal:
            engine.note(self.name, "gate", refusal.check)
            return None
        return written

    def _ask(self, turn: Turn, model: str, messages: Iterable[Mapping[str, str]]) -> Ask:
        limits = self._limits
        return Ask(model, system_prompt(turn), tuple(messages), limits.tokens, limits.seconds)

    def _facts(self, turn: Turn, *, original: str = "", free: bool = False) -> Spoken:
        return self._gate.spoken(
            "",
            turn.character,
            intents=tuple(hit.intent for hit in turn.hits) if original else (),
            said=turn.text,
            original=original,
            time=turn.moment.time,
            prompt=system_prompt(turn),
            free=free,
        )


def system_prompt(turn: Turn) -> str:
    """The character's persona with the user's name."""
    persona = turn.character.persona
    if not turn.name:
        persona = _NAME_OR.sub("", persona)
    return persona.replace(NAME_SLOT, turn.name)


class LocalTier(ModelTier):
    """The small model on this machine."""

    name = "local"

    def __init__(self, engine: Engine, gate: ChatGate, limits: Limits, model: str) -> None:
        super().__init__(engine, gate, limits)
        self._model = model

    def reply(self, turn: Turn) -> Pieces:
        """An answer to the message."""
        limits = self._limits
        messages = (*_examples(turn), *turn.history(limits.messages, limits.characters))
        ask = self._ask(turn, self._model, messages)
        written = yield from self._written(turn, ask, self._facts(turn))
        return self._reply(written)

    def varied(self, turn: Turn, line: str) -> Pieces:
        """A variation of a line, which is shown only when it is complete and judged."""
        asked = {"role": "user", "content": f"{turn.deck.vary}\n{line}"}
        ask = self._ask(turn, self._model, (asked,))
        facts = self._facts(turn, original=line)
        return self._reply((yield from self._written(turn, ask, facts, show=False)))

    def _reply(self, written: tuple[str, Finish] | None) -> Reply | None:
        if written is None:
            return None
        text, finish = written
        return Reply(text, self.name, self._engine.model.name, finish.model)


def _examples(turn: Turn) -> list[Mapping[str, str]]:
    """Exchanges as examples, which a small model imitates better than it follows instructions."""
    found: list[Mapping[str, str]] = []
    for intent in turn.deck.intents:
        if not intent.example:
            continue
        lines = turn.deck.lines[turn.character.id][intent.id]
        plain = next(line.text for line in lines if not line.when and not line.named)
        found += [
            {"role": "user", "content": intent.example},
            {"role": "assistant", "content": plain},
        ]
    return found


class VariedTier:
    """The rules' lines, varied by the local model, or unchanged if it fails."""

    name = "rules"
    slow = True

    def __init__(self, rules: RulesTier, local: LocalTier) -> None:
        self._rules = rules
        self._local = local

    def reply(self, turn: Turn) -> Pieces:
        """The next line for the main intent, varied if possible."""
        if turn.intent is None:
            return None
        line = self._rules.next(turn, turn.intent, self.name)
        varied = None if turn.grave else (yield from self._local.varied(turn, line.text))
        return varied or line


class CloudTier(ModelTier):
    """A large model on the network: a cheap one, or a strong one for important messages."""

    name = "cloud"

    def __init__(
        self, engine: Engine, gate: ChatGate, limits: Limits, cheap: str, strong: str
    ) -> None:
        super().__init__(engine, gate, limits)
        self._cheap = cheap
        self._strong = strong

    def reply(self, turn: Turn) -> Pieces:
        """An answer to the message, and whether it may be learned."""
        importance = turn.deck.importance.of(turn.signals)
        strong = importance >= turn.deck.importance.threshold
        limits = self._limits
        messages = turn.history(limits.messages, limits.characters)
        ask = self._ask(turn, self._strong if strong else self._cheap, messages)
        written = yield from self._written(turn, ask, self._facts(turn, free=True))
        if written is None:
            return None
        text, finish = written
        return Reply(
            text,
            self.name,
            self._engine.model.name,
            finish.model,
            importance=round(importance, 3),
            candidate=_may_be_learned(turn, text),
        )


def _may_be_learned(turn: Turn, text: str) -> bool:
    """Whether an answer fits everybody who sends the same message.

    It does not if the message is grave or refers to earlier ones, or if either contains the user's
    name.
    """
    named = bool(turn.name) and (turn.name in text or turn.name in turn.text)
    return not turn.grave and not named and turn.deck.stands_alone(turn.text)


class FallbackTier:
    """Lines by which a character says that she did not understand."""

    name = "fallback"
    slow = False

    def __init__(self, rules: RulesTier) -> None:
        self._rules = rules

    def reply(self, turn: Turn) -> Pieces:
        """The next such line."""
        return self.next(turn)
        yield

    def next(self, turn: Turn) -> Reply:
        """The same, without a generator."""
        return self._rules.next(turn, FALLBACK, self.name)
