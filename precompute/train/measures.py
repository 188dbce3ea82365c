"""Automatic measures of answers. Each says something, none says whether an answer is good.

gate          share of answers that the deck's gate passes, and which checks refuse the others
consistency   share that passes the checks of the character's voice (`measures.voice` in the
              deck's training.json); it does not see whether facts about her agree
expression    marks of feeling (`measures.expressive`: particles, exclamation marks) for each 100
              characters; it does not see which feeling, and more is not better
fluency       1 minus the share of runs of three characters that repeat earlier ones in the same
              answer, 0 for an empty one; it sees loops, not odd sentences
relevance     share of answers with at least one content word (`measures.words`) of what was
              asked; a good answer may have none
copies        share of answers that are near copies of a training answer: at least 60 % of their
              runs of four characters are the same; high values mean that it recites
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.errors import DeckError
from app.kinds.chat.gate import repetition
from app.kinds.kind import AnyDeck, AnyGate
from app.store.key import Query
from precompute.cook.kinds import refusal_of
from precompute.cook.near_copy import LIMIT, likeness, sketch
from precompute.export.material import TRAINING_FILE, Material, training_texts

_RUN = 3


class Answered(NamedTuple):
    """A held-out row and an answer to it: what was asked, by which query, and what was written."""

    asked: str
    query: Query
    answer: str


class Words(NamedTuple):
    """What a deck's measures look for."""

    voice: frozenset[str]
    expressive: re.Pattern[str]
    words: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Measured:
    """The measures of one model's answers."""

    answers: int
    gate: float
    refused: Mapping[str, int]
    consistency: float
    expression: float
    fluency: float
    relevance: float
    copies: float

    def rows(self) -> list[tuple[str, object]]:
        """Names and figures for a person."""
        checks = ", ".join(f"{name} {count}" for name, count in self.refused.items())
        return [
            ("answers", f"{self.answers:,}"),
            ("pass the gate", f"{self.gate:.0%}{f' (refused by {checks})' if checks else ''}"),
            ("in the character's voice", f"{self.consistency:.0%}"),
            ("marks of feeling in 100 characters", f"{self.expression:.1f}"),
            ("without repetition", f"{self.fluency:.0%}"),
            ("take up a word of what was asked", f"{self.relevance:.0%}"),
            ("near copies of the training data", f"{self.copies:.0%}"),
        ]


def load_words(deck: AnyDeck) -> Words:
    """What the measures of a deck look for. Raises DeckError."""
    found = training_texts(deck.folder, {"measures": dict})["measures"]
    try:
        return Words(
            frozenset(found["voice"]), re.compile(found["expressive"]), re.compile(found["words"])
        )
    except (KeyError, TypeError, re.error) as error:
        raise DeckError(str(deck.folder), TRAINING_FILE, f"measures: {error}") from None


def measure(
    answers: Sequence[Answered],
    learned: Sequence[str],
    words: Words,
    material: Material,
    gate: AnyGate,
) -> Measured:
    """Measure answers; `learned` are the training answers, as texts."""
    refused: Counter[str] = Counter()
    out_of_voice = 0
    for one in answers:
        check = _refusal(gate, one.query, material.read(one.answer))
        if check:
            refused[check] += 1
            out_of_voice += check in words.voice or check == "shape"
    count = max(1, len(answers))
    texts = [plain(material.read(one.answer)) for one in answers]
    characters = max(1, sum(map(len, texts)))
    return Measured(
        answers=len(answers),
        gate=1 - refused.total() / count,
        refused=dict(refused.most_common()),
        consistency=1 - out_of_voice / count,
        expression=100 * sum(len(words.expressive.findall(text)) for text in texts) / characters,
        fluency=sum(1 - repetition(text, _RUN) if text else 0.0 for text in texts) / count,
        relevance=sum(
            _takes_up(one.asked, text, words) for one, text in zip(answers, texts, strict=True)
        )
        / count,
        copies=_copies(texts, [plain(material.read(text)) for text in learned]) / count,
    )


def _refusal(gate: AnyGate, query: Query, response: Mapping[str, Any]) -> str:
    """The name of the check that refuses a response; empty if none does."""
    if not response:
        return "shape"
    refusal = refusal_of(gate, query, response)
    return refusal.check if refusal else ""


def plain(response: Mapping[str, str]) -> str:
    """The words of a response."""
    return "\n".join(response.values())


def _takes_up(asked: str, text: str, words: Words) -> bool:
    return any(word in text for word in words.words.findall(asked))


def _copies(texts: Sequence[str], learned: Sequence[str]) -> int:
    known = [sketch(text) for text in learned]
    return sum(
        any(likeness(mine, other) >= LIMIT for other in known)
        for mine in (sketch(text) for text in texts if text)
    )
