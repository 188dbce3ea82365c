"""The tiers that answer with lines of the deck or of the store, without a model."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from app.kinds.chat.care import FOLLOWING, Step
from app.kinds.chat.lines import ANY, FALLBACK, NAME_SLOT, PLAIN, Line
from app.kinds.chat.message import normalise
from app.kinds.chat.rotation import LINES, next_line
from app.kinds.chat.turn import Pieces, Reply, Turn
from app.ledger.state import KeyedValues
from app.store.index import IndexSource

DECK = "deck"


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
        near = normalise(stored.get("asked", "")) != normalise(turn.text)
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
        return self.answer(turn)
        yield

    def answer(self, turn: Turn) -> Reply | None:
        """The same, without a generator; None if there is no intent, or no line for it."""
        if turn.intent is None or not turn.deck.lines[turn.character.id][turn.intent]:
            return None
        return self.next(turn, turn.intent, self.name)

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
