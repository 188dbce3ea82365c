"""How a message is read in the light of the conversation, by the deck's `conversation.json`.

Its members, of which all lists hold expressions unless it says otherwise:

    you       the word by which the character's names are replaced before anything is searched
    strong    intents (ids) before which an open question lapses
    greetings those of them that are greetings: what else the message says is answered too
    gives_way intents (ids) → the tones that contradict them
    feelings  names → tones; a long message of such a tone has lines of its own, `long_<name>`, and one
              of several feelings those of `long_mixed`
    weak      intents (ids) that give way to any answer to an open question
    opens     intents (ids) after which the character opens a topic of her own
    nods      intents (ids) by which users only show that they listen: after a story of their own she asks
              them to go on, with a line of `fallback_go_on`
    light     intents (ids) that give way to a question about the character or her things
    question  what makes a message a question, which answers nothing
    answers   kinds of short answers, and `expects`: see `app.kinds.chat.answers`
    nouns     how the noun of a message is found, and `echo` where it is said again, see `app.kinds.chat.nouns`
    retell    how what a message says is said again, see `app.kinds.chat.retelling`
    told      what is remembered: `what`, `expressions` (a group is its noun), `not`, `intents` (ids)
    name      `expressions` by which users say their name (a group), and the intent that answers
    asked     how questions about a thing are asked, by kind (see `app.kinds.chat.things`); `remark`
              is what is said of a thing without asking, `of` what every thing has (a name, a taste), `own`
              what shows that a short text has a subject of its own
    kinds     kinds of messages that nothing else answers, see `app.kinds.chat.message_kinds`
    direct    what can be done at once, see `app.kinds.chat.direct`
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.answers import Answers
from app.kinds.chat.direct import Direct
from app.kinds.chat.files import MEMORY, ExpressionReader
from app.kinds.chat.lines import KIND, LONG, RECALL, TOLD
from app.kinds.chat.message import LONG_MESSAGE, joined, normalise
from app.kinds.chat.message_kinds import MessageKinds, sentences_of
from app.kinds.chat.nouns import ECHO, Nouns, captured
from app.kinds.chat.retelling import RETELL, Retelling
from app.kinds.chat.things import PLAIN, QUESTIONS, YES
from app.kinds.expressions import Expression, any_of

CONVERSATION_FILE = "conversation.json"
# Characters of a message that goes on about a thing without naming it, by a question or a remark.
_BRIEF, _REMARKED = 16, 8
# Signs in a row that are a noun in Japanese, or the stem of an adjective.
_NOUNS = re.compile("[一-龥々]{2,}|[ァ-ヶー]{3,}")
# The feeling of a long message that has several.
MIXED = "mixed"
AGAIN, OFFER, OPENLY, GO_ON = (KIND + name for name in ("again", "offer", "open", "go_on"))
# Characters of a message that are searched; of a long message, those of its beginning and end.
_SEARCHED, _BEGINNING, _END = 300, 60, 140
# The members that are lists of intents.
_INTENTS = ("strong", "weak", "opens", "nods", "greetings", "light")
_MEMBERS = (
    "you", *_INTENTS, "gives_way", "feelings", "question", "answers", "nouns", "expects", "told",
    "name", "asked", "kinds", "direct", "echo", RETELL,
)  # fmt: skip
_REMARK, _OF, _OWN = "remark", "of", "own"
_TOLD = ("what", "expressions", "not", "intents")


class Subject(NamedTuple):
    """Something that is remembered if the user tells it."""

    what: str
    found: Expression | None
    vetoes: Expression | None
    intents: frozenset[str]


class Hearing:
    """Reads the messages of conversations. Made by `load_hearing`."""

    def __init__(self, reader: ExpressionReader, intents: Iterable[str]) -> None:
        root, known = reader.object(reader.value, ""), tuple(intents)
        reader.known(root, _MEMBERS, "")
        self._you = str(root.get("you", "you"))
        self.strong, self.weak, self.opens, self.nods, self.greetings, self.light = (
            reader.known(root.get(name, []), known, name) for name in _INTENTS
        )
        self.gives_way = {
            intent: frozenset(reader.strings(tones, f"gives_way {intent}"))
            for intent, tones in reader.part(root, "gives_way").items()
        }
        reader.known(self.gives_way, known, "gives_way")
        feelings = reader.part(root, "feelings")
        self.feelings = {
            tone: feeling
            for feeling in feelings
            for tone in reader.strings(feelings[feeling], f"feelings {feeling}")
        }
        asked = reader.part(root, "asked")
        reader.known(asked, (*QUESTIONS, _REMARK, _OF, _OWN), "asked")
        self._asked = {name: reader.any_of(asked[name], f"asked {name}") for name in asked}
        self.nouns = Nouns(reader, reader.part(root, "nouns"), reader.part(root, ECHO))
        self._question = reader.any_of(root.get("question", []), "question")
        self.answers = Answers(reader, root, self._question, self.nouns)
        self.subjects = tuple(
            _subject(reader, raw, known) for raw in reader.items(root.get("told", []), "told")
        )
        # One search for all of them: most messages tell nothing.
        told = (subject.found.pattern for subject in self.subjects if subject.found)
        self._tells = any_of(told, memory=MEMORY)
        self._telling = frozenset().union(*(subject.intents for subject in self.subjects))
        self.kinds = MessageKinds(reader, reader.items(root.get("kinds", []), "kinds"), self.nouns)
        pools = [kind.lines for kind in self.kinds.all]
        self.retelling = Retelling(reader, reader.part(root, RETELL), pools)
        self.direct = Direct(reader, reader.part(root, "direct"))
        name = reader.part(root, "name")
        self._name = reader.any_of(name.get("expressions", []), "name")
        self.greets = str(name.get("intent", ""))
        reader.known([self.greets] if name else [], known, "name intent")

    @property
    def pools(self) -> list[str]:
        """The pools of lines that a character needs for kinds of messages and for what is told."""
        told = [subject.what for subject in self.subjects]
        # What an intent tells is answered by the intent's lines.
        answered = [subject.what for subject in self.subjects if subject.found]
        return [
            *(kind.lines for kind in self.kinds.all),
            *self.direct.pools,
            *(LONG + feeling for feeling in self.feelings.values()),
            *([LONG + MIXED] if self.feelings else []),
            *(AGAIN, OFFER, OPENLY),
            *([GO_ON] if self.nods else []),
            *(RECALL + what for what in told),
            *(TOLD + what for what in answered),
        ]

    def text(self, message: str, mention: Expression) -> str:
        """A message as it is searched: normalised, on one line, a character's names replaced."""
        text = joined(normalise(message))
        if len(text) > LONG_MESSAGE:
            # What somebody wants stands at the end of a long message, or at its beginning.
            text = f"{text[:_BEGINNING]}…{text[-_END:]}"
        return mention.sub(lambda _: self._you, text[:_SEARCHED])

    def again(self, text: str, pool: str) -> str:
        """The point of a message in words that can be said again in place of a line of `pool`.

        Empty if nothing is. It is looked for only then: most messages are answered otherwise.
        """
        if pool not in self.retelling.instead_of or "?" in text or self.nouns.sad(text):
            return ""
        return self.nouns.decent(self.retelling.retold(sentences_of(text)[-1]))

    def alike(self, tone: str) -> frozenset[str]:
        """The tones of the same feeling."""
        feeling = self.feelings.get(tone, "")
        return frozenset(other for other, its in self.feelings.items() if its == feeling)

    def asks(self, text: str) -> bool:
        """Whether a text is a question."""
        return bool(self._question and self._question.search(normalise(text)))

    def to_her(self, text: str) -> bool:
        """Whether a text, as `text` gives it, addresses the character."""
        return self._you in text

    def asked(self, text: str) -> str:
        """How a thing is asked about: a kind of question, empty for a remark or no question.

        Where the deck says how `yes` is asked, any other question gets a plain line.
        """
        kind = next((k for k in QUESTIONS if self._says(k, text)), "")
        other = PLAIN if YES in self._asked else YES
        return kind or (other if "?" in text or self.asks(text) else "")

    def follows(self, text: str) -> bool:
        """Whether a text is short and has no subject of its own, so that it goes on about her last one."""
        asks = self.asks(text)
        if len(text) > (_BRIEF if asks else _REMARKED) or self.to_her(text):
            return False
        if not (asks or self._says(_REMARK, text)) or self._says(_OWN, text):
            return False
        # A noun of its own, but for what every thing has.
        nouns = (self.nouns.within(text), *_NOUNS.findall(text))
        return all(not noun or self._says(_OF, noun) for noun in nouns)

    def _says(self, name: str, text: str) -> bool:
        found = self._asked.get(name)
        return bool(found and found.search(text))

    def told(self, text: str, intents: frozenset[str]) -> Iterator[tuple[str, str]]:
        """What a message tells, each with its noun (empty if none is sure)."""
        if not (intents & self._telling or (self._tells and self._tells.search(text))):
            return
        for subject in self.subjects:
            found = subject.found.search(text) if subject.found else None
            if subject.vetoes and subject.vetoes.search(text):
                continue
            if found or subject.intents & intents:
                yield subject.what, self.nouns.sure(captured(found)) if found else ""

    def name(self, text: str) -> str:
        """The name that users say they have, empty if they say none."""
        found = self._name.search(text) if self._name else None
        return self.nouns.sure(captured(found)) if found else ""


def load_hearing(folder: Path, intents: Iterable[str]) -> Hearing | None:
    """Read and check a deck's `conversation.json`; None if there is none. Raises DeckError."""
    if not (folder / CONVERSATION_FILE).exists():
        return None
    return Hearing(ExpressionReader(folder, CONVERSATION_FILE), intents)


def _subject(reader: ExpressionReader, raw: Any, intents: Iterable[str]) -> Subject:
    what = reader.member(raw, "what", str, "told")
    place = f"told {what}"
    reader.known(raw, _TOLD, place)
    return Subject(
        what,
        reader.any_of(raw.get("expressions", []), place),
        reader.any_of(raw.get("not", []), place),
        reader.known(raw.get("intents", []), intents, place),
    )
