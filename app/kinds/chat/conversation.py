"""How a conversation decides from which pool of lines a message is answered.

A character's line may ask something: the topic is then open, and the next message is read as an
answer to it (see `app.kinds.chat.answers`). It lapses with that message in any case. Nothing is
remembered of messages that are about life and death, see `app.kinds.chat.care`.

A message of several sentences may be answered twice: to its tone, and to what it asks. In a row of
messages that nothing answers, the third gets an offer of two topics, and the fourth a line that
says openly what the character is.
"""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

from app.kinds.chat.answers import TopicAnswer
from app.kinds.chat.classifier import Classifier
from app.kinds.chat.direct import EITHER, REMAINDER, SAY, SUM
from app.kinds.chat.heard import IT, OFFERS, OTHER_THING, Heard
from app.kinds.chat.hearing import AGAIN, GO_ON, OFFER, OPENLY
from app.kinds.chat.memory import Memory
from app.kinds.chat.message import normalise
from app.kinds.chat.message_kinds import MessageKind, sentences_of
from app.kinds.chat.noun_groups import NounGroups
from app.kinds.chat.remembering import Remembering, as_written
from app.kinds.chat.tone import STORY, Tones
from app.kinds.chat.topics import BACK, OPENER, OTHER, Topic, number

# Messages of a row that nothing answered, after which topics are offered.
_OFFERED_AFTER = 2
# The length of a message from which a question in it is about something of the user's own.
_AT_LENGTH = 20
# The length of a message from which it can be a story.
_STORY = 10
# Questions in a row that follow from one another.
DEEP = 2


def _size(text: str) -> float:
    """The length of a text in Japanese characters: Latin letters say less than half as much."""
    return sum(1.0 if sign > "\u2e7f" else 0.4 for sign in text)


class Talk:
    """The conversations with one character: her topics and pools of lines.

    A method whose docstring begins with "With" returns the Heard that it is given with that added.
    """

    def __init__(
        self, remembering: Remembering, tones: Classifier | None, noun_groups: NounGroups
    ) -> None:
        self.hearing = remembering.hearing
        self.things = remembering.things
        self.topics = remembering.topics
        self.tones = tones
        self.remembering = remembering
        self._tones = Tones(self.hearing, tones) if tones else None
        self._noun_groups = noun_groups
        self._narrow = remembering.narrow

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

        `intents` are those of the message that have lines, the main one first; if that is not `clear`,
        the tone of the message counts more. The same seed and messages give the same topics.
        """
        hearing, main = self.hearing, intents[0] if intents else ""
        again, telling, last = (
            memory.last,
            memory.telling,
            xxhash.xxh3_64_intdigest(normalise(said).encode()),
        )
        memory = self.remembering.told_in(memory._replace(last=last), text, intents)
        memory = memory._replace(
            name=as_written(memory.name, said), telling=self._tells(text, main)
        )
        noun = hearing.nouns.told(text)
        heard = Heard(memory, self.remembering.open(memory), noun=noun)
        if main in hearing.greetings:
            return self._greeted(heard, text)
        if main not in hearing.strong:
            heard = self._before_intent(heard, text, main, clear=clear)
        if heard.pools or heard.then:
            return heard
        if main in hearing.nods and telling:
            return heard._replace(pools=(GO_ON,))
        if main:
            return self._going_on(heard, seed) if main in hearing.opens else heard
        return self._otherwise(heard, text, seed, again=again == last)

    def echo(self, heard: Heard, pool: str) -> str:
        """The message's noun as it is said before a line of `pool`; empty if it is not."""
        nouns = self.hearing.nouns
        return nouns.called(heard.noun) if nouns.echoes(pool) else ""

    def may_ask(self, heard: Heard, topic: str) -> bool:
        """Whether a line may lead to a topic now: a new one, or the open one once more.

        Not after too many questions, and not before she says something else.
        """
        deep = heard.answer is not None and heard.memory.depth >= DEEP
        same = heard.topic is not None and heard.topic.id == topic
        fresh = same or self.remembering.is_fresh(heard.memory, topic)
        return fresh and not deep and not heard.says_more

    def _before_intent(self, heard: Heard, text: str, main: str, *, clear: bool) -> Heard:
        """With the kind and the tone of a message, and the pools that are tried before its intent."""
        hearing = self.hearing
        heard, kind = self._with_kind(heard, text)
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
            return self._asked_besides(heard, text, main if clear else "")
        return heard if clear else heard._replace(pools=heard.toned)

    def _with_kind(self, heard: Heard, text: str) -> tuple[Heard, MessageKind | None]:
        """With the kind and the tone of a text; and the kind."""
        kind, besides = self.hearing.kinds.asked_in(text)
        heard = heard._replace(kind=kind)
        return (self._tones.heard(heard, text, besides) if self._tones else heard), kind

    def _otherwise(self, heard: Heard, text: str, seed: str, *, again: bool) -> Heard:
        """With the pools for a message without an intent."""
        if self.hearing.name(text):
            return heard._replace(pools=(self.hearing.greets,))
        if told := self.remembering.just_told(heard.memory):
            pool, it = told
            return heard._replace(pools=(pool,), words={IT: it})
        heard = self._about_topic(heard, text)
        heard = heard if heard.pools else self._volunteered(heard, text)
        return heard if heard.pools else self._at_a_loss(heard, text, seed, again=again)

    def _answered(self, heard: Heard, text: str, main: str) -> Heard:
        """With the pools for the answer to an open question, or for an offer that was taken."""
        topic, answers = heard.topic, self.hearing.answers
        offered = self.remembering.offered(heard.memory)
        taken = answers.chosen([topic.offer for topic in offered], text) if offered else None
        if taken is not None:
            return self._taken(heard, offered[taken], text)
        answer = answers.to(topic, text) if topic else None
        if not topic or not answer or not self._counts(answer, heard, text, main):
            return heard
        return self._as_answer(heard, topic, answer)

    def _tells(self, text: str, main: str) -> bool:
        """Whether a message tells something of the user's own, of which there may be more."""
        narrow = self._narrow.get(main)
        told = not main or (narrow is not None and not narrow.acts)
        return told and len(text) >= _STORY and "?" not in text and not self.hearing.asks(text)

    def _greeted(self, heard: Heard, text: str) -> Heard:
        """With what follows the greeting of a message that says more than that."""
        _, *more = sentences_of(text)
        if not more:
            return heard
        heard, kind = self._with_kind(heard, "".join(more))
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
        """The thing that she chooses: if possible one of her world, and none that she avoids.

        The same things give the same choice.
        """
        own = {thing: next(iter(self.things.named(thing)), None) for thing in things}
        kept = [thing for thing, found in own.items() if not (found and found.avoids)] or things
        best = sorted([thing for thing in kept if own[thing]] or kept)
        return best[number("\n".join([*best, *sorted(self.topics)])) % len(best)]

    def _asked_besides(self, heard: Heard, text: str, main: str) -> Heard:
        """With the lines for what a message asks or requests, and for what else it says."""
        assert heard.kind
        hearing, pool = self.hearing, heard.kind.lines
        narrow = self._narrow.get(main)
        if narrow and (narrow.acts or len(sentences_of(text)) == 1):
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
        if main or not topics or not self.hearing.answers.changes(text):
            return heard
        taken = self.hearing.answers.chosen([topic.offer for topic in topics], text)
        return heard if taken is None else self._taken(heard, topics[taken], text)

    def _turned_back(self, heard: Heard, text: str, _main: str) -> Heard:
        """With her own answer, if the user tells something and asks the same of her."""
        answers = self.hearing.answers
        told = answers.volunteered(text) if answers.turns_back(text) else ()
        expects = {name for name, _ in told}
        topic = next((t for t in self.topics.values() if t.opens and t.expects in expects), None)
        return self._as_answer(heard, topic, TopicAnswer(BACK)) if topic else heard

    def _taken(self, heard: Heard, topic: Topic, text: str) -> Heard:
        """With a topic that the user has chosen, and may have said something about already."""
        said = self.hearing.answers.after_offer(topic, text)
        if said:
            return self._as_answer(heard, topic, said)
        return heard._replace(pools=(topic.pool(OPENER),))

    def _about_thing(self, heard: Heard, text: str, main: str) -> Heard:
        """With the pools of a thing of hers that the message asks about.

        A message that does not name the thing goes on about it only if no intent answers it.
        """
        hearing, active = self.hearing, heard.memory.things
        asks_else = heard.kind and (heard.kind.fact or heard.kind.asks or _size(text) > _AT_LENGTH)
        if asks_else and not hearing.to_her(text):
            # Who asks something of any message, or asks at length, tells of things of their own.
            return heard
        # What does not go on about her things must ask plainly.
        goes_on = heard.kind is None or heard.kind.follows
        asks = hearing.asks(text)
        named = self.things.named(text)
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
            found = [thing for thing in self.things.all if thing.key in active]
        if not found:
            return heard
        return heard._replace(thing=found[0], pools=found[0].pools(hearing.asked(text)))

    def _about_topic(self, heard: Heard, text: str) -> Heard:
        """With her own answer to a question of one of her topics."""
        if heard.kind is None or not heard.kind.about_her:
            return heard
        for topic in self.topics.values():
            if topic.about and BACK in topic.answers and topic.about.search(text):
                return self._as_answer(heard, topic, TopicAnswer(BACK))
        return heard

    def _volunteered(self, heard: Heard, text: str) -> Heard:
        """With the lines of a topic that the user tells of without being asked."""
        if heard.kind is not None and not heard.kind.answers:
            return heard
        for expects, it in self.hearing.answers.volunteered(text):
            for topic in self.topics.values():
                new = topic.opens and self.remembering.is_fresh(heard.memory, topic.id)
                if new and topic.expects == expects:
                    return self._as_answer(heard, topic, TopicAnswer(expects, it))
        return heard

    def _as_answer(self, heard: Heard, topic: Topic, answer: TopicAnswer) -> Heard:
        """With the pools for an answer to a topic's question, as if it had been asked."""
        kinds = [kind for kind in (answer.kind, OTHER) if kind in topic.answers]
        return heard._replace(
            memory=self.remembering.with_used(heard.memory, topic),
            topic=topic,
            answer=answer,
            pools=tuple(topic.pool(kind) for kind in kinds),
            words={IT: answer.it},
        )

    def _counts(self, answer: TopicAnswer, heard: Heard, text: str, main: str) -> bool:
        """Whether an answer counts: an unsure one gives way to most of what a message can say.

        A message that is nothing but the thing that was asked for answers, whatever it resembles.
        """
        if answer.sure:
            return True
        if main:
            bare = main in self._narrow and answer.it == text
            return bare or (main in self.hearing.weak and bool(answer.it))
        told = any(one.turn == heard.memory.turn for one in heard.memory.told)
        return not told and (heard.kind is None or heard.kind.answers)

    def _at_a_loss(self, heard: Heard, text: str, seed: str, *, again: bool) -> Heard:
        """With the pools for a message that nothing answers."""
        memory, kind, topic = heard.memory, heard.kind, heard.topic
        own = [kind.lines] if kind else []
        noun = self.hearing.kinds.noun_of(kind, text)
        retold = self.hearing.again(text, kind.lines) if kind else ""
        heard = heard._replace(last=tuple(own), words={IT: noun}, retold=retold)
        if again and not (kind and kind.answers):
            return heard._replace(last=(AGAIN, *own))
        if heard.tone and (kind is None or kind.vague or kind.questions or len(text) >= STORY):
            # What is asked comes after the answer to what was told beside it.
            asked = kind.lines if kind and kind.questions else ""
            return heard._replace(last=(*heard.toned, *own), then=asked)
        speaks = kind and kind.speaks and "?" not in text and not self.hearing.nouns.sad(text)
        if speaks and (found := self._noun_groups.found(text)):
            noun = self.hearing.nouns.called(found.noun)
            return heard._replace(last=(found.pool, *own), words={IT: noun}, noun=noun, retold="")
        if kind and kind.listens:
            return heard
        if memory.fallbacks >= _OFFERED_AFTER:
            return self._offering(heard, seed)
        if told := not own and self.remembering.to_recall(memory):
            recall, it = told
            heard = heard._replace(last=(recall,), words={IT: it})
        elif not own and topic and OTHER in topic.answers:
            heard = heard._replace(last=(topic.pool(OTHER),))
        return heard

    def _offering(self, heard: Heard, seed: str) -> Heard:
        """With what follows several messages in a row that nothing answered.

        First she offers two topics, then says what she is, then opens a topic herself.
        """
        offers = [t.offer for t in self.remembering.unused(heard.memory, seed) if t.offer][
            : len(OFFERS)
        ]
        if heard.memory.fallbacks == _OFFERED_AFTER + 1:
            return heard._replace(last=(OPENLY,))
        if heard.memory.offered or len(offers) < len(OFFERS):
            return self._going_on(heard, seed)
        return heard._replace(last=(OFFER,), words=dict(zip(OFFERS, offers, strict=True)))

    def _going_on(self, heard: Heard, seed: str) -> Heard:
        """With what she says unasked: she comes back to something that the user told, or opens a topic."""
        if told := self.remembering.to_recall(heard.memory):
            recall, it = told
            return heard._replace(then=recall, then_words={IT: it})
        unused = self.remembering.unused(heard.memory, seed)
        return heard._replace(then=unused[0].pool(OPENER)) if unused else heard
