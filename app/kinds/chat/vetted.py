"""The tiers that answer with lines of the deck or of the store, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson

from app.kinds.chat.care import FOLLOWING, Step
from app.kinds.chat.gate import ChatGate
from app.kinds.chat.heard import IT, Heard
from app.kinds.chat.lines import ANY, FALLBACK, PLAIN, Line, filled
from app.kinds.chat.message import normalise
from app.kinds.chat.noun_groups import NOUN
from app.kinds.chat.nouns import ECHO
from app.kinds.chat.rotation import LINES, next_line
from app.kinds.chat.things import THING
from app.kinds.chat.topics import OPENER, number
from app.kinds.chat.turn import Reply, ReplyStream, Turn
from app.ledger.state import KeyedValues
from app.store.index import IndexSource

DECK = "deck"


class LearnedTier:
    """Learned answers to the same message, in this or another spelling."""

    name = "learned"
    slow = False

    def __init__(self, index: IndexSource) -> None:
        self._index = index

    def reply(self, turn: Turn) -> ReplyStream:
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

    def __init__(self, index: IndexSource, state: KeyedValues, gate: ChatGate) -> None:
        self._index = index
        self._state = state
        self._gate = gate

    def reply(self, turn: Turn) -> ReplyStream:
        """The next line for the main intent."""
        return self.answer(turn)
        yield

    def answer(self, turn: Turn) -> Reply | None:
        """The same, without a generator; None if nothing was recognised, or there is no line."""
        own = turn.intent if not turn.declined else None
        pools = (*(turn.heard.pools if turn.heard else ()), own)
        replies = (self.next(turn, pool, self.name) for pool in pools if pool)
        reply = next(filter(None, replies), None)
        return self.continued(turn, reply) if reply else None

    def continued(self, turn: Turn, reply: Reply) -> Reply:
        """The reply and what the character says unasked, unless the reply already asks something."""
        heard, talk = turn.heard, turn.talk
        if not heard or not talk or not heard.then or reply.asks or talk.hearing.asks(reply.text):
            return reply
        more = self.next(replace(turn, heard=_said(heard, reply.text)), heard.then, "")
        if more is None:
            return reply
        text = one_after_another([reply.text, more.text], turn.deck.rules.script)
        return reply._replace(text=text, pools=(*reply.pools, *more.pools), asks=more.asks)

    def careful(self, turn: Turn, step: Step) -> Reply:
        """The answer to a user who may be in danger: vetted lines, and who can be called."""
        care = turn.deck.care
        pools = (step, *FOLLOWING[step]) if care else (step,)
        said = (self.next(turn, pool, self.name) for pool in pools)
        parts = [reply for reply in said if reply]
        text = one_after_another([part.text for part in parts], turn.deck.rules.script)
        numbers = (
            care.spelled(whole=step is Step.CRISIS) if care and step is not Step.UNEASY else ""
        )
        return parts[0]._replace(text=f"{text}\n{numbers}".rstrip())

    def next(self, turn: Turn, pool: str, tier: str) -> Reply | None:
        """The next line of a pool, in the conversation's rotation; None if no line fits.

        Where that would be a line that fits much, the point of the message is said again instead.
        """
        if retold := self._retold(turn, pool, tier):
            return retold
        lines = self._lines(turn, pool)
        last = next((m["content"] for m in reversed(turn.messages) if m["role"] == "assistant"), "")
        fitting = self._fitting(turn, pool, [line for line, _, _ in lines])
        if not fitting:
            return None
        words = turn.words
        fresh = [i for i in fitting if filled(lines[i][0].text, words) not in last] or fitting
        key = f"{turn.conversation} {turn.deck.id} {turn.character.id} {pool}"
        topic, _, answer = pool.partition(".")
        if answer and not topic.startswith(THING):
            # A topic comes once in a conversation, so that there is nothing to rotate.
            chosen = fresh[number(key) % len(fresh)]
        else:
            chosen = self._state.change(key, lambda row: next_line(row, len(lines), fresh, key))
        line, source, model = lines[chosen]
        text = (_lead(turn, line.text) if pool == turn.intent else "") + line.text
        asks = topic if answer == OPENER else line.asks
        text, pools = self._echoed(turn, pool, filled(text, words))
        return Reply(text, tier, source, model, pools=pools, asks=asks)

    def _retold(self, turn: Turn, pool: str, tier: str) -> Reply | None:
        """The point of the message, said again in place of a line of `pool`; None if that is not done."""
        heard, talk = turn.heard, turn.talk
        retelling = talk.hearing.retelling if talk else None
        if not (heard and heard.retold and retelling and pool in retelling.instead_of):
            return None
        said = replace(turn, heard=heard._replace(words={IT: heard.retold}, noun="", retold=""))
        found = self.next(said, retelling.pool(heard.retold), tier)
        return found._replace(pools=(*found.pools, pool)) if found else None

    def _echoed(self, turn: Turn, pool: str, text: str) -> tuple[str, tuple[str, ...]]:
        """A line and its pools. If it has not the message's noun, a sentence that says it again precedes it."""
        heard, talk = turn.heard, turn.talk
        noun = talk.echo(heard, pool) if heard and talk else ""
        if heard and noun and noun not in text:
            said = replace(turn, heard=heard._replace(words={IT: noun}))
            if first := self.next(said, ECHO, ""):
                both = one_after_another([first.text, text], turn.deck.rules.script)
                return both, (ECHO, pool)
        return text, (pool,)

    def _fitting(self, turn: Turn, pool: str, lines: Sequence[Line]) -> list[int]:
        """The places of the lines that fit; if any has the noun of the message, only such.

        Those about a group of nouns need not have it if the character can say it before them.
        """
        fitting = [i for i, line in enumerate(lines) if line.fits(turn.moment, turn.words)]
        heard, talk = turn.heard, turn.talk
        if not heard or not talk:
            return fitting
        quiet = [
            i for i in fitting if not lines[i].asks or talk.may_ask(heard, lines[i].asks)
        ] or fitting
        if heard.says_more:
            # A question in the first part would cut off what follows it.
            quiet = [i for i in quiet if not talk.hearing.asks(lines[i].text)] or quiet
        reflecting = [i for i in quiet if IT in lines[i].slots]
        vetted = [i for i in reflecting if self._passes(turn, lines[i])]
        others = [i for i in quiet if i not in reflecting]
        before = pool.startswith(NOUN) and turn.deck.lines[turn.character.id].get(ECHO)
        return vetted + others if before else vetted or others

    def _passes(self, turn: Turn, line: Line) -> bool:
        """Whether a line may be said with the user's words in it."""
        text = filled(line.text, turn.words)
        return next(iter(self._gate.vetted(turn.character, text)), None) is None

    def _lines(self, turn: Turn, pool: str) -> list[tuple[Line, str, str]]:
        """The lines of a pool with their source and model; for an intent also cooked ones."""
        lines = [(line, DECK, DECK) for line in turn.deck.lines[turn.character.id].get(pool, ())]
        index = self._index()
        if index is None or turn.grave or pool not in turn.deck.intent_by_id or not lines:
            return lines
        mood = turn.deck.mood(turn.hits, turn.main) if turn.main else PLAIN
        for of_mood in dict.fromkeys((mood, PLAIN)):
            for time in (turn.moment.time, ANY):
                query = turn.deck.line_query(turn.character.id, pool, of_mood, time)
                for body in index.variants(bytes.fromhex(query.key), LINES - len(lines)):
                    cooked = orjson.loads(body)
                    lines.append((Line(cooked["text"]), cooked["source"], cooked["model"]))
        return lines


def _said(heard: Heard, text: str) -> Heard:
    """For a line after a text: the words of that line, and no noun that the text already has."""
    noun, retold = ("" if word and word in text else word for word in (heard.noun, heard.retold))
    return heard._replace(words=heard.then_words, noun=noun, retold=retold)


def one_after_another(sentences: Sequence[str], script: str) -> str:
    """Lines as one text."""
    if script != "ja":
        return " ".join(sentences)
    # Lines may lack a closing mark, which they need before another sentence.
    ended = [text if text[-1] in "。！？!?" else f"{text}。" for text in sentences[:-1]]
    return "".join([*ended, sentences[-1]])


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

    def reply(self, turn: Turn) -> ReplyStream:
        """The next such line."""
        return self.next(turn)
        yield

    def next(self, turn: Turn) -> Reply:
        """The same, without a generator."""
        pools = (turn.declined, *(turn.heard.last if turn.heard else ()), FALLBACK)
        replies = (self._rules.next(turn, pool, self.name) for pool in pools if pool)
        return self._rules.continued(turn, next(reply for reply in replies if reply))
