"""One message to answer with its context, and the answer."""

from __future__ import annotations

import datetime
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from app.kinds.chat.care import Step
from app.kinds.chat.characters import Character
from app.kinds.chat.conversation import Talk
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.heard import Heard
from app.kinds.chat.lines import NAME_SLOT, Moment
from app.kinds.chat.message import normalise
from app.kinds.chat.recognition import Hit, main_hit
from app.kinds.ladder import Tier
from app.providers.relay import Finish

_NAME_OR = re.compile(r"「\{name\}[^」]*」か")


@dataclass(frozen=True)
class Turn:
    """One message to answer, with its context.

    `messages` is the whole history with this message last, `name` the user's (empty if unknown),
    `at` the local time. `care` is how the message is answered if somebody may be in danger, `watch`
    whether something grave was said before. `heard` is how the message was read in its conversation,
    `explain` whether the client asks how the answer was chosen.
    `bill` collects the source and the end of each model's
    reply, refused ones too.
    """

    deck: CharacterDeck
    character: Character
    messages: tuple[Mapping[str, str], ...]
    conversation: str
    name: str
    at: datetime.datetime
    care: Step | None = None
    watch: bool = False
    heard: Heard | None = None
    explain: bool = False
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
        return main_hit(self.hits)

    @property
    def talk(self) -> Talk | None:
        """The conversations with the character; None if the deck has no `conversation.json`."""
        return self.deck.talks.get(self.character.id)

    @property
    def words(self) -> dict[str, str]:
        """Words for the slots of lines."""
        return {"name": self.name, **(self.heard.words if self.heard else {})}

    @cached_property
    def moment(self) -> Moment:
        """Time of day, weekday and season."""
        return self.deck.moment(self.at)

    @property
    def intent(self) -> str | None:
        """The id of the main intent, None if none was recognised."""
        return self.main.intent.id if self.main else None

    @property
    def declined(self) -> str | None:
        """The id of the main intent if the character can only decline it."""
        return self.intent if self.main and self.main.intent.declines else None

    @property
    def intents(self) -> list[str]:
        """The ids of the intents that the character has lines for, the main one first."""
        lines = self.deck.lines[self.character.id]
        found = dict.fromkeys([self.intent or "", *(hit.intent.id for hit in self.hits)])
        return [intent for intent in found if lines.get(intent)]

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
    is the message's if the cloud answered. `candidate` is whether it may be learned. `pools` are
    those of its lines, `asks` is the topic of its question. `why` says how it was chosen.
    """

    text: str
    tier: str
    source: str
    model: str
    near: bool | None = None
    importance: float | None = None
    candidate: bool = False
    pools: tuple[str, ...] = ()
    asks: str = ""
    why: Mapping[str, Any] = {}


ReplyStream = Generator[str, None, Reply | None]
ChatTier = Tier[Turn, Reply]


def system_prompt(turn: Turn) -> str:
    """The character's persona with the user's name."""
    return persona(turn.character, turn.name)


def persona(character: Character, name: str) -> str:
    """A character's persona with the user's name, which may be empty."""
    text = character.persona if name else _NAME_OR.sub("", character.persona)
    return text.replace(NAME_SLOT, name)


def why(turn: Turn, reply: Reply) -> dict[str, Any]:
    """How an answer was chosen, for a person who looks after the characters."""
    told: dict[str, Any] = {
        "tier": reply.tier,
        "intents": [hit.intent.id for hit in turn.hits],
        "lines": list(reply.pools),
        "asks": reply.asks,
        "care": str(turn.care or ""),
    }
    heard, talk = turn.heard, turn.talk
    if heard and talk:
        told |= {
            "question": heard.topic.id if heard.topic else "",
            "answer": heard.answer.kind if heard.answer else "",
            "noun": heard.words.get("it", "") or heard.noun,
            "kind": heard.kind.id if heard.kind else "",
            "tone": heard.tone,
            "thing": heard.thing.id if heard.thing else "",
            "not_understood": heard.memory.fallbacks,
            "name": heard.memory.name,
            "told": talk.remembering.told(heard.memory),
        }
    return {name: value for name, value in told.items() if value}
