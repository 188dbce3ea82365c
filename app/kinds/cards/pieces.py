"""The pieces of which answers are composed: a deck's `ideas.json` and `pieces.json`.

An idea (a letter to a detective, to a child that is to be born) can be had of any card, and carries a whole
answer. Its frames are texts with a title and the holes `{1}` to `{5}`, which are filled with sentences: each
phrase has its own for each idea. So an answer is about all cards, and about one thing.

    ideas.json    ideas: id, name, guide, length, each, and
                      frames    title, text
                  order: optional; lists of words, as of morning, noon, evening and night
    pieces.json   phrases: id → idea → sentences

A sentence with a word of one of the lists in `order` comes after those of the lists before it.
`guide` (how to write), `length` (least and greatest, in characters) and `each` (how many) are for
writers of sentences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.reading import Reader

IDEAS_FILE = "ideas.json"
PIECES_FILE = "pieces.json"
_HOLE = re.compile(r"\{([0-9]+)\}")


class SentenceRules(NamedTuple):
    """Instructions for writing sentences: how, how long (least, greatest), how many."""

    guide: str
    length: tuple[int, int]
    each: int


class Frame(NamedTuple):
    """A title, and a text with holes: `texts` are what stands before, between and behind them.

    `holes` are the numbers of the sentences in them, counted from 0.
    """

    title: str
    texts: tuple[str, ...]
    holes: tuple[int, ...]


class Idea(NamedTuple):
    """What a whole answer is about."""

    id: str
    name: str
    wanted: SentenceRules
    frames: tuple[Frame, ...]


class Pieces(NamedTuple):
    """All of a deck's pieces.

    `phrases` are the sentences by the id of the phrase and of the idea, `ranks` the places of those that
    have an order.
    """

    ideas: tuple[Idea, ...]
    phrases: Mapping[str, Mapping[str, tuple[str, ...]]]
    ranks: Mapping[str, int] = {}

    def whole(self, phrases: Iterable[str]) -> bool:
        """Whether there are ideas, and sentences of all of them for all of these phrases."""
        return bool(self.ideas) and all(
            self.phrases.get(phrase, {}).get(idea.id) for phrase in phrases for idea in self.ideas
        )

    def sentences(self, idea: Idea) -> Iterator[str]:
        """All sentences of an idea."""
        for by_idea in self.phrases.values():
            yield from by_idea.get(idea.id, ())


NO_PIECES = Pieces((), {})


def split_frame(title: str, text: str) -> Frame:
    """Parse a frame's text."""
    parts = _HOLE.split(text)
    return Frame(title, tuple(parts[::2]), tuple(int(hole) - 1 for hole in parts[1::2]))


def frame_length(frame: Frame, size: Callable[[str], int]) -> int:
    """The length of a frame without sentences."""
    return sum([size(text.replace("\n", "")) for text in frame.texts])


class Piece(NamedTuple):
    """A sentence with its place, the id of its phrase, and its instructions."""

    where: str
    phrase: str
    text: str
    wanted: SentenceRules


def own_pieces(pieces: Pieces) -> Iterator[Piece]:
    """All sentences."""
    for phrase, by_idea in pieces.phrases.items():
        for idea in pieces.ideas:
            for number, sentence in enumerate(by_idea.get(idea.id, ()), 1):
                yield Piece(f"{idea.id} {number} of {phrase}", phrase, sentence, idea.wanted)


Order = tuple[tuple[str, ...], ...]


def load_ideas(folder: Path, size: int) -> tuple[tuple[Idea, ...], Order]:
    """The ideas of a deck with hands of `size` cards, and lists of words by which sentences are ordered.

    Both are empty if it has no file. Raises DeckError.
    """
    if not (folder / IDEAS_FILE).exists():
        return (), ()
    reader = Reader(folder, IDEAS_FILE)
    reader.only(reader.value, "", ("ideas", "order"))
    order = reader.items(reader.value.get("order", []), "order")
    ideas: dict[str, Idea] = {}
    for number, raw in enumerate(reader.member(reader.value, "ideas", list, ""), 1):
        name = reader.member(raw, "id", str, f"idea {number}")
        place = f"idea {name}"
        reader.only(raw, place, ("id", "name", "guide", "length", "each", "frames"))
        if name in ideas:
            raise reader.fail(place, "the id stands twice")
        frames = reader.member(raw, "frames", list, place)
        read = tuple(
            _frame(reader, frame, f"{place} frame {n}", size) for n, frame in enumerate(frames, 1)
        )
        if not read:
            raise reader.fail(place, "there is no frame")
        ideas[name] = Idea(
            id=name,
            name=reader.member(raw, "name", str, place),
            wanted=SentenceRules(
                reader.member(raw, "guide", str, place),
                reader.range(reader.member(raw, "length", list, place), f"{place} length"),
                reader.member(raw, "each", int, place),
            ),
            frames=read,
        )
    if not ideas:
        raise reader.fail("", "there is no idea")
    return tuple(ideas.values()), tuple(reader.strings(words, "order") for words in order)


def _frame(reader: Reader, raw: Any, place: str, size: int) -> Frame:
    reader.only(raw, place, ("title", "text"))
    frame = split_frame(
        reader.member(raw, "title", str, place),
        reader.member(raw, "text", str, place),
    )
    if sorted(frame.holes) != list(range(size)):
        raise reader.fail(place, f"needs each of the holes {{1}} to {{{size}}} once")
    return frame


def load_pieces(
    folder: Path, phrases: Iterable[str], ideas: tuple[Idea, ...], order: Order
) -> Pieces:
    """The pieces of a deck; `phrases` are the ids of all phrases. Raises DeckError.

    If pieces are missing, or the file, nothing is composed.
    """
    if not ideas or not (folder / PIECES_FILE).exists():
        return Pieces(ideas, {})
    reader = Reader(folder, PIECES_FILE)
    reader.only(reader.value, "", ("phrases",))
    ids = list(phrases)
    found = {}
    for phrase, raw in reader.member(reader.value, "phrases", dict, "").items():
        place = f"phrase {phrase}"
        if ids.count(phrase) != 1:
            fault = "two cards have a phrase of this id" if phrase in ids else "no card has it"
            raise reader.fail(place, fault)
        reader.only(raw, place, [idea.id for idea in ideas])
        found[phrase] = {
            idea.id: reader.strings(raw.get(idea.id, []), f"{place} {idea.id}") for idea in ideas
        }
    ranks = {
        text: rank
        for by_idea in found.values()
        for texts in by_idea.values()
        for text in texts
        if (rank := _rank(text, order)) is not None
    }
    return Pieces(ideas, found, ranks)


def _rank(text: str, order: Order) -> int | None:
    """The place of the first list of which a text has a word."""
    return next((n for n, words in enumerate(order) if any(word in text for word in words)), None)
