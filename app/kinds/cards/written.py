"""Whole answers that the owners of a deck wrote, each for one play.

`written.jsonl` in the deck's folder, one answer a line:

    {"picks": [[card, phrase], …], "title": …, "text": "first paragraph\\nsecond\\nthird"}

They are part of the deck, and the file says which there are: a stored answer that is no longer in it
keeps no other out. A build without a key stores them first and composes the rest;
`--provider written` stores nothing else. They must pass the gate, and their source is "written".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import xxhash

from app.errors import DeckError, RequestError
from app.kinds.cards.composing import BREAK
from app.kinds.cards.deck import Deck
from app.kinds.reading import json_lines, nearest
from app.kinds.refusal import REVIEWER
from app.kinds.tasks import Author, Draft, Drafts, Provider, Task
from app.store.key import Query

WRITTEN_FILE = "written.jsonl"
SOURCE = "written"
# The members of a line.
LINE_MEMBERS: Mapping[str, str] = {
    "picks": "`[[card id, phrase id], …]`: as many as a hand has, in any order",
    "title": "one of `titles.json`",
    "text": "the text; a line break, or several, parts two paragraphs",
}


class WrittenProvider:
    """A provider of the answers in the file. Raises DeckError if the deck has none."""

    name = SOURCE

    def __init__(self, deck: Deck) -> None:
        self._answers = written_answers(deck)
        self.model = deck.written_by
        if not self._answers:
            raise DeckError(str(deck.folder), WRITTEN_FILE, "the deck has no written answers")
        listed = [[query.key, response] for query, response in self._answers.items()]
        self.fingerprint = f"{SOURCE}:{xxhash.xxh3_64_hexdigest(orjson.dumps(listed))}"

    @property
    def queries(self) -> tuple[Query, ...]:
        """The plays, in the order of the file."""
        return tuple(self._answers)

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """The answer to each play that has one; none for variants, and none after a refusal.

        A reviewer's refusal was of an earlier text: whoever wrote another wants that one.
        """
        drafts = [
            Draft(task, self._answers[task.query])
            for task in tasks
            if task.query in self._answers and not task.variant and not _refused(task)
        ]
        return Drafts(tuple(drafts), self.model)


def _refused(task: Task) -> bool:
    return any(refusal.check != REVIEWER for refusals in task.refusals for refusal in refusals)


class WrittenFirst:
    """A provider of written answers, and of another provider's for plays that have none."""

    def __init__(self, written: WrittenProvider, others: Provider) -> None:
        self._written = written
        self._others = others
        self.name, self.fingerprint = others.name, others.fingerprint

    def write(self, tasks: Sequence[Task]) -> Drafts:
        """Written drafts, then those of the other provider."""
        author = Author(SOURCE, self._written.model, self._written.fingerprint)
        found = [draft._replace(author=author) for draft in self._written.write(tasks).drafts]
        known = {draft.task.name for draft in found}
        others = self._others.write([task for task in tasks if task.name not in known])
        return others._replace(drafts=(*found, *others.drafts))


def written_answers(deck: Deck) -> dict[Query, Mapping[str, str]]:
    """The written answers by play; empty if the deck has no such file.

    Raises DeckError for a line that is not an answer to a play of the deck, or a second one to it.
    """
    return {query: response for query, (_, response) in numbered_answers(deck).items()}


def numbered_answers(deck: Deck) -> dict[Query, tuple[int, Mapping[str, str]]]:
    """The same, each with the number of its line."""
    answers: dict[Query, tuple[int, Mapping[str, str]]] = {}
    path = deck.folder / WRITTEN_FILE if deck.folder else None
    if path is None or not path.exists():
        return answers
    for number, line in json_lines(path):
        query, response = _answer(deck, path, number, line)
        if query in answers:
            above = f"an answer to the same play stands in line {answers[query][0]}"
            raise DeckError(str(path), f"line {number}", above)
        answers[query] = number, response
    return answers


def _answer(deck: Deck, path: Path, number: int, written: Any) -> tuple[Query, Mapping[str, str]]:
    place = f"line {number}"
    try:
        if strange := set(written) - set(LINE_MEMBERS):
            hint = nearest(min(strange), LINE_MEMBERS)
            raise DeckError(str(path), place, f"no such member: {min(strange)!r}{hint}")
        query = deck.legal_query([(card, phrase) for card, phrase in written["picks"]])
        title, text = written["title"], written["text"]
    except RequestError as error:
        raise DeckError(str(path), place, error.detail) from None
    except (KeyError, TypeError, ValueError) as error:
        raise DeckError(
            str(path), place, f"expected picks, title and text ({type(error).__name__})"
        ) from None
    if not isinstance(title, str) or not isinstance(text, str):
        raise DeckError(str(path), place, "title and text must be texts")
    return query, {"title": title, "poem": paragraphs(text)}


def paragraphs(text: str) -> str:
    """A text as an answer has it: one blank line between paragraphs, however they were parted."""
    lines = (line.strip() for line in text.splitlines())
    return BREAK.join(line for line in lines if line)
