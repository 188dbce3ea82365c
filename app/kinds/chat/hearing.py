"""How a message is read in the light of the conversation, by the deck's `conversation.json`.

Its members, of which all lists hold expressions unless it says otherwise:

    you       the word by which the character's names are replaced before anything is searched
    strong    intents (ids) before which an open question lapses
    greetings those of them that are greetings: what is said beside them is answered too
    gives_way intents (ids) → the tones that contradict them
    feelings  names → tones; a long message of such a tone has lines of its own, `long_<name>`, and one
              of several feelings those of `long_mixed`
    weak      intents (ids) that give way to any answer to an open question
    opens     intents (ids) after which the character opens a topic of her own
    question  what makes a message a question, which answers nothing
    answers   kinds of short answers: yes, no, good, bad, nothing, unknown, back, both, neither,
              first, second; affirms and denies are how a brief yes and no may end; change asks to
              talk about something
    nouns     how the noun of a message is found, and `echo` where it is said again, see `app.kinds.chat.nouns`
    expects   what a question can ask for: `words` (texts, or expressions with `/` around them) are
              known answers, `noun` allows for other nouns, `any` for any message; `said` is how
              users tell a known word without being asked
    told      what is remembered: `what`, `expressions` (a group is its noun), `not`, `intents` (ids)
    name      `expressions` by which users say their name (a group), and the intent that answers
    light     intents (ids) that give way to a question about the character or her things
    asked     how questions about a thing are asked, by kind (see `app.kinds.chat.things`); `remark`
              is what is said of a thing without asking, `of` what every thing has (a name, a taste), `own`
              how a short text has a subject of its own
    kinds     kinds of messages that nothing else answers, the first that matches counts:
              `id`, `expressions`, `not`, `least` (characters); `lines` is a pool in place of
              `fallback_<id>`; if `noun`, it needs a noun; if `listens`, such messages are not
              counted as not understood; if `answers`, they can be unsure answers; if `about_her`,
              they ask about the character; if `fact`, about the world, and never about her things;
              if `follows`, they can go on about a thing without naming it; if `asks`, they ask or request
              something of any message, and are answered beside what else it says; if `vague`, the tone
              (see `app.kinds.chat.conversation`) answers before them. A group is the noun
    direct    what can be done at once, see `app.kinds.chat.direct`

An answer is sure if it is one of the short ones, one of the options, or a known word. A sure answer
counts more than an intent that is neither strong nor weak, any other answer only more than a weak one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.chat.direct import Direct
from app.kinds.chat.expressions import Expression, Prefilter, any_of, literal
from app.kinds.chat.files import MEMORY, PatternReader
from app.kinds.chat.lines import KIND, LONG, RECALL, TOLD
from app.kinds.chat.message import joined, normalise
from app.kinds.chat.nouns import ECHO, SHORT, Nouns, captured
from app.kinds.chat.things import PLAIN, QUESTIONS, YES
from app.kinds.chat.topics import BACK, CHOICE, FEELING, NO, OPEN, OPTIONS, UNKNOWN, YES_NO, Topic

CONVERSATION_FILE = "conversation.json"
# Characters of an answer to a question of yes or no that has neither word: 「うちは飼ってるよ」.
_BRIEF = 16
# Characters from which what follows an offer that was taken tells something, and what parts them.
_TELLING = 6
_REST = re.compile("[!?。…、 ]+")
# A sentence with its closing marks, and how many of them at the end of a message are read one by one.
_SENTENCE, _SENTENCES = re.compile(r"[^!?。…\s](?:[^!?。….]|\.(?! |$))*[!?。….]*"), 3
# The feeling of a long message that has several.
MIXED = "mixed"
AGAIN, OFFER, OPENLY = f"{KIND}again", f"{KIND}offer", f"{KIND}open"
# Characters of a message that are searched.
_SEARCHED = 300
_MEMBERS = (
    "you", "strong", "greetings", "weak", "opens", "light", "gives_way", "feelings", "question", "answers", "nouns", "expects", "told",
    "name", "asked", "kinds", "direct", "echo",
)  # fmt: skip
_QUESTION = "question"
_ORDINALS = ("first", "second")
_REMARK, _OF, _OWN, _CHANGE = "remark", "of", "own", "change"
_ANSWERS = (
    "yes", NO, "affirms", "denies", "good", "bad", "nothing", UNKNOWN, BACK, "both", "neither",
    *_ORDINALS, _CHANGE,
)  # fmt: skip
_KIND = (
    "id", "expressions", "not", "least", "lines", "listens", "answers", "about_her", "fact",
    "follows", "noun", "asks", "vague",
)  # fmt: skip
_TOLD = ("what", "expressions", "not", "intents")


class Answer(NamedTuple):
    """How an open question was answered: the kind of answer, and its noun (empty if unsure)."""

    kind: str
    it: str = ""
    sure: bool = True


class Expectation(NamedTuple):
    """What a question can ask for."""

    words: Expression | None
    noun: bool
    anything: bool
    said: Expression | None


class Kind(NamedTuple):
    """A kind of messages that nothing else answers."""

    id: str
    found: Expression
    vetoes: Expression | None
    least: int
    lines: str
    listens: bool
    answers: bool
    about_her: bool
    fact: bool
    follows: bool
    noun: bool
    asks: bool
    vague: bool

    @property
    def questions(self) -> bool:
        """Whether they are questions that have no better answer."""
        return self.about_her or self.fact


class Subject(NamedTuple):
    """Something that is remembered if the user tells it."""

    what: str
    found: Expression | None
    vetoes: Expression | None
    intents: frozenset[str]


class Hearing:
    """Reads the messages of conversations. Made by `load_hearing`."""

    def __init__(self, reader: PatternReader, intents: Iterable[str]) -> None:
        root, known = reader.value, tuple(intents)
        reader.known(root, _MEMBERS, "")
        self._you: str = root.get("you", "you")
        self.strong = reader.known(root.get("strong", []), known, "strong")
        self.weak = reader.known(root.get("weak", []), known, "weak")
        self.opens = reader.known(root.get("opens", []), known, "opens")
        self.greetings = reader.known(root.get("greetings", []), known, "greetings")
        self.light = reader.known(root.get("light", []), known, "light")
        self.gives_way = {
            intent: frozenset(reader.strings(tones, f"gives_way {intent}"))
            for intent, tones in root.get("gives_way", {}).items()
        }
        reader.known(self.gives_way, known, "gives_way")
        feelings = root.get("feelings", {})
        self.feelings = {
            tone: feeling
            for feeling in feelings
            for tone in reader.strings(feelings[feeling], f"feelings {feeling}")
        }
        asked = root.get("asked", {})
        reader.known(asked, (*QUESTIONS, _REMARK, _OF, _OWN), "asked")
        self._asked = {name: reader.any_of(asked[name], f"asked {name}") for name in asked}
        self.nouns = Nouns(reader, root.get("nouns", {}), root.get(ECHO, {}))
        answers = root.get("answers", {})
        reader.known(answers, _ANSWERS, "answers")
        self._known = {
            name: expression
            for name, value in {**answers, _QUESTION: root.get(_QUESTION, [])}.items()
            if (expression := reader.any_of(value, name))
        }
        self.expects = {
            name: _expectation(reader, raw, f"expects {name}")
            for name, raw in root.get("expects", {}).items()
        }
        self.subjects = tuple(_subject(reader, raw, known) for raw in root.get("told", []))
        # One search for all of them: most messages tell nothing.
        told = (subject.found.pattern for subject in self.subjects if subject.found)
        self._tells = any_of(told, memory=MEMORY)
        self._telling = frozenset().union(*(subject.intents for subject in self.subjects))
        self._possible = Prefilter()
        self.kinds = tuple(_kind(reader, raw, self._possible) for raw in root.get("kinds", []))
        self._possible.finish()
        self.direct = Direct(reader, root.get("direct", {}))
        name = root.get("name", {})
        self._name = reader.any_of(name.get("expressions", []), "name")
        self.greets: str = name.get("intent", "")
        reader.known([self.greets] if name else [], known, "name intent")

    @property
    def pools(self) -> list[str]:
        """The pools of lines that a character needs for kinds of messages and for what is told."""
        told = [subject.what for subject in self.subjects]
        # What an intent tells is answered by the intent's lines.
        answered = [subject.what for subject in self.subjects if subject.found]
        return [
            *(kind.lines for kind in self.kinds),
            *self.direct.pools,
            *(LONG + feeling for feeling in self.feelings.values()),
            *([LONG + MIXED] if self.feelings else []),
            *(AGAIN, OFFER, OPENLY),
            *(RECALL + what for what in told),
            *(TOLD + what for what in answered),
        ]

    def text(self, message: str, mention: Expression) -> str:
        """A message as it is searched: normalised, on one line, a character's names replaced."""
        return mention.sub(lambda _: self._you, joined(normalise(message))[:_SEARCHED])

    def alike(self, tone: str) -> frozenset[str]:
        """The tones of the same feeling."""
        feeling = self.feelings.get(tone, "")
        return frozenset(other for other, its in self.feelings.items() if its == feeling)

    def asks(self, text: str) -> bool:
        """Whether a text is a question."""
        return self._is(_QUESTION, normalise(text))

    def answer(self, topic: Topic, text: str) -> Answer | None:
        """How a text answers the question of a topic, None if it does not."""
        found = self._short(topic, text)
        if found or self._is(_QUESTION, text):
            return found
        expected = self.expects[topic.expects]
        word, noun = self._word(expected, text), self.nouns.short(text)
        if topic.expects == FEELING:
            noun = ""
        kind = next((k for k in topic.further if self._is(k, text)), "")
        if kind and not (noun or (word and kind == "yes")):
            return Answer(kind, word)
        if not word and topic.expects != YES_NO and self._is(NO, text):
            return Answer(NO)
        if word:
            # 「ポテトサラダ」 is no ポテト.
            return Answer(topic.expects, noun if word in noun else word)
        # What asks something, or tells a long story of its own, is no answer to just anything.
        anything = expected.anything and "?" not in text
        if topic.opens:
            subject = topic.expects != OPEN or noun or self.nouns.within(text)
            anything = anything and bool(subject) and len(text) <= SHORT
        if anything or (noun and expected.noun):
            return Answer(topic.expects, noun, sure=False)
        return None

    def told_with_it(self, topic: Topic, text: str) -> Answer | None:
        """What a text that takes an offer says of its topic already."""
        rest = _REST.split(text, 1)[-1] if _REST.search(text) else ""
        return self.answer(topic, rest) if len(rest) >= _TELLING else None

    def _short(self, topic: Topic, text: str) -> Answer | None:
        if self._is(BACK, text):
            return Answer(BACK)
        if self._is(_QUESTION, text):
            return None
        if topic.expects == CHOICE and (found := self._option(topic, text)):
            return found
        if self._is(UNKNOWN, text):
            return Answer(UNKNOWN)
        if topic.expects == YES_NO:
            return self._yes_or_no(text)
        return Answer(NO) if self._is("nothing", text) else None

    def _yes_or_no(self, text: str) -> Answer | None:
        for kind in (NO, "yes"):
            if self._is(kind, text):
                return Answer(kind)
        # The end of a longer text decides: 「荷物?持ってないよ。でも肩は凝ってる」.
        text = _REST.split(text.rstrip("!?。…w "))[-1]
        endings = ((NO, "denies"), ("yes", "affirms")) if len(text) <= _BRIEF else ()
        return next((Answer(k, sure=False) for k, name in endings if self._is(name, text)), None)

    def _option(self, topic: Topic, text: str) -> Answer | None:
        kinds = [k for k, option in zip(OPTIONS, topic.options, strict=True) if option.search(text)]
        if self._is("neither", text):
            return Answer("neither")
        if len(kinds) == 2 or self._is("both", text):
            return Answer("both")
        kinds = kinds or [k for k, n in zip(OPTIONS, _ORDINALS, strict=True) if self._is(n, text)]
        return Answer(kinds[0]) if kinds else None

    def volunteered(self, text: str) -> Iterator[tuple[str, str]]:
        """What a text tells without being asked: what it would answer, and its noun."""
        for name, expected in self.expects.items():
            word = self._word(expected, text) if expected.said else ""
            alone = word and word == self.nouns.short(text)
            said = alone or (expected.said and expected.said.search(text))
            if word and said and not self._is("nothing", text):
                yield name, word

    def chosen(self, offers: Sequence[str], text: str) -> int | None:
        """The place of the offer that a text takes, None if it takes none."""
        for place, name in enumerate(_ORDINALS[: len(offers)]):
            if self._is(name, text):
                return place
        shared = [_shared(normalise(offer), text) for offer in offers]
        best = max(shared)
        if best and shared.count(best) == 1:
            return shared.index(best)
        # Who takes both gets the first.
        return 0 if self._is("yes", text) or self._is("both", text) else None

    def kind(self, text: str) -> Kind | None:
        """The kind of a message that nothing else answers."""
        possible = self._possible.possible(text)
        kinds = (
            kind
            for place, kind in enumerate(self.kinds)
            if place in possible and _matches(kind, text)
        )
        return next((kind for kind in kinds if not kind.noun or self.nouns.within(text)), None)

    def asked_in(self, text: str) -> tuple[Kind | None, tuple[str, ...]]:
        """The kind of a message, and its sentences besides the one that makes it a question or request."""
        sentences = sentences_of(text)
        if len(sentences) == 1:
            return self.kind(sentences[0]), sentences
        read = [(self.kind(sentence), sentence) for sentence in sentences]
        asking = [
            (self.kinds.index(kind), kind, sentence)
            for kind, sentence in reversed(read)
            if kind and (kind.asks or (kind.questions and "?" in sentence))
        ]
        if not asking:
            return read[-1][0] or self.kind(text), sentences
        _, kind, asked = min(asking, key=lambda one: one[0])
        return kind, tuple(sentence for sentence in sentences if sentence != asked)

    def noun_of(self, kind: Kind | None, text: str) -> str:
        """The noun of a message of a kind, empty if none is sure."""
        if kind and kind.found.groups:
            return self.nouns.short(captured(kind.found.search(text)))
        return self.nouns.short(text) or self.nouns.within(text)

    def turns_back(self, text: str) -> bool:
        """Whether a text asks the same of her."""
        return self._is(BACK, text)

    def changes(self, text: str) -> bool:
        """Whether a text asks to talk about something."""
        return self._is(_CHANGE, text)

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
        """Whether a text is short and has no subject of its own, so that it goes on about hers."""
        if len(text) > _BRIEF or self.to_her(text):
            return False
        if not (self.asks(text) or self._says(_REMARK, text)):
            return False
        if self._says(_OWN, text):
            return False
        noun = self.nouns.within(text)
        return not noun or self._says(_OF, noun)

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

    def _word(self, expected: Expectation, text: str) -> str:
        found = expected.words.search(text) if expected.words and len(text) <= SHORT else None
        return found.group() if found else ""

    def _is(self, name: str, text: str) -> bool:
        return name in self._known and bool(self._known[name].search(text))


def load_hearing(folder: Path, intents: Iterable[str]) -> Hearing | None:
    """Read and check a deck's `conversation.json`; None if there is none. Raises DeckError."""
    if not (folder / CONVERSATION_FILE).exists():
        return None
    return Hearing(PatternReader(folder, CONVERSATION_FILE), intents)


def _expectation(reader: PatternReader, raw: Any, place: str) -> Expectation:
    reader.known(raw, ("words", "noun", "any", "said"), place)
    words = reader.strings(raw.get("words", []), f"{place} words")
    texts = [w[1:-1] if w[:1] == w[-1:] == "/" else literal(normalise(w)) for w in words]
    found = any_of(texts, by_line=True, memory=MEMORY) if texts else None
    said = reader.any_of(raw.get("said", []), place)
    return Expectation(found, bool(raw.get("noun")), bool(raw.get("any")), said)


def _subject(reader: PatternReader, raw: Any, intents: Iterable[str]) -> Subject:
    what = reader.member(raw, "what", str, "told")
    place = f"told {what}"
    reader.known(raw, _TOLD, place)
    return Subject(
        what,
        reader.any_of(raw.get("expressions", []), place),
        reader.any_of(raw.get("not", []), place),
        reader.known(raw.get("intents", []), intents, place),
    )


def _kind(reader: PatternReader, raw: Any, prefilter: Prefilter) -> Kind:
    name = reader.member(raw, "id", str, "kinds")
    place = f"kinds {name}"
    reader.known(raw, _KIND, place)
    texts = reader.strings(reader.member(raw, "expressions", list, place), place)
    if not texts:
        raise reader.fail(place, "has no expressions")
    found = reader.any(texts, place, functools.partial(prefilter.add, memory=MEMORY))
    assert found
    return Kind(
        name,
        found,
        reader.any_of(raw.get("not", []), place),
        int(raw.get("least", 0)),
        raw.get("lines", KIND + name),
        bool(raw.get("listens")),
        bool(raw.get("answers")),
        bool(raw.get("about_her")),
        bool(raw.get("fact")),
        bool(raw.get("follows")),
        bool(raw.get("noun")),
        bool(raw.get("asks")),
        bool(raw.get("vague")),
    )


def sentences_of(text: str) -> tuple[str, ...]:
    """The last sentences of a text, each with the marks that say something of it."""
    return tuple(one.rstrip("。.") for one in _SENTENCE.findall(text)[-_SENTENCES:]) or (text,)


def _matches(kind: Kind, text: str) -> bool:
    if len(text) < kind.least or not kind.found.search(text):
        return False
    return not (kind.vetoes and kind.vetoes.search(text))


def _shared(one: str, other: str) -> int:
    """The characters of the longest telling run that two texts share, 0 if there is none."""
    runs = (
        length
        for length in range(min(len(one), len(other)), 1, -1)
        for start in range(len(one) - length + 1)
        if (run := one[start : start + length]) in other and length >= _least(run)
    )
    return next(runs, 0)


def _least(run: str) -> int:
    """The characters from which a run tells something: two kanji do, two kana or letters do not."""
    if run.isascii():
        return 4
    return 2 if re.search("[一-龥々ァ-ヶ]", run) else 3
