"""How a message answers a question of the character's: members of a deck's `conversation.json`.

    answers   kinds of short answers: yes, no, good, bad, nothing, unknown, back, both, neither,
              first, second; affirms and denies are how a brief yes and no may end; change asks to
              talk about something
    expects   what a question can ask for: `words` (texts, or expressions with `/` around them) are
              known answers, `noun` allows for other nouns, `any` for any message; `said` is how
              users tell a known word without being asked

An answer is sure if it is one of the short ones, one of the options, or a known word. A sure answer
counts more than an intent that is neither strong nor weak, any other answer only more than a weak one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from app.kinds.chat.files import MEMORY, ExpressionReader
from app.kinds.chat.message import normalise
from app.kinds.chat.nouns import SHORT, Nouns
from app.kinds.chat.topics import BACK, CHOICE, FEELING, NO, OPEN, OPTIONS, UNKNOWN, YES_NO, Topic
from app.kinds.expressions import Expression, any_of, literal

# Characters of an answer to a question of yes or no that has neither word: 「うちは飼ってるよ」.
_BRIEF = 16
# Characters from which what follows an offer that was taken tells something, and what parts them.
_TELLING = 6
_REST = re.compile("[!?。…、 ]+")
_ORDINALS = ("first", "second")
_CHANGE = "change"
_MEMBERS = (
    "yes", NO, "affirms", "denies", "good", "bad", "nothing", UNKNOWN, BACK, "both", "neither",
    *_ORDINALS, _CHANGE,
)  # fmt: skip


class TopicAnswer(NamedTuple):
    """How a topic's question was answered: the kind of answer, and its noun (empty if unsure)."""

    kind: str
    it: str = ""
    sure: bool = True


class Expectation(NamedTuple):
    """What a question can ask for."""

    words: Expression | None
    noun: bool
    anything: bool
    said: Expression | None

    def word(self, text: str) -> str:
        """The known answer in a short text, empty if there is none."""
        found = self.words.search(text) if self.words and len(text) <= SHORT else None
        return found.group() if found else ""


class Answers:
    """Reads messages, as `Hearing.text` gives them, as answers; `question` finds questions."""

    def __init__(
        self, reader: ExpressionReader, root: Any, question: Expression | None, nouns: Nouns
    ) -> None:
        raw = reader.part(root, "answers")
        reader.known(raw, _MEMBERS, "answers")
        self._known = {name: reader.any_of(value, name) for name, value in raw.items()}
        self._question = question
        self._nouns = nouns
        self.expects = _expectations(reader, reader.part(root, "expects"))

    def to(self, topic: Topic, text: str) -> TopicAnswer | None:
        """How a text answers the question of a topic, None if it does not."""
        found = self._short(topic, text)
        if found or self._asks(text):
            return found
        expected = self.expects[topic.expects]
        word, noun = expected.word(text), self._nouns.short(text)
        if topic.expects == FEELING:
            noun = ""
        kind = next((k for k in topic.further if self._is(k, text)), "")
        if kind and not (noun or (word and kind == "yes")):
            return TopicAnswer(kind, word)
        if not word and topic.expects != YES_NO and self._is(NO, text):
            return TopicAnswer(NO)
        if word:
            # 「ポテトサラダ」 is no ポテト.
            return TopicAnswer(topic.expects, noun if word in noun else word)
        # What asks something, or tells a long story of its own, is no answer to just anything.
        anything = expected.anything and "?" not in text
        if topic.opens:
            subject = topic.expects != OPEN or noun or self._nouns.within(text)
            anything = anything and bool(subject) and len(text) <= SHORT
        if anything or (noun and expected.noun):
            return TopicAnswer(topic.expects, noun, sure=False)
        return None

    def after_offer(self, topic: Topic, text: str) -> TopicAnswer | None:
        """What a text that takes the offer of a topic already answers."""
        rest = _REST.split(text, 1)[-1] if _REST.search(text) else ""
        return self.to(topic, rest) if len(rest) >= _TELLING else None

    def volunteered(self, text: str) -> Iterator[tuple[str, str]]:
        """The answers in a text to questions that were not asked: what each expects, and its noun."""
        for name, expected in self.expects.items():
            word = expected.word(text) if expected.said else ""
            alone = word and word == self._nouns.short(text)
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

    def turns_back(self, text: str) -> bool:
        """Whether a text asks the same of the character."""
        return self._is(BACK, text)

    def changes(self, text: str) -> bool:
        """Whether a text asks to talk about something."""
        return self._is(_CHANGE, text)

    def _short(self, topic: Topic, text: str) -> TopicAnswer | None:
        if self._is(BACK, text):
            return TopicAnswer(BACK)
        if self._asks(text):
            return None
        if topic.expects == CHOICE and (found := self._option(topic, text)):
            return found
        if self._is(UNKNOWN, text):
            return TopicAnswer(UNKNOWN)
        if topic.expects == YES_NO:
            return self._yes_or_no(text)
        return TopicAnswer(NO) if self._is("nothing", text) else None

    def _yes_or_no(self, text: str) -> TopicAnswer | None:
        for kind in (NO, "yes"):
            if self._is(kind, text):
                return TopicAnswer(kind)
        # The end of a longer text decides: 「荷物?持ってないよ。でも肩は凝ってる」.
        text = _REST.split(text.rstrip("!?。…w "))[-1]
        endings = ((NO, "denies"), ("yes", "affirms")) if len(text) <= _BRIEF else ()
        return next(
            (TopicAnswer(k, sure=False) for k, name in endings if self._is(name, text)), None
        )

    def _option(self, topic: Topic, text: str) -> TopicAnswer | None:
        kinds = [k for k, option in zip(OPTIONS, topic.options, strict=True) if option.search(text)]
        if self._is("neither", text):
            return TopicAnswer("neither")
        if len(kinds) == 2 or self._is("both", text):
            return TopicAnswer("both")
        kinds = kinds or [k for k, n in zip(OPTIONS, _ORDINALS, strict=True) if self._is(n, text)]
        return TopicAnswer(kinds[0]) if kinds else None

    def _asks(self, text: str) -> bool:
        return bool(self._question and self._question.search(text))

    def _is(self, name: str, text: str) -> bool:
        found = self._known.get(name)
        return bool(found and found.search(text))


def _expectations(reader: ExpressionReader, raw: Mapping[str, Any]) -> dict[str, Expectation]:
    expected = {}
    for name, value in raw.items():
        place = f"expects {name}"
        reader.known(reader.object(value, place), ("words", "noun", "any", "said"), place)
        words = reader.strings(value.get("words", []), f"{place} words")
        texts = [w[1:-1] if w[:1] == w[-1:] == "/" else literal(normalise(w)) for w in words]
        found = any_of(texts, by_line=True, memory=MEMORY) if texts else None
        said = reader.any_of(value.get("said", []), place)
        expected[name] = Expectation(found, bool(value.get("noun")), bool(value.get("any")), said)
    return expected


def _shared(one: str, other: str) -> int:
    """The length of the longest run of characters with a meaning that two texts share, else 0."""
    runs = (
        length
        for length in range(min(len(one), len(other)), 1, -1)
        for start in range(len(one) - length + 1)
        if (run := one[start : start + length]) in other and length >= _least(run)
    )
    return next(runs, 0)


def _least(run: str) -> int:
    """The length from which a run has a meaning: two kanji have one, two kana or letters have none."""
    if run.isascii():
        return 4
    return 2 if re.search("[一-龥々ァ-ヶ]", run) else 3
