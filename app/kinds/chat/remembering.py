"""What a conversation remembers: how messages and replies change it, and what is used of it later.

What users tell of themselves is remembered, and the character comes back to it once, not before the
second message after it, when she would otherwise not know what to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

from app.kinds.chat.by_example import ByExample
from app.kinds.chat.heard import OFFERS, Heard
from app.kinds.chat.hearing import OFFER, Hearing
from app.kinds.chat.lines import RECALL, TOLD, Pools
from app.kinds.chat.memory import MOST_TOLD, NOUN_BYTES, Memory, Told
from app.kinds.chat.things import Things
from app.kinds.chat.topics import OPENER, Topic, number
from app.normal_form import nfkc

# Messages after which a character comes back to what she was told.
_RECALLED_AFTER = 2
# Characters by which the end of a line is known again in a history.
_KNOWN_END = 6


class Remembering:
    """The memory of the conversations with one character: her topics and pools of lines."""

    def __init__(
        self,
        hearing: Hearing,
        topics: Mapping[str, Topic],
        things: Things,
        pools: Pools,
        narrow: Mapping[str, ByExample],
    ) -> None:
        self.hearing = hearing
        self.topics = topics
        self.things = things
        self._pools = pools
        self.narrow = narrow
        self._by_number = {topic.key: topic for topic in topics.values()}
        self._places = {name: place % 64 for place, name in enumerate(topics)}
        told = [subject.what for subject in hearing.subjects]
        self._recalls = {number(what): RECALL + what for what in told if pools.get(RECALL + what)}
        self._answers = {number(what): TOLD + what for what in told if pools.get(TOLD + what)}

    def told_in(self, memory: Memory, text: str, intents: Iterable[str]) -> Memory:
        """The memory after a message of the user's, with what the user told in it."""
        memory = memory._replace(turn=memory.turn + 1)
        told = {one.what: one for one in memory.told}
        for what, it in self.hearing.told(text, frozenset(intents)):
            key = number(what)
            if key not in told:
                told[key] = Told(key, memory.turn, False, it)
            elif it and not told[key].it:
                told[key] = told[key]._replace(it=it)
        name = self.hearing.name(text) or memory.name
        return memory._replace(name=name, told=tuple(told.values())[-MOST_TOLD:])

    def after(
        self, heard: Heard, text: str, pools: Sequence[str], asks: str, *, fallback: bool
    ) -> Memory:
        """The memory after a reply of lines of `pools`, which asks about the topic `asks`, if any."""
        memory, asked = heard.memory, self.topics.get(asks)
        listened = bool(heard.tone) or (heard.kind is not None and heard.kind.listens)
        listened = listened or any(pool in self.narrow for pool in pools)
        words = [heard.words[slot] for slot in OFFERS] if OFFER in pools else []
        offered = [next(t for t in self.topics.values() if t.offer == word) for word in words]
        for topic in offered:
            memory = self.with_used(memory, topic)
        return self._asked(memory, asked)._replace(
            depth=(memory.depth if heard.answer else 0) + 1 if asked else 0,
            fallbacks=memory.fallbacks + (not listened) if fallback else 0,
            offers=(offered[0].key, offered[1].key) if offered else (0, 0),
            offered=memory.offered or bool(offered),
            things=self._active(heard, text),
            told=tuple(
                one._replace(recalled=one.recalled or self._recalls.get(one.what) in pools)
                for one in memory.told
            ),
        )

    def replayed(self, said: Iterable[tuple[bool, str]]) -> Memory:
        """The memory after the messages of a client's history, as far as they show it.

        Each is whether the user said it, with the text that `Talk.hear` takes, or hers as it was sent.
        """
        memory = Memory()
        for of_user, text in said:
            if of_user:
                memory = self.told_in(memory, text, ())
            else:
                asked = next((asks for end, asks in self._asking() if text.endswith(end)), "")
                memory = self._asked(memory, self.topics.get(asked))
                memory = memory._replace(things=self._active(Heard(memory), text))
        return memory

    def _asking(self) -> Iterator[tuple[str, str]]:
        """The ends of lines that ask about a topic, each with the topic's id."""
        for pool, lines in self._pools.items():
            topic, _, answer = pool.partition(".")
            for line in lines if answer == OPENER else lines.asking:
                end = line.text.rpartition("}")[2]
                if len(end) >= _KNOWN_END:
                    yield end, topic if answer == OPENER else line.asks

    def _asked(self, memory: Memory, topic: Topic | None) -> Memory:
        memory = memory._replace(open=topic.key if topic else 0)
        return self.with_used(memory, topic) if topic else memory

    def with_used(self, memory: Memory, topic: Topic) -> Memory:
        """With a topic marked as used."""
        return memory._replace(used=memory.used | 1 << self._places[topic.id])

    def _active(self, heard: Heard, text: str) -> tuple[int, int]:
        """The numbers of the things that a line of hers is about: the one asked for, those named."""
        keys = [heard.thing.key] if heard.thing else []
        named = [thing.key for thing in self.things.named(text) if thing.key not in keys]
        one, two, *_ = *keys, *named, 0, 0
        return one, two

    def open(self, memory: Memory) -> Topic | None:
        """The topic whose question is open."""
        return self._by_number.get(memory.open)

    def offered(self, memory: Memory) -> list[Topic]:
        """The topics that the last line offered."""
        return [self._by_number[key] for key in memory.offers if key in self._by_number]

    def unused(self, memory: Memory, seed: str) -> list[Topic]:
        """The topics that she can open in this conversation, in its order."""
        topics = list(self.topics.values())
        Random(seed).shuffle(topics)
        return [topic for topic in topics if topic.opens and self.is_fresh(memory, topic.id)]

    def is_fresh(self, memory: Memory, topic: str) -> bool:
        """Whether a topic is new; one that nothing opens, as "and then?", is never used up."""
        return not self.topics[topic].opens or not memory.used >> self._places[topic] & 1

    def just_told(self, memory: Memory) -> tuple[str, str] | None:
        """The pool that answers what the last message told, and its noun."""
        for one in memory.told:
            if one.turn == memory.turn and one.what in self._answers:
                return self._answers[one.what], one.it
        return None

    def to_recall(self, memory: Memory) -> tuple[str, str] | None:
        """The pool that comes back to something told a while ago, and its noun."""
        for one in memory.told:
            ripe = not one.recalled and memory.turn - one.turn >= _RECALLED_AFTER
            if ripe and one.what in self._recalls:
                return self._recalls[one.what], one.it
        return None

    def told(self, memory: Memory) -> dict[str, str]:
        """What is remembered: what was told, with its noun."""
        names = {number(subject.what): subject.what for subject in self.hearing.subjects}
        return {names[one.what]: one.it for one in memory.told if one.what in names}


def as_written(name: str, said: str) -> str:
    """A name with the letters that the user wrote: messages are searched in small letters.

    In small letters if those are too long to be remembered.
    """
    if not name:
        return name
    wide = nfkc(said)
    at = wide.lower().find(name)
    found = wide[at : at + len(name)]
    fits = at >= 0 and found.lower() == name and len(found.encode()) <= NOUN_BYTES
    return found if fits else name
