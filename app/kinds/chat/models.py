"""The tiers of a chat that ask a model: local and cloud (see `app.kinds.ladder`)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from app.kinds.chat.empty import says_nothing
from app.kinds.chat.gate import ChatGate, Spoken
from app.kinds.chat.turn import Reply, ReplyStream, Turn, system_prompt
from app.kinds.chat.vetted import RulesTier
from app.kinds.engine import Engine, Judges, Written, hidden
from app.normal_form import nfc
from app.providers.relay import Ask


class Limits(NamedTuple):
    """The limits of a model: tokens and seconds of a reply, messages and characters of history."""

    tokens: int
    seconds: float
    messages: int
    characters: int


class NamedEngine(NamedTuple):
    """An engine, and the model that it is asked for."""

    engine: Engine
    model: str


class ModelTier:
    """A model's answer, judged by the gate while it is written and when it is complete."""

    name: str
    slow = True

    def __init__(self, gate: ChatGate, limits: Limits) -> None:
        self._gate = gate
        self._limits = limits

    def _written(
        self, turn: Turn, by: NamedEngine, messages: Iterable[Mapping[str, str]], facts: Spoken
    ) -> Generator[str, None, Written | None]:
        """The model's reply; None if it was refused or failed, as noted."""
        gate, limits = self._gate, self._limits
        asked = tuple(messages)
        ask = Ask(by.model, self._told(turn), asked, limits.tokens, limits.seconds)
        judges = Judges(
            lambda text: gate.judge_part(replace(facts, text=text)),
            lambda text: gate.judge(replace(facts, text=text)),
        )
        source = by.engine.model.name
        return by.engine.write(
            self.name,
            ask,
            # All that the model is told. The rest of the facts follows from it and from the hour.
            (ask.model, ask.system, tuple((m["role"], _plain(m["content"])) for m in asked)),
            judges,
            lambda finish: turn.bill.append((source, finish)),
        )

    def _told(self, turn: Turn) -> str:
        """What the model is told before the messages."""
        return system_prompt(turn)

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


def _plain(text: str) -> str:
    """A message without differences that mean nothing; an emoji or a mark may mean something."""
    return " ".join(nfc(text).split())


class LocalTier(ModelTier):
    """The small model on this machine.

    `last` is whether no other model is asked after it: a reply that says nothing is then given, and
    otherwise refused. Both are counted.
    """

    name = "local"

    def __init__(self, by: NamedEngine, gate: ChatGate, limits: Limits, *, last: bool) -> None:
        super().__init__(gate, limits)
        self._by = by
        self._last = last

    def reply(self, turn: Turn) -> ReplyStream:
        """An answer to the message."""
        limits = self._limits
        messages = (*_examples(turn), *turn.history(limits.messages, limits.characters))
        written = yield from self._written(turn, self._by, messages, self._facts(turn))
        empty = says_nothing(written.text, turn.text, turn.deck.rules) if written else ""
        if empty:
            self._by.engine.note(self.name, "given" if self._last else "gate", empty)
        return None if empty and not self._last else self._reply(written)

    def varied(self, turn: Turn, line: str) -> ReplyStream:
        """A variation of a line, which is shown only when it is complete and judged."""
        asked = {"role": "user", "content": f"{turn.deck.vary}\n{line}"}
        facts = self._facts(turn, original=line)
        return self._reply((yield from hidden(self._written(turn, self._by, (asked,), facts))))

    def _reply(self, written: Written | None) -> Reply | None:
        if written is None:
            return None
        return Reply(written.text, self.name, self._by.engine.model.name, written.finish.model)


def _examples(turn: Turn) -> list[Mapping[str, str]]:
    """Exchanges as examples, which a small model imitates better than it follows instructions."""
    found: list[Mapping[str, str]] = []
    for intent in turn.deck.intents:
        if not intent.example:
            continue
        lines = turn.deck.lines[turn.character.id][intent.id]
        plain = next((line.text for line in lines if not line.when and not line.named), "")
        if not plain:
            continue
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

    def reply(self, turn: Turn) -> ReplyStream:
        """The next line for the main intent, varied if possible."""
        line = self._rules.answer(turn)
        if line is None or turn.grave or line.asks:
            # A variation could ask something else.
            return line
        return (yield from self._local.varied(turn, line.text)) or line


class CloudTier(ModelTier):
    """A large model on the network: a cheap one, or a strong one for important messages."""

    name = "cloud"

    def __init__(
        self, cheap: NamedEngine, strong: NamedEngine, gate: ChatGate, limits: Limits
    ) -> None:
        super().__init__(gate, limits)
        self._cheap = cheap
        self._strong = strong

    def _told(self, turn: Turn) -> str:
        """The persona, and the expressions by which the gate judges, which a small model would not read."""
        return "\n\n".join(filter(None, (system_prompt(turn), turn.character.voice.told)))

    def reply(self, turn: Turn) -> ReplyStream:
        """An answer to the message, and whether it may be learned."""
        importance = turn.deck.importance.of(turn.signals)
        strong = importance >= turn.deck.importance.threshold
        limits = self._limits
        messages = turn.history(limits.messages, limits.characters)
        # A strong model that does not work (a server of one's own that is off) is stood in for.
        resting = self._strong.engine.breaker.open
        by = self._strong if strong and not resting else self._cheap
        written = yield from self._written(turn, by, messages, self._facts(turn, free=True))
        if written is None:
            return None
        text, finish = written
        return Reply(
            text,
            self.name,
            by.engine.model.name,
            finish.model,
            importance=round(importance, 3),
            # Of requests that share a reply, one is enough.
            candidate=not finish.shared and _may_be_learned(turn, text),
        )


def _may_be_learned(turn: Turn, text: str) -> bool:
    """Whether an answer fits everybody who sends the same message.

    It does not if the message is grave or refers to earlier ones, or if either contains the user's
    name.
    """
    named = bool(turn.name) and (turn.name in text or turn.name in turn.text)
    return not turn.grave and not named and turn.deck.stands_alone(turn.text)
