"""Conversations of several turns, put together from what a deck of characters contains.

An exchange is a message and the line that answers it. The messages are the deck's examples of its
intents and the answers of its `training.json`; the lines are the character's. Three kinds are made:

- a message of an intent, after one or two of other intents;
- a line that asks, an answer as `Answers.to` reads it, and a line for that kind of answer;
- something that the user tells, an exchange about something else, and a message that says little, to
  whose answer she adds a line that comes back to it.

All messages of a conversation are on one side of a split, see `Sides`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from app.kinds.chat.characters import Character
from app.kinds.chat.conversation import Talk
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.heard import IT
from app.kinds.chat.lines import RECALL, Line, filled
from app.kinds.chat.message import spelling
from app.kinds.chat.topics import CHOICE, NO, OPENER, OPTIONS, TOPICS_FILE, Topic
from app.kinds.chat.vetted import one_after_another
from app.kinds.reading import Reader
from precompute.export.material import RowOptions, fill
from precompute.export.split import side

# Names in `answers` of `training.json` that are no kinds of answers, topics, or pools of topics.
_CHANGE, _OPTION, _NOTHING = "change", "option", "nothing"
# One message in so many comes after one or two earlier exchanges.
_ONE_IN = 3
# Exchanges before the answer to a question: hers that asks, and the one that led to that.
_DEPTH = 2
# How often something is drawn, before a line goes without it.
_DRAWS = 8
_UNASKED = "lines to an answer or to something told, for which the deck has no message"


class Exchange(NamedTuple):
    """A message, and the line of a pool that answers it; `text` is the line with its noun."""

    said: str
    pool: str
    line: Line
    text: str


Conversation = tuple[Exchange, ...]


class Sides:
    """On which side of a split the messages of a deck and its topics are.

    All spellings of a message are one group. A message that only answers the question of one topic is
    in the topic's group, so that it is held out together with the lines that it gets.
    """

    def __init__(self, deck: CharacterDeck, options: RowOptions) -> None:
        self._called = [character.called for character in deck.characters]
        self._share, self._seed = options.validation, options.seed
        self._spellings: dict[str, str] = {}
        self._groups: dict[str, str] = {}

    def group(self, message: str, first: str = "") -> str:
        """The group of a message; one that is new here gets the group `first`, if it is given."""
        text = self._spelling(message)
        return self._groups.setdefault(text, first or text)

    def of(self, group: str) -> str:
        """The side of a group."""
        return side(group, self._share, self._seed)

    def of_message(self, message: str, first: str = "") -> str:
        """The side of a message."""
        return self.of(self.group(message, first))

    def _spelling(self, message: str) -> str:
        found = self._spellings.get(message)
        if found is None:
            found = message
            for called in self._called:
                found = spelling(found, called)
            self._spellings[message] = found
        return found


class UserText(NamedTuple):
    """What a user says to a question: the text, its noun, and whether only one topic is answered so."""

    text: str
    it: str
    own: bool


class UserTexts:
    """What users say to open a character's topics, and to answer her questions.

    `texts` is the member `answers` of `training.json`.
    """

    def __init__(
        self, deck: CharacterDeck, character: Character, talk: Talk, texts: Mapping[str, Any]
    ) -> None:
        self._deck, self._character, self._hearing = deck, character, talk.hearing
        self._texts: Mapping[str, Sequence[str]] = texts
        raw = Reader(deck.folder, TOPICS_FILE).value[character.id] if talk.topics else ()
        self._options = {topic["id"]: topic.get("options", ()) for topic in raw}
        self._found: dict[str, list[UserText]] = {}

    def of(self, topic: Topic, kind: str) -> list[UserText]:
        """Answers of a kind; for OPENER what asks to talk about the topic."""
        pool = topic.pool(kind)
        if pool not in self._found:
            made = self._opening(topic) if kind == OPENER else self._answers(topic, kind)
            self._found[pool] = list(made)
        return self._found[pool]

    def _opening(self, topic: Topic) -> Iterator[UserText]:
        for text in self._texts.get(_CHANGE, ()) if topic.offer else ():
            asked = fill(text, {"offer": topic.offer})
            if self._hearing.answers.changes(self._heard(asked)):
                yield UserText(asked, "", own=True)

    def _answers(self, topic: Topic, kind: str) -> Iterator[UserText]:
        for text, own in self._worded(topic, kind):
            answer = self._hearing.answers.to(topic, self._heard(text))
            # An answer that is not sure gives way to whatever else the message can mean.
            if answer and answer.kind == kind and (answer.sure or not self._deck.recognise(text)):
                yield UserText(text, answer.it, own)

    def _worded(self, topic: Topic, kind: str) -> Iterator[tuple[str, bool]]:
        own = topic.id if kind == topic.expects else topic.pool(kind)
        if own in self._texts:
            yield from ((text, True) for text in self._texts[own])
        elif topic.expects == CHOICE and kind in OPTIONS:
            for word in self._options[topic.id][OPTIONS.index(kind)].split("|"):
                for text in self._texts.get(_OPTION, ()):
                    yield fill(text, {"option": word}), True
        else:
            kinds = (_NOTHING, NO) if kind == NO else (kind,)
            yield from ((text, False) for name in kinds for text in self._texts.get(name, ()))

    def _heard(self, text: str) -> str:
        return self._hearing.text(text, self._character.mention)


class Exchanges:
    """The conversations of one character.

    `said` has the deck's messages by intent, `moods` the mood that an intent shows, `answers` is the
    member of `training.json`.
    """

    def __init__(
        self,
        deck: CharacterDeck,
        character: Character,
        said: Mapping[str, Sequence[str]],
        moods: Mapping[str, str],
        answers: Mapping[str, Any],
        sides: Sides,
    ) -> None:
        # In a fixed order, so that a seed makes the same conversations in every process.
        self._pools = dict(sorted(deck.lines[character.id].items()))
        self._moods, self._sides = moods, sides
        self._mention, self._talk = character.mention, deck.talks.get(character.id)
        self._script = deck.rules.script
        # Every line of an intent, with a message of the intent.
        self.single = [
            Exchange(said[pool][number % len(said[pool])], pool, line, line.text)
            for pool, lines in self._pools.items()
            if pool in said and pool in deck.intent_by_id and not deck.intent_by_id[pool].careful
            for number, line in enumerate(lines)
        ]
        hearing = self._talk.hearing if self._talk else None
        self._strong = hearing.strong if hearing else frozenset[str]()
        # By side: those that greet nobody, which can stand before others; and those after whose line
        # she goes on by herself. Neither ask anything.
        self._plain: dict[str, list[Exchange]] = defaultdict(list)
        self._little: dict[str, list[Exchange]] = defaultdict(list)
        for one in self.single:
            if one.line.asks or (hearing and hearing.asks(one.text)):
                continue
            here = sides.of_message(one.said)
            if one.pool not in self._strong:
                self._plain[here].append(one)
            if hearing and one.pool in hearing.opens and not one.line.when:
                self._little[here].append(one)
        if self._talk:
            self._phrases = UserTexts(deck, character, self._talk, answers)
            self._askers = self._lines_that_ask(self._talk)

    def with_history(self, last: Exchange, rng: Random) -> Conversation:
        """The exchange, sometimes after one or two others."""
        if last.pool in self._strong or rng.randrange(_ONE_IN):
            return (last,)
        found: Conversation = (last,)
        for _ in range(rng.choice((1, 1, 2))):
            earlier = self._before(found, rng)
            found = (earlier, *found) if earlier else found
        return found

    def answered(self, rng: Random, left_out: Counter[str]) -> Iterator[tuple[str, Conversation]]:
        """Conversations that end in lines of topics, each with its group."""
        for topic in self._talk.topics.values() if self._talk else ():
            for kind in (OPENER, *sorted(topic.answers)):
                for line in self._pools.get(topic.pool(kind), ()):
                    found = self._to_answer(topic, kind, line, rng)
                    if found:
                        yield _group(topic), found
                    else:
                        left_out[_UNASKED] += 1

    def recalled(self, rng: Random, left_out: Counter[str]) -> Iterator[tuple[str, Conversation]]:
        """Conversations that end in lines that come back to what was told, each with its group."""
        told = self._told()
        for pool, lines in self._pools.items():
            for line in lines if pool.startswith(RECALL) else ():
                found = self._to_recall(told[pool], pool, line, rng)
                if found:
                    yield self._sides.group(found[0].said), found
                else:
                    left_out[_UNASKED] += 1

    def mood(self, turns: Conversation) -> str:
        """The mood that the messages show, empty if they show none."""
        return next((self._moods[one.pool] for one in turns if one.pool in self._moods), "")

    def _before(self, turns: Conversation, rng: Random) -> Exchange | None:
        """Something else that could have been said before, on the same side."""
        plain = self._plain[self._sides.of_message(turns[-1].said)]
        pools = {one.pool for one in turns}
        for _ in range(_DRAWS if plain else 0):
            drawn = rng.choice(plain)
            moods = {self.mood((one,)) for one in (drawn, *turns)} - {""}
            if drawn.pool not in pools and len(moods) < 2 and when_of((drawn, *turns)) is not None:
                return drawn
        return None

    def _to_answer(
        self, topic: Topic, kind: str, line: Line, rng: Random, depth: int = _DEPTH
    ) -> Conversation | None:
        """A conversation that ends in a line of a topic, with at most `depth` exchanges before it."""
        last = self._answer(topic, kind, line, rng)
        if last is None or kind == OPENER:
            return (last,) if last else None
        found = ((*before, last) for before in self._asking(topic, rng, depth))
        return next((turns for turns in found if when_of(turns) is not None), None)

    def _answer(self, topic: Topic, kind: str, line: Line, rng: Random) -> Exchange | None:
        """A message of a kind, on the topic's side, with the line of the topic."""
        here = self._sides.of(_group(topic))
        fitting = [
            phrase
            for phrase in self._phrases.of(topic, kind)
            if self._sides.of_message(phrase.text, _group(topic) if phrase.own else "") == here
            and (phrase.it or IT not in line.slots)
        ]
        if fitting:
            said = rng.choice(fitting)
            return Exchange(said.text, topic.pool(kind), line, filled(line.text, {IT: said.it}))
        return (
            self._goes_on(here, topic.pool(kind), line, line.text, rng) if kind == OPENER else None
        )

    def _goes_on(self, here: str, pool: str, line: Line, text: str, rng: Random) -> Exchange | None:
        """A message that says little, with its answer and a line of a pool after it."""
        if not self._little[here]:
            return None
        one = rng.choice(self._little[here])
        return Exchange(one.said, pool, line, one_after_another([one.text, text], self._script))

    def _asking(self, topic: Topic, rng: Random, depth: int) -> Iterator[Conversation]:
        """Conversations on a topic's side that end in a line that asks about it, in random order."""
        here = self._sides.of(_group(topic))
        ways = list(self._askers[topic.id])
        rng.shuffle(ways)
        for way in ways:
            if isinstance(way, Exchange):
                if self._sides.of_message(way.said) == here:
                    yield (way,)
                continue
            other, kind, line = way
            if self._sides.of(_group(other)) == here and (kind == OPENER or depth > 1):
                found = self._to_answer(other, kind, line, rng, depth - 1)
                if found:
                    yield found

    def _lines_that_ask(self, talk: Talk) -> dict[str, list[Exchange | tuple[Topic, str, Line]]]:
        """By topic: exchanges of intents, and lines of topics, that ask about it."""
        found: dict[str, list[Exchange | tuple[Topic, str, Line]]] = defaultdict(list)
        for one in self.single:
            if one.line.asks:
                found[one.line.asks].append(one)
        for topic in talk.topics.values():
            for kind in (OPENER, *sorted(topic.answers)):
                for line in self._pools.get(topic.pool(kind), ()):
                    asked = topic.id if kind == OPENER else line.asks
                    if asked:
                        found[asked].append((topic, kind, line))
        return found

    def _told(self) -> dict[str, list[tuple[Exchange, str]]]:
        """By pool that comes back to it: exchanges in which the user tells something, with its noun."""
        found: dict[str, list[tuple[Exchange, str]]] = defaultdict(list)
        for one in self.single if self._talk else ():
            assert self._talk
            text = self._talk.hearing.text(one.said, self._mention)
            for what, it in self._talk.hearing.told(text, frozenset((one.pool,))):
                found[RECALL + what].append((one, it))
        return found

    def _to_recall(
        self, told: Sequence[tuple[Exchange, str]], pool: str, line: Line, rng: Random
    ) -> Conversation | None:
        fitting = [(one, it) for one, it in told if it or IT not in line.slots]
        for _ in range(_DRAWS if fitting else 0):
            first, it = rng.choice(fitting)
            here = self._sides.of_message(first.said)
            last = self._goes_on(here, pool, line, filled(line.text, {IT: it}), rng)
            between = self._before((first, last), rng) if last else None
            if last and between and not any(between is one for one, _ in told):
                return (first, between, last)
        return None


def when_of(turns: Conversation) -> Mapping[str, tuple[str, ...]] | None:
    """The times that fit all lines, as `Line.when`; None if there are none."""
    found: dict[str, tuple[str, ...]] = {}
    for one in turns:
        for what, allowed in one.line.when.items():
            found[what] = tuple(time for time in found.get(what, allowed) if time in allowed)
    return None if () in found.values() else found


def _group(topic: Topic) -> str:
    return f"topic/{topic.id}"
