"""The pieces of which answers are composed: a deck's `forms.json` and `pieces.json`.

A form is a familiar kind of text that can treat several things in turn: a school report, a letter.
Its frames are such texts with holes. The holes `{1}` to `{5}` are filled with sentences, of
which each phrase has its own for each form; other holes, as `{visit}`, with an ending of the lead,
which is one of the hand's cards. So an answer treats all cards and returns to one of them.

    forms.json    endings: name → guide, length, each
                  forms: id, name, guide, length, each, and
                      frames      texts with holes, and `link`, the text before each sentence
                      categories  optional: a word for each category of cards
    pieces.json   cards: id → titles, and its endings
                  phrases: id → form → sentences

`{word}` in a link is the word of the card's category. `guide` (how to write), `length` (least and
greatest, in characters) and `each` (how many) are for writers of pieces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from app.kinds.reading import Reader

FORMS_FILE = "forms.json"
PIECES_FILE = "pieces.json"
_HOLE = re.compile(r"\{([a-z]+|[0-9]+)\}")
WORD = "{word}"


class PieceRules(NamedTuple):
    """Instructions for writing a kind of piece: how, how long (least, greatest), how many."""

    guide: str
    length: tuple[int, int]
    each: int


class Frame(NamedTuple):
    """A text with holes: `parts` are texts and, in every second place, holes without braces.

    `sentences` are the holes for sentences, counted from 0, `endings` the names of the others.
    `link` is the text before each sentence, in which `{word}` is the sentence's word.
    """

    parts: tuple[str, ...]
    sentences: tuple[int, ...]
    endings: tuple[str, ...]
    link: str


class Form(NamedTuple):
    """A kind of text. `categories` has a word by category, or is empty."""

    id: str
    name: str
    wanted: PieceRules
    frames: tuple[Frame, ...]
    categories: Mapping[str, str]


class CardPieces(NamedTuple):
    """The titles and endings, by name, for an answer whose lead is this card."""

    titles: tuple[str, ...]
    endings: Mapping[str, tuple[str, ...]]


class Pieces(NamedTuple):
    """All of a deck's pieces."""

    endings: Mapping[str, PieceRules]
    forms: tuple[Form, ...]
    cards: Mapping[str, CardPieces]
    phrases: Mapping[str, Mapping[str, tuple[str, ...]]]

    def whole(self, cards: Iterable[str], phrases: Iterable[str]) -> bool:
        """Whether there are forms, and pieces for all of these cards and phrases."""
        return (
            bool(self.forms)
            and all(card in self.cards for card in cards)
            and all(
                self.phrases.get(phrase, {}).get(form.id)
                for phrase in phrases
                for form in self.forms
            )
        )


NO_PIECES = Pieces({}, (), {}, {})


def split_frame(text: str, link: str) -> Frame:
    """Parse a frame's text."""
    parts = _HOLE.split(text)
    holes = parts[1::2]
    return Frame(
        parts=tuple(parts),
        sentences=tuple(int(hole) - 1 for hole in holes if hole.isdigit()),
        endings=tuple(hole for hole in holes if not hole.isdigit()),
        link=link,
    )


def linked(link: str, word: str, sentence: str) -> str:
    return link.replace(WORD, word) + sentence


def frame_length(frame: Frame, size: Callable[[str], int]) -> int:
    """The length of a frame and its links, without words, sentences and endings."""
    own = sum([size(part.replace("\n", "")) for part in frame.parts[::2]])
    return own + len(frame.sentences) * size(frame.link.replace(WORD, ""))


class Piece(NamedTuple):
    """A sentence or ending, with its place, the id of its phrase or card, and its instructions."""

    where: str
    of: str
    text: str
    wanted: PieceRules


def own_pieces(pieces: Pieces) -> Iterator[Piece]:
    """All sentences and endings."""
    for phrase, by_form in pieces.phrases.items():
        for form in pieces.forms:
            for number, sentence in enumerate(by_form.get(form.id, ()), 1):
                yield Piece(f"{form.id} {number} of {phrase}", phrase, sentence, form.wanted)
    for card, own in pieces.cards.items():
        for name, texts in own.endings.items():
            for number, text in enumerate(texts, 1):
                yield Piece(f"{name} {number} of {card}", card, text, pieces.endings[name])


def load_forms(
    folder: Path, size: int, categories: Iterable[str]
) -> tuple[Mapping[str, PieceRules], tuple[Form, ...]]:
    """The forms of a deck with hands of `size` cards; none if it has no file. Raises DeckError."""
    if not (folder / FORMS_FILE).exists():
        return {}, ()
    reader = Reader(folder, FORMS_FILE)
    endings = {
        name: _wanted(reader, raw, f"ending {name}")
        for name, raw in reader.member(reader.value, "endings", dict, "").items()
    }
    forms: list[Form] = []
    for number, raw in enumerate(reader.member(reader.value, "forms", list, ""), 1):
        form_id = reader.member(raw, "id", str, f"form {number}")
        place = f"form {form_id}"
        if any(form_id == form.id for form in forms):
            raise reader.fail(place, "the id stands twice")
        words = reader.given(raw, "categories", dict, {}, place)
        if words and (missing := sorted(set(categories) - set(words))):
            raise reader.fail(place, f"'categories' lacks a word for {missing[0]!r}")
        frames = reader.items(raw.get("frames", []), f"{place} frames")
        if not frames:
            raise reader.fail(place, "there is no frame")
        forms.append(
            Form(
                id=form_id,
                name=reader.member(raw, "name", str, place),
                wanted=_wanted(reader, raw, place),
                frames=tuple(
                    _frame(reader, frame, f"{place} frame {n}", raw, size, endings)
                    for n, frame in enumerate(frames, 1)
                ),
                categories={
                    category: reader.member(words, category, str, place) for category in words
                },
            )
        )
    if not forms:
        raise reader.fail("", "there is no form")
    return endings, tuple(forms)


def _wanted(reader: Reader, raw: Any, place: str) -> PieceRules:
    return PieceRules(
        reader.member(raw, "guide", str, place),
        reader.range(reader.member(raw, "length", list, place), f"{place} length"),
        reader.member(raw, "each", int, place),
    )


def _frame(
    reader: Reader, raw: Any, place: str, form: Any, size: int, endings: Mapping[str, PieceRules]
) -> Frame:
    link = {"link": form.get("link", ""), **raw}.get("link") if isinstance(raw, dict) else ""
    text = reader.member(raw, "text", str, place)
    frame = split_frame(text, str(link))
    if sorted(frame.sentences) != list(range(size)):
        raise reader.fail(place, f"needs each of the holes {{1}} to {{{size}}} once")
    if strange := set(frame.endings) - set(endings):
        raise reader.fail(place, f"no ending is called {min(strange)!r}")
    if (WORD in frame.link) != bool(form.get("categories")):
        raise reader.fail(place, f"a link holds {WORD} where the form has categories")
    return frame


def load_pieces(
    folder: Path,
    cards: Mapping[str, Sequence[str]],
    titles: Iterable[str],
    endings: Mapping[str, PieceRules],
    forms: tuple[Form, ...],
) -> Pieces:
    """The pieces of a deck; `cards` are the phrase ids by card id. Raises DeckError.

    If pieces are missing, or the file, nothing is composed.
    """
    if not forms or not (folder / PIECES_FILE).exists():
        return Pieces(endings, forms, {}, {})
    reader = Reader(folder, PIECES_FILE)
    of_cards = _pieces_of_cards(reader, cards, set(titles), endings)
    ids = [phrase for phrases in cards.values() for phrase in phrases]
    of_phrases = {}
    for phrase, raw in reader.member(reader.value, "phrases", dict, "").items():
        place = f"phrase {phrase}"
        if ids.count(phrase) != 1:
            fault = "two cards have a phrase of this id" if phrase in ids else "no card has it"
            raise reader.fail(place, fault)
        if not isinstance(raw, dict):
            raise reader.fail(place, "expected an object: form → sentences")
        of_phrases[phrase] = {
            form.id: reader.strings(raw.get(form.id, []), f"{place} {form.id}") for form in forms
        }
    return Pieces(endings, forms, of_cards, of_phrases)


def _pieces_of_cards(
    reader: Reader, cards: Container[str], titles: Set[str], endings: Iterable[str]
) -> dict[str, CardPieces]:
    found = {}
    for card, raw in reader.member(reader.value, "cards", dict, "").items():
        place = f"card {card}"
        if card not in cards:
            raise reader.fail(place, "the deck has no such card")
        own = reader.strings(reader.member(raw, "titles", list, place), f"{place} title")
        if strange := set(own) - titles:
            raise reader.fail(place, f"title {min(strange)!r} is not among the deck's titles")
        lent = {
            name: reader.strings(reader.member(raw, name, list, place), f"{place} {name}")
            for name in endings
        }
        if not own or not all(lent.values()):
            raise reader.fail(place, "needs a title and each of the endings")
        found[card] = CardPieces(own, lent)
    return found
