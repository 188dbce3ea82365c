"""The interface of the modules here that make rows of a kind of deck, and what they share.

A deck's `training.json` has the words around its answers (system texts, the user's message), so that
a deck in another language is trained in that language.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import orjson

from app.errors import DeckError
from app.kinds.decks import kind_of
from app.kinds.kind import AnyDeck
from app.kinds.reading import Reader
from app.ledger.votes import UP, read_votes
from app.settings import Settings
from app.store.decision import REJECTED
from app.store.entry import Entry
from app.store.key import Query
from app.store.log import log_path, read_records
from app.store.sources import EDITED
from precompute.export.rows import Message, Origin, Row

TRAINING_FILE = "training.json"
# Types of members of the file, in words.
_SHAPES: Mapping[Any, str] = {
    str: "a text",
    dict: "an object",
    list[str]: "a list of texts",
    dict[str, str]: "texts by name",
    dict[str, list[str]]: "lists of texts by name",
}
_PLACE = re.compile(r"\{([a-z]+)\}")
# Sources whose terms may forbid to train other models on what they wrote.
RESTRICTED: Mapping[str, str] = {
    "gemini": "Google's terms for the Gemini API",
    "gemini-legacy": "Google's terms for the Gemini API",
    "openai": "the terms of the service that answered (OpenAI's forbid to train competing models)",
    "cloud": "the terms of the service that answered",
}
# The licence of what the makers of this project wrote, and of what is composed of it.
OURS = "MIT"
_LICENCES: Mapping[str, str] = {
    "written": OURS,
    "composer": OURS,
    "line": OURS,
    "ollama": "that of the model",
    "edited": "that of the text before",
}


class Material(ABC):
    """What a deck's answers are as conversations. Making one raises DeckError."""

    def __init__(self, deck: Any, options: RowOptions) -> None:
        self._deck = deck
        self._seed = options.seed

    @abstractmethod
    def rows(self, stored: StoredAnswers, left_out: Counter[str]) -> Iterator[Row]:
        """The rows of a deck, in a fixed order; `left_out` counts what makes none, by reason."""

    @abstractmethod
    def prompt(self, query: Query) -> tuple[Message, ...]:
        """The turns before an answer to a query. Raises KeyError if the deck lacks its ids."""

    @abstractmethod
    def group(self, query: Query) -> str:
        """The group of the rows that answer a query."""

    @abstractmethod
    def text(self, response: Mapping[str, str]) -> str:
        """An answer as the model is to write it."""

    @abstractmethod
    def read(self, answer: str) -> Mapping[str, str]:
        """What a model wrote, as a response that the gate can judge; empty if it is unreadable."""


@dataclass(frozen=True, slots=True)
class RowOptions:
    """`system` is "short" or "whole"; `seed` chooses among titles, names and messages.

    `validation` is the share of groups that the split holds out.
    """

    system: str = "short"
    seed: int = 0
    validation: float = 0.1


def material_of(deck: AnyDeck, options: RowOptions) -> Material:
    """The material of a deck, made by the module of its kind. Raises DeckError."""
    module: Any = importlib.import_module(f"precompute.export.{kind_of(deck).room}")
    made: Material = module.material(deck, options)
    return made


def licence_of(source: str) -> str:
    """The licence of what a source wrote."""
    return _LICENCES.get(source) or RESTRICTED.get(source, "unknown")


def training_texts(
    folder: Path | None, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A deck's `training.json`, which must have the `required` members. Raises DeckError.

    Their types are those of `_SHAPES`; `optional` ones may be missing.
    """
    if folder is None or not (folder / TRAINING_FILE).exists():
        raise DeckError(
            str(folder),
            TRAINING_FILE,
            "the file is missing; docs/fine-tuning.md says what it holds",
        )
    reader = Reader(folder, TRAINING_FILE)
    for name, shape in {**(optional or {}), **required}.items():
        outer = get_origin(shape) or shape
        if optional is None or name not in optional or name in reader.value:
            found = reader.member(reader.value, name, outer, "")
            if not _is_of(found, shape):
                raise reader.fail(name, f"expected {_SHAPES[shape]}")
    root: dict[str, Any] = reader.value
    return root


def _is_of(value: Any, shape: Any) -> bool:
    """Whether a JSON value is of a type such as `dict[str, list[str]]`; no list may be empty."""
    if get_origin(shape) is dict:
        inner = get_args(shape)[1]
        return isinstance(value, dict) and all(_is_of(one, inner) for one in value.values())
    if get_origin(shape) is list:
        (inner,) = get_args(shape)
        return isinstance(value, list) and bool(value) and all(_is_of(one, inner) for one in value)
    return isinstance(value, shape)


def system_text(folder: Path | None, texts: Mapping[str, Any], options: RowOptions) -> str:
    """The system text that the options choose. Raises DeckError if the deck has none of the name."""
    text = texts["system"].get(options.system)
    if not isinstance(text, str):
        raise DeckError(str(folder), TRAINING_FILE, f"'system' has no text {options.system!r}")
    return text


class StoredAnswers:
    """All answers in a deck's log, older ones too, with their votes."""

    def __init__(self, settings: Settings, deck: str) -> None:
        self._refused = log_path(settings.store, deck).with_suffix(".refused.jsonl")
        # By key, oldest first.
        self.by_key: dict[str, list[Entry]] = {}
        self._rejected: list[Entry] = []
        for item in read_records(log_path(settings.store, deck)):
            self._take(item.entry)
        self._votes: dict[tuple[str, int, str], Counter[str]] = {}
        for name, vote in read_votes(settings.ledger, deck):
            self._votes.setdefault(name, Counter())[vote] += 1

    def _take(self, entry: Entry) -> None:
        """Take a line in; one that decides about a text stands in the place of the text's own."""
        entries = self.by_key.setdefault(entry.key, [])
        if entry.verdict and entry.verdict != EDITED:
            entries[:] = [old for old in entries if not entry.same_text(old)]
            self._rejected = [old for old in self._rejected if not entry.same_text(old)]
        if entry.verdict == REJECTED:
            self._rejected.append(entry)
        elif not entry.gone:
            entries.append(entry)

    def current(self) -> Iterator[Entry]:
        """The newest entry of each key, variant and source, by key."""
        for entries in self.by_key.values():
            newest = {(entry.variant, entry.source): entry for entry in entries}
            yield from newest.values()

    def votes(self, entry: Entry) -> tuple[int, int]:
        """Up and down votes on an entry's text."""
        counts = self._votes.get((entry.key, entry.variant, entry.created), Counter())
        return counts[UP], counts.total() - counts[UP]

    def origin(self, entry: Entry) -> Origin:
        before = entry.writer if entry.source == EDITED else ""
        licence = licence_of(entry.writer)
        return Origin(entry.source, entry.model, licence, self.votes(entry), before)

    def refused(self) -> Iterator[dict[str, Any]]:
        """The answers that reviewers rejected, and those that builds set aside, oldest first."""
        for entry in self._rejected:
            yield {"key": entry.key, "refusals": ["reviewer"], "response": dict(entry.response)}
        if not self._refused.exists():
            return
        for line in self._refused.read_bytes().splitlines():
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(record, dict) and isinstance(record.get("response"), dict):
                yield record


def fill(text: str, values: Mapping[str, object]) -> str:
    """A text with the values in its places `{name}`; other braces are left as they are."""
    return _PLACE.sub(lambda found: str(values.get(found[1], found[0])), text)
