"""The tiers of a chat that ask a model: local and cloud (see `app.kinds.ladder`)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from app.kinds.chat.gate import ChatGate, Spoken
from app.kinds.chat.turn import Pieces, Reply, Turn, system_prompt
from app.kinds.chat.vetted import RulesTier
from app.kinds.engine import Engine, hidden
from app.providers.relay import Ask, Finish


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
        lines = turn.deck.lines[turn.character.id][intent.id]
        plain = next((line.text for line in lines if not line.when and not line.named), "")
        if not intent.example or not plain:
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

    def reply(self, turn: Turn) -> Pieces:
        """The next line for the main intent, varied if possible."""
        line = self._rules.answer(turn)
        if line is None or turn.grave:
            return line
        return (yield from self._local.varied(turn, line.text)) or line


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
