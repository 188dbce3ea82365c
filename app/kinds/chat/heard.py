"""What came of reading one message of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.kinds.chat.answers import TopicAnswer
from app.kinds.chat.memory import Memory
from app.kinds.chat.message_kinds import MessageKind
from app.kinds.chat.things import Thing
from app.kinds.chat.topics import OPENER, Topic

# The slots of lines: the noun of the message, another thing, topics that are offered.
IT, OTHER_THING, OFFERS = "it", "other", ("offer_a", "offer_b")


class Heard(NamedTuple):
    """How a message was read, and from which pools it can be answered.

    `memory` includes what the message told. `topic` is the question that was open, `thing` what the
    message asks about, `tone` its tone (empty if it has none), `toned` the pools of lines for that. The first of
    `pools` that has a line answers before any intent, the first of `last` if nothing else does. A
    line of the pool `then` may follow one that asks nothing. `words` and `then_words` are for the
    slots of lines. `noun` is the message's, `retold` its point; either may be said
    again before a line.
    """

    memory: Memory
    topic: Topic | None = None
    answer: TopicAnswer | None = None
    kind: MessageKind | None = None
    thing: Thing | None = None
    tone: str = ""
    toned: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    then: str = ""
    words: Mapping[str, str] = {}
    then_words: Mapping[str, str] = {}
    noun: str = ""
    retold: str = ""

    @property
    def says_more(self) -> bool:
        """Whether more than a topic of hers follows."""
        return bool(self.then) and not self.then.endswith(f".{OPENER}")
