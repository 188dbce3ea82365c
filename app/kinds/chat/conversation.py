"""How a conversation decides from which pool of lines a message is answered.

A character's line may ask something: the topic is then open, and the next message is read as an
answer to it (see `app.kinds.chat.hearing`). It lapses with that message in any case. What users
tell of themselves is remembered, and the character comes back to it once, not before the second
message after it, when she would otherwise not know what to say. Nothing is remembered of messages
that are about life and death, see `app.kinds.chat.care`.

What nothing narrower answers is met by its tone: what kind of news it is (good, hurt, worried, …), as a
classifier has learned it, see `app.kinds.chat.classifier`. A message of several sentences may be answered
twice: to its tone, and to what it asks.

In a row of messages that nothing answers, the third gets an offer of two topics, and the fourth a
line that says openly what the character is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple, Protocol

import xxhash

from app.kinds.chat.by_example import ByExample
from app.kinds.chat.classifier import Classifier
from app.kinds.chat.direct import EITHER, REMAINDER, SAY, SUM
from app.kinds.chat.hearing import AGAIN, MIXED, OFFER, OPENLY, Answer, Hearing, Kind, sentences_of
from app.kinds.chat.lines import LONG, RECALL, TOLD, TONE, Pools
from app.kinds.chat.memory import MOST_TOLD, Memory, Told
from app.kinds.chat.message import normalise
from app.kinds.chat.nouns import ECHO, QUOTE
from app.kinds.chat.things import Thing
from app.kinds.chat.topics import BACK, OPENER, OTHER, Topic, number

IT, OTHER_THING, OFFERS = "it", "other", ("offer_a", "offer_b")
# Messages of a row that nothing answered, after which topics are offered.
_OFFERED_AFTER = 2
# Messages after which a character comes back to what she was told.
_RECALLED_AFTER = 2
# Messages after one with a tone for which tones of the same feeling are likelier.
_GOES_ON = 1
# Characters of a message of a few words, whose tone must be clear.
_BRIEF = 14
# Characters of a message from which its last sentences count more for the tone than the whole.
_LONG = 40
# Characters of a message that is a long story, which has lines of its own.
_STORY = 80
# Characters of a message beyond which its noun may not be the point.
_TELLING = 30
# Questions in a row that follow from one another.
DEEP = 2
# Characters by which the end of a line is known again in a history.
_KNOWN_END = 6


def _size(text: str) -> float:
    """The length of a text in Japanese characters: Latin letters say less than half as much."""
    return sum(1.0 if sign > "\u2e7f" else 0.4 for sign in text)


class Heard(NamedTuple):
    """How a message was read, and from which pools it can be answered.

    `memory` includes what the message told. `topic` is the question that was open, `thing` what the
    message asks about, `tone` its tone (empty if it has none), `toned` the pools of lines for that. The first of
    `pools` that has a line answers before any intent, the first of `last` if nothing else does. A
    line of the pool `then` may follow one that asks nothing. `words` and `then_words` are for the
    slots of lines. `noun` is the message's, `quoted` what can be quoted of it; either may be said
    again before a line.
    """

    memory: Memory
    topic: Topic | None = None
    answer: Answer | None = None
    kind: Kind | None = None
    thing: Thing | None = None
    tone: str = ""
    toned: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    then: str = ""
    words: Mapping[str, str] = {}
    then_words: Mapping[str, str] = {}
    noun: str = ""
    quoted: str = ""

    @property
    def says_more(self) -> bool:
        """Whether more than a topic of hers follows."""
        return bool(self.then) and not self.then.endswith(f".{OPENER}")


class Said(Protocol):
    """A reply, as far as a conversation remembers it: lines of `pools`, the last of which `asks`."""

    @property
    def text(self) -> str:
        """What she says."""

    @property
    def pools(self) -> tuple[str, ...]:
        """The names of the pools."""

    @property
    def asks(self) -> str:
        """The id of the topic that she asks about, empty if none."""


class Talk:
    """The conversations with one character: her topics and pools of lines."""

    def __init__(
        self,
        hearing: Hearing,
        topics: Mapping[str, Topic],
        things: Sequence[Thing],
        pools: Pools,
        tones: Classifier | None,
        narrow: Mapping[str, ByExample],
    ) -> None:
        self.hearing = hearing
        self.things = things
        words = ((word, thing) for thing in things for word in thing.words)
        self._words = sorted(words, key=lambda pair: -len(pair[0]))
        self.topics = topics
        self._pools = pools
        self._by_number = {topic.key: topic for topic in topics.values()}
        self._places = {name: place % 64 for place, name in enumerate(topics)}
        self.tones = tones
        self._narrow = narrow
        self._acts = {name for name, intent in narrow.items() if intent.acts}
        self._tone_of = {number(tone): tone for tone in (tones.classes if tones else ())}
        told = [subject.what for subject in hearing.subjects]
        self._recalls = {number(what): RECALL + what for what in told if pools.get(RECALL + what)}
        self._answers = {number(what): TOLD + what for what in told if pools.get(TOLD + what)}

    def hear(
        self,
        memory: Memory,
        text: str,
        said: str,
        intents: Sequence[str],
        seed: str,
        *,
        clear: bool = True,
    ) -> Heard:
        """Read a message: `text` as `Hearing.text` gives it, `said` as the user wrote it.

        `intents` are those of the message that have lines, the main one first; `clear` is whether that
        does not give way to a tone. The same seed and messages give the same topics.
        """
        hearing, main = self.hearing, intents[0] if intents else ""
        again, last = memory.last, _hash(said)
        memory = self._with_told(memory._replace(turn=memory.turn + 1, last=last), text, intents)
        memory = memory._replace(name=_as_written(memory.name, said))
        noun = hearing.nouns.within(text) if len(text) <= _TELLING else ""
        quoted = hearing.nouns.quoted(sentences_of(text)[-1])
        heard = Heard(memory, self._by_number.get(memory.open), noun=noun, quoted=quoted)
        if main in hearing.greetings:
            return self._greeted(heard, text)
        if main not in hearing.strong:
            heard = self._in_its_light(heard, text, main, clear=clear)
        if heard.pools or heard.then:
            return heard
        if main:
            return self._going_on(heard, seed) if main in hearing.opens else heard
        return self._otherwise(heard, text, seed, again=again == last)

    def echoes(self, heard: Heard, pool: str) -> Iterator[tuple[str, str]]:
        """The pools of a first sentence that says the message's noun or words again, with these."""
        nouns = self.hearing.nouns
        if nouns.echoes(pool):
            yield from ((ECHO, nouns.called(heard.noun)), (QUOTE, heard.quoted))

    def _in_its_light(self, heard: Heard, text: str, main: str, *, clear: bool) -> Heard:
        """With the kind and the tone of a message, and the pools that count more than its intent."""
        hearing = self.hearing
        kind, besides = hearing.asked_in(text)
        heard = self._with_tone(heard._replace(kind=kind), text, besides)
        if heard.tone in hearing.gives_way.get(main, ()):
            return heard._replace(pools=heard.toned)
        ways = (self._changed, self._directly, self._answered, self._turned_back, self._about_thing)
        found = (way(heard, text, main) for way in ways)
        heard = next((way for way in found if way.pools), heard)
        if not heard.pools and main in hearing.light:
            heard = self._about_topic(heard, text)
        if heard.pools:
            return heard
        if kind and kind.asks:
            return self._asked_beside(heard, text, main if clear else "")
        return heard if clear else heard._replace(pools=heard.toned)

    def _otherwise(self, heard: Heard, text: str, seed: str, *, again: bool) -> Heard:
        """With the pools for a message without an intent."""
        memory = heard.memory
        if self.hearing.name(text):
            return heard._replace(pools=(self.hearing.greets,))
        for one in memory.told:
            if one.turn == memory.turn and one.what in self._answers:
                return heard._replace(pools=(self._answers[one.what],), words={IT: one.it})
        heard = self._about_topic(heard, text)
        heard = heard if heard.pools else self._volunteered(heard, text)
        return heard if heard.pools else self._at_a_loss(heard, text, seed, again=again)

    def replayed(self, said: Iterable[tuple[bool, str]]) -> Memory:
        """The memory after the messages of a client's history, as far as they show it.

        Each is whether the user said it, with the text that `hear` takes, or hers as it was sent.
        """
        memory = Memory()
        for of_user, text in said:
            if of_user:
                memory = self._with_told(memory._replace(turn=memory.turn + 1), text, ())
            else:
                memory = self._with_asked(memory, self.topics.get(self._asked(text)))
                memory = memory._replace(things=self._active(Heard(memory), text))
        return memory

    def _asked(self, text: str) -> str:
        """The topic about which a text of hers asks, by the line with which it ends; empty if none."""
        return next((asks for end, asks in self._asking() if text.endswith(end)), "")

    def _asking(self) -> Iterator[tuple[str, str]]:
        for pool, lines in self._pools.items():
            topic, _, answer = pool.partition(".")
            for line in lines:
                end = line.text.rpartition("}")[2]
                if (line.asks or answer == OPENER) and len(end) >= _KNOWN_END:
                    yield end, topic if answer == OPENER else line.asks

    def _with_asked(self, memory: Memory, asked: Topic | None) -> Memory:
        used = 1 << self._places[asked.id] if asked else 0
        return memory._replace(open=asked.key if asked else 0, used=memory.used | used)

    def _answered(self, heard: Heard, text: str, main: str) -> Heard:
        """With the pools for the answer to an open question, or for an offer that was taken."""
        memory, topic, hearing = heard.memory, heard.topic, self.hearing
        offered = [self._by_number[key] for key in memory.offers if key in self._by_number]
        taken = hearing.chosen([topic.offer for topic in offered], text) if offered else None
        if taken is not None:
            return self._taken(heard, offered[taken], text)
        answer = hearing.answer(topic, text) if topic else None
        if not topic or not answer or not self._counts(answer, heard, main):
            return heard
        return self._as_answer(heard, topic, answer)

    def _with_tone(self, heard: Heard, text: str, sentences: Sequence[str]) -> Heard:
        """With the tone of a message, read in the light of the one before."""
        memory, tones = heard.memory, self.tones
        if not tones:
            return heard
        read = [text, *reversed(sentences)] if len(sentences) > 1 else [text]
        if len(text) > _LONG:
            # Who tells a long story feels as its end does.
            read.append(read.pop(0))
        if heard.kind and (heard.kind.asks or heard.kind.questions):
            # A question has no tone; what was said beside it may have one.
            read = list(reversed(sentences)) if len(sentences_of(text)) > len(sentences) else []
        # Who was hurt a moment ago is hardly glad now.
        before = self._tone_of.get(memory.tone, "") if memory.since < _GOES_ON else ""
        likely = self.hearing.alike(before)
        guessed = ((part, tones.best(part, likely=likely)) for part in read)
        # A few words must be clear.
        found = [best[0] for part, best in guessed if best and (best[1] or len(part) > _BRIEF)]
        if not found and len(text) >= _STORY and self.hearing.feelings:
            return heard._replace(tone=MIXED, toned=(LONG + MIXED,))
        if not found:
            return heard._replace(memory=memory._replace(since=memory.since + 1))
        memory = memory._replace(tone=number(found[0]), since=0)
        heard = self._toned(heard._replace(memory=memory), found[0])
        if len(text) < _STORY or not self.hearing.feelings:
            return heard
        felt = {self.hearing.feelings.get(tone, MIXED) for tone in found}
        story = LONG + (felt.pop() if len(felt) == 1 else MIXED)
        return heard._replace(toned=(story, *heard.toned))

    def _toned(self, heard: Heard, tone: str) -> Heard:
        return heard._replace(tone=tone, toned=(TONE + tone,)) if tone else heard

    def _greeted(self, heard: Heard, text: str) -> Heard:
        """With what follows the greeting of a message that says more than that."""
        _, *more = sentences_of(text)
        if not more:
            return heard
        kind, besides = self.hearing.asked_in("".join(more))
        heard = self._with_tone(heard._replace(kind=kind), "".join(more), besides)
        if kind and (kind.asks or kind.questions):
            return heard._replace(then=kind.lines)
        return heard._replace(then="".join(heard.toned[:1]))

    def _directly(self, heard: Heard, text: str, main: str) -> Heard:
        """With what can be done at once: a sum, a choice, to say something after the user."""
        for said in dict.fromkeys((text, *sentences_of(text))):
            if (found := self._done(heard, said, main)).pools:
                return found
        return heard

    def _done(self, heard: Heard, text: str, main: str) -> Heard:
        direct = self.hearing.direct
        if found := direct.sum(text):
            words = {IT: found.result, OTHER_THING: found.remainder}
            return heard._replace(pools=(REMAINDER if found.remainder else SUM,), words=words)
        if things := direct.things(text):
            chosen = self._chosen(things)
            others = [thing for thing in things if thing != chosen]
            return heard._replace(pools=(EITHER,), words={IT: chosen, OTHER_THING: others[0]})
        said = direct.said(text)
        return (
            heard
            if said is None or (main and not said)
            else heard._replace(pools=(SAY,), words={IT: said})
        )

    def _chosen(self, things: Sequence[str]) -> str:
        """One of the things: what her world has, but not what she avoids; always the same of the same."""
        own = {thing: next(iter(self._named(thing)), None) for thing in things}
        kept = [thing for thing, found in own.items() if not (found and found.avoids)] or things
        best = sorted([thing for thing in kept if own[thing]] or kept)
        return best[number("\n".join([*best, *sorted(self.topics)])) % len(best)]

    def _asked_beside(self, heard: Heard, text: str, main: str) -> Heard:
        """With the answer to a question or request of any message, and to what it says beside it."""
        assert heard.kind
        hearing, pool = self.hearing, heard.kind.lines
        if main in self._narrow and (main in self._acts or len(sentences_of(text)) == 1):
            # What is asked is known better than by its kind.
            return heard
        if main and main not in hearing.weak | hearing.light | hearing.opens:
            return heard._replace(then=pool)
        if heard.tone:
            return heard._replace(pools=heard.toned, then=pool)
        return heard._replace(pools=(pool,))

    def _changed(self, heard: Heard, text: str, main: str) -> Heard:
        """With a topic that the user wants to talk about."""
        topics = [topic for topic in self.topics.values() if topic.opens and topic.offer]
        if main or not topics or not self.hearing.changes(text):
            return heard
        taken = self.hearing.chosen([topic.offer for topic in topics], text)
        return heard if taken is None else self._taken(heard, topics[taken], text)

    def _turned_back(self, heard: Heard, text: str, _main: str) -> Heard:
        """With her own answer, if the user tells something and asks the same of her."""
        told = self.hearing.volunteered(text) if self.hearing.turns_back(text) else ()
        expects = {name for name, _ in told}
        topic = next((t for t in self.topics.values() if t.opens and t.expects in expects), None)
        return self._as_answer(heard, topic, Answer(BACK)) if topic else heard

    def _taken(self, heard: Heard, topic: Topic, text: str) -> Heard:
        """With a topic that the user has chosen, and perhaps told something of already."""
        said = self.hearing.told_with_it(topic, text)
        if said:
            return self._as_answer(heard, topic, said)
        return heard._replace(pools=(topic.pool(OPENER),))

    def _about_thing(self, heard: Heard, text: str, main: str) -> Heard:
        """With the pools of a thing of hers that the message asks about.

        What goes on about a thing without naming it says nothing else that has lines.
        """
        hearing, active = self.hearing, heard.memory.things
        asks_else = heard.kind and (heard.kind.fact or heard.kind.asks or _size(text) > _LONG // 2)
        if asks_else and not hearing.to_her(text):
            # Who asks something of any message, or asks at length, tells of things of their own.
            return heard
        # What does not go on about her things must ask plainly.
        goes_on = heard.kind is None or heard.kind.follows
        asks = hearing.asks(text)
        named = self._named(text)
        if not (asks or hearing.to_her(text)):
            # A story may have a window in it that is not hers.
            named = [t for t in named if t.key in active and goes_on and hearing.asked(text)]
        hers = hearing.to_her(text) or (heard.kind is not None and heard.kind.follows)
        found = [t for t in named if not t.shy or t.key in active or (asks and hers)]
        if (
            not (found or (main and main not in hearing.light))
            and goes_on
            and hearing.follows(text)
        ):
            found = [thing for thing in self.things if thing.key in active]
        if not found:
            return heard
        return heard._replace(thing=found[0], pools=found[0].pools(hearing.asked(text)))

    def _named(self, text: str) -> list[Thing]:
        """The things that a text names, those with the longest words first."""
        return list(dict.fromkeys(thing for word, thing in self._words if word in text))

    def _about_topic(self, heard: Heard, text: str) -> Heard:
        """With her own answer to a question of one of her topics."""
        if heard.kind is None or not heard.kind.about_her:
            return heard
        for topic in self.topics.values():
            if topic.about and BACK in topic.answers and topic.about.search(text):
                return self._as_answer(heard, topic, Answer(BACK))
        return heard

    def _volunteered(self, heard: Heard, text: str) -> Heard:
        """With the lines of a topic that the user tells of without being asked."""
        if heard.kind is not None and not heard.kind.answers:
            return heard
        for expects, it in self.hearing.volunteered(text):
            for topic in self.topics.values():
                new = topic.opens and self._fresh(heard.memory, topic.id)
                if new and topic.expects == expects:
                    return self._as_answer(heard, topic, Answer(expects, it))
        return heard

    def _as_answer(self, heard: Heard, topic: Topic, answer: Answer) -> Heard:
        """With the pools for an answer to a topic's question, as if it had been asked."""
        kinds = [kind for kind in (answer.kind, OTHER) if kind in topic.answers]
        memory = heard.memory._replace(used=heard.memory.used | 1 << self._places[topic.id])
        return heard._replace(
            memory=memory,
            topic=topic,
            answer=answer,
            pools=tuple(topic.pool(kind) for kind in kinds),
            words={IT: answer.it},
        )

    def _counts(self, answer: Answer, heard: Heard, main: str) -> bool:
        """Whether an answer counts: an unsure one gives way to most of what a message can say."""
        if answer.sure:
            return True
        if main:
            return main in self.hearing.weak and bool(answer.it)
        told = any(one.turn == heard.memory.turn for one in heard.memory.told)
        return not told and (heard.kind is None or heard.kind.answers)

    def _at_a_loss(self, heard: Heard, text: str, seed: str, *, again: bool) -> Heard:
        """With the pools for a message that nothing answers."""
        memory, kind, topic = heard.memory, heard.kind, heard.topic
        own = [kind.lines] if kind else []
        noun = self.hearing.noun_of(kind, text)
        heard = heard._replace(last=tuple(own), words={IT: noun})
        if again and not (kind and kind.answers):
            return heard._replace(last=(AGAIN, *own))
        if heard.tone and (kind is None or kind.vague or kind.questions or len(text) >= _STORY):
            # What is asked comes after the answer to what was told beside it.
            asked = kind.lines if kind and kind.questions else ""
            return heard._replace(last=(*heard.toned, *own), then=asked)
        if kind and kind.listens:
            return heard
        if memory.fallbacks >= _OFFERED_AFTER:
            return self._offering(heard, seed)
        if told := not own and self._to_recall(memory):
            heard = heard._replace(last=(self._recalls[told.what],), words={IT: told.it})
        elif not own and topic and OTHER in topic.answers:
            heard = heard._replace(last=(topic.pool(OTHER),))
        return heard

    def _offering(self, heard: Heard, seed: str) -> Heard:
        """With the offer of two topics, once; then with what the character is; then with a topic."""
        offers = [t.offer for t in self._unused(heard.memory, seed) if t.offer][: len(OFFERS)]
        if heard.memory.fallbacks == _OFFERED_AFTER + 1:
            return heard._replace(last=(OPENLY,))
        if heard.memory.offered or len(offers) < len(OFFERS):
            return self._going_on(heard, seed)
        return heard._replace(last=(OFFER,), words=dict(zip(OFFERS, offers, strict=True)))

    def _going_on(self, heard: Heard, seed: str) -> Heard:
        """With what she says by herself: she comes back to what was told, or opens a topic."""
        if told := self._to_recall(heard.memory):
            return heard._replace(then=self._recalls[told.what], then_words={IT: told.it})
        unused = self._unused(heard.memory, seed)
        return heard._replace(then=unused[0].pool(OPENER)) if unused else heard

    def _to_recall(self, memory: Memory) -> Told | None:
        for one in memory.told:
            ripe = not one.recalled and memory.turn - one.turn >= _RECALLED_AFTER
            if ripe and one.what in self._recalls:
                return one
        return None

    def _unused(self, memory: Memory, seed: str) -> list[Topic]:
        """The topics that she can open in this conversation, in its order."""
        topics = list(self.topics.values())
        Random(seed).shuffle(topics)
        return [topic for topic in topics if topic.opens and self._fresh(memory, topic.id)]

    def _fresh(self, memory: Memory, topic: str) -> bool:
        """Whether a topic is new; one that nothing opens, as "and then?", is never used up."""
        return not self.topics[topic].opens or not memory.used >> self._places[topic] & 1

    def may_ask(self, heard: Heard, topic: str) -> bool:
        """Whether a line may lead to a topic now: a new one, or the open one once more.

        Not after too many questions, and not before she says something else.
        """
        deep = heard.answer is not None and heard.memory.depth >= DEEP
        same = heard.topic is not None and heard.topic.id == topic
        return (same or self._fresh(heard.memory, topic)) and not deep and not heard.says_more

    def _with_told(self, memory: Memory, text: str, intents: Iterable[str]) -> Memory:
        told = {one.what: one for one in memory.told}
        for what, it in self.hearing.told(text, frozenset(intents)):
            key = number(what)
            if key not in told:
                told[key] = Told(key, memory.turn, False, it)
            elif it and not told[key].it:
                told[key] = told[key]._replace(it=it)
        name = self.hearing.name(text) or memory.name
        return memory._replace(name=name, told=tuple(told.values())[-MOST_TOLD:])

    def _active(self, heard: Heard, text: str) -> tuple[int, int]:
        """The numbers of the things that a line of hers is about: the one asked for, those named."""
        keys = [heard.thing.key] if heard.thing else []
        named = [thing.key for thing in self._named(text) if thing.key not in keys]
        one, two, *_ = *keys, *named, 0, 0
        return one, two

    def told(self, memory: Memory) -> dict[str, str]:
        """What is remembered: what was told, with its noun."""
        names = {number(subject.what): subject.what for subject in self.hearing.subjects}
        return {names[one.what]: one.it for one in memory.told if one.what in names}

    def after(self, heard: Heard, reply: Said, *, fallback: bool) -> Memory:
        """The memory after a reply."""
        pools, asks = reply.pools, reply.asks
        memory, asked = heard.memory, self.topics.get(asks)
        listened = bool(heard.tone) or (heard.kind is not None and heard.kind.listens)
        listened = listened or any(pool in self._narrow for pool in pools)
        words = [heard.words[slot] for slot in OFFERS] if OFFER in pools else []
        offered = [next(t for t in self.topics.values() if t.offer == word) for word in words]
        for topic in offered:
            memory = self._with_asked(memory, topic)
        return self._with_asked(memory, asked)._replace(
            depth=(memory.depth if heard.answer else 0) + 1 if asked else 0,
            fallbacks=memory.fallbacks + (not listened) if fallback else 0,
            offers=(offered[0].key, offered[1].key) if offered else (0, 0),
            offered=memory.offered or bool(offered),
            things=self._active(heard, reply.text),
            told=tuple(
                one._replace(recalled=one.recalled or self._recalls.get(one.what) in pools)
                for one in memory.told
            ),
        )


def _as_written(name: str, said: str) -> str:
    """A name with the letters that the user wrote: what is read has no capitals."""
    at = unicodedata.normalize("NFKC", said).lower().find(name)
    found = unicodedata.normalize("NFKC", said)[at : at + len(name)]
    return found if at >= 0 and found.lower() == name else name


def _hash(said: str) -> int:
    return xxhash.xxh3_64_intdigest(normalise(said).encode())
