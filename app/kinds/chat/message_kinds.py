"""Kinds of messages that nothing else answers: the member `kinds` of a deck's `conversation.json`.

Each kind has an `id` and `expressions`; the first that matches counts. It can also have

    not        expressions that must not match
    least      characters of the shortest message
    lines      a pool in place of `fallback_<id>`
    noun       the message must have a noun; a group of the expressions is the noun
    verbatim   what a group of the expressions matches is said again as it is: a quotation, an amount
    light      no message with sad news is of this kind (the member `not` of `echo`)
    listens    such messages are not counted as not understood
    answers    they can be unsure answers to an open question
    about_her  they ask about the character
    fact       they ask about the world, and never about the character's things
    follows    they can go on about a thing without naming it
    asks       they ask or request something of any message, and are answered besides what else it says
    vague      the tone (see `app.kinds.chat.tone`) answers before them
    speaks     they are answered by a line about what they speak of, see `app.kinds.chat.noun_groups`
"""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

from app.kinds.chat.files import MEMORY, ExpressionReader
from app.kinds.chat.lines import KIND
from app.kinds.chat.nouns import Nouns, captured
from app.kinds.expressions import Expression, compiled
from app.kinds.prefilter import Prefilter

# A sentence with its closing marks, and how many of them at the end of a message are read one by one.
# The marks in quotation marks close no sentence of the user's.
_QUOTED = "「[^「」]*」|『[^『』]*』"
_SENTENCE = re.compile(rf"(?:{_QUOTED}|[^!?。…\s])(?:{_QUOTED}|[^!?。….]|\.(?! |$))*[!?。….]*")
_SENTENCES = 3
_FLAGS = (
    "listens", "answers", "about_her", "fact", "follows", "noun", "verbatim", "light", "asks", "vague",
    "speaks",
)  # fmt: skip
_MEMBERS = ("id", "expressions", "not", "least", "lines", *_FLAGS)


class MessageKind(NamedTuple):
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
    verbatim: bool
    light: bool
    asks: bool
    vague: bool
    speaks: bool

    @property
    def questions(self) -> bool:
        """Whether they are questions that have no better answer."""
        return self.about_her or self.fact

    def matches(self, text: str) -> bool:
        """Whether a text is of this kind, apart from its noun."""
        if len(text) < self.least or not self.found.search(text):
            return False
        return not (self.vetoes and self.vetoes.search(text))


class MessageKinds:
    """Finds the kinds of messages, given as `Hearing.text` gives them."""

    def __init__(self, reader: ExpressionReader, raw: list[Any], nouns: Nouns) -> None:
        self.all = tuple(_kind(reader, one) for one in raw)
        self._possible = Prefilter(kind.found for kind in self.all)
        self._nouns = nouns

    def of(self, text: str) -> MessageKind | None:
        """The kind of a message."""
        possible = self._possible.possible(text)
        kinds = (
            kind for place, kind in enumerate(self.all) if place in possible and kind.matches(text)
        )
        return next((kind for kind in kinds if self._suits(kind, text)), None)

    def _suits(self, kind: MessageKind, text: str) -> bool:
        if kind.light and self._nouns.sad(text):
            return False
        return not kind.noun or bool(self._nouns.within(text))

    def asked_in(self, text: str) -> tuple[MessageKind | None, tuple[str, ...]]:
        """The kind of a message, and its sentences besides the one that makes it a question or request."""
        sentences = sentences_of(text)
        if len(sentences) == 1:
            return self.of(sentences[0]), sentences
        read = [(self.of(sentence), sentence) for sentence in sentences]
        asking = [
            (self.all.index(kind), kind, sentence)
            for kind, sentence in reversed(read)
            if kind and (kind.asks or (kind.questions and "?" in sentence))
        ]
        if not asking:
            return read[-1][0] or self.of(text), sentences
        _, kind, asked = min(asking, key=lambda one: one[0])
        return kind, tuple(sentence for sentence in sentences if sentence != asked)

    def noun_of(self, kind: MessageKind | None, text: str) -> str:
        """The noun of a message of a kind, empty if none is sure."""
        if kind and kind.found.groups:
            # The kind can be that of one sentence.
            matches = (kind.found.search(part) for part in (text, *sentences_of(text)))
            found = next((match for match in matches if match), None)
            said = captured(found) if found else ""
            return said if kind.verbatim else self._nouns.short(said)
        return self._nouns.short(text) or self._nouns.within(text)


def sentences_of(text: str) -> tuple[str, ...]:
    """The last sentences of a text, each with its question or exclamation marks."""
    return tuple(one.rstrip("。.") for one in _SENTENCE.findall(text)[-_SENTENCES:]) or (text,)


def _kind(reader: ExpressionReader, raw: Any) -> MessageKind:
    name = reader.member(raw, "id", str, "kinds")
    place = f"kinds {name}"
    reader.known(raw, _MEMBERS, place)
    texts = reader.strings(reader.member(raw, "expressions", list, place), place)
    if not texts:
        raise reader.fail(place, "has no expressions")
    found = reader.any(texts, place, functools.partial(compiled, by_line=True, memory=MEMORY))
    assert found
    return MessageKind(
        name,
        found,
        reader.any_of(raw.get("not", []), place),
        int(raw.get("least", 0)),
        raw.get("lines", KIND + name),
        **{flag: bool(raw.get(flag)) for flag in _FLAGS},
    )
