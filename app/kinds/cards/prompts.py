"""Prompts: text files with named places, and the instructions that make answers varied.

A file has sections, separated by a line `----`, with places `{name}`. The name of a place consists
of small letters, digits and underscores; other braces, as in JSON, are left as they are.

    poem.txt       fixed, asked, one answer    whole poems, many in a request
    small.txt      keywords, poem              small models, in two steps
    pieces.txt     fixed, asked, one card      pieces
    variety.json   ideas, builds, opening moves
    reasons.json   the sentences about refusals, by check
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from app.errors import DeckError
from app.kinds.cards.deck import Deck
from app.kinds.language import Language, Writing
from app.kinds.reading import Reader, text_of
from app.kinds.refusal import Refusal
from app.kinds.tasks import Refusals

FOLDER = "prompts"

_SECTION = re.compile(r"^----\n", re.MULTILINE)
_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")

RULE_PLACES = frozenset(
    {
        "least", "most", "unit", "fewest", "paragraphs", "sentence", "wording", "forbidden",
        "polite", "address", "showcase",
    }
)  # fmt: skip
_LISTS = frozenset({"forbidden", "polite", "address", "showcase", "tells"})
PIECES_PROMPT = "pieces.txt"
# What each file's sections must hold; more than that is a mistake, apart from the rules' places.
PLACES: Mapping[str, tuple[frozenset[str], ...]] = {
    "poem.txt": (
        frozenset({"least", "most"}),
        frozenset({"count", "titles", "cards", "answers"}),
        frozenset({"id", "idea", "build", "opening", "phrases", "again"}),
    ),
    "small.txt": (
        frozenset({"phrases", "tells"}),
        frozenset({"keywords", "phrases", "titles", "tells", "idea", "opening", "again"}),
    ),
    PIECES_PROMPT: (
        frozenset({"ideas"}),
        frozenset({"count", "cards"}),
        frozenset({"id", "category", "condition", "tells", "phrases", "again"}),
    ),
}


@dataclass(frozen=True, slots=True)
class PromptFile:
    """The sections of a prompt file. Made by `load_prompt`."""

    path: Path
    sections: tuple[str, ...]

    def fill(self, section: int, values: Mapping[str, object]) -> str:
        """A section with the values in its places; other braces are left as they are.

        A line about a list of words that the deck does not have is left out.
        """
        empty = {name for name in _LISTS if values.get(name) == ""}
        lines = self.sections[section].split("\n")
        text = "\n".join(line for line in lines if not empty & set(_PLACE.findall(line)))
        return _PLACE.sub(lambda found: str(values.get(found[1], found[0])), text)


def has_prompts(deck: Deck) -> bool:
    """Whether a deck has prompts of its own; it never borrows another's."""
    return deck.folder is not None and (deck.folder / FOLDER).is_dir()


def prompts_folder(deck: Deck) -> Path:
    """The folder with the prompts of a deck. Raises DeckError if there is none."""
    assert deck.folder is not None
    if has_prompts(deck):
        return deck.folder / FOLDER
    raise DeckError(
        str(deck.folder / FOLDER),
        "",
        "the folder is missing; a model needs prompts in the deck's language: take those of a "
        f"folder that `precompute new-deck NAME --language {deck.language}` makes",
    )


def load_prompt(folder: Path, name: str) -> PromptFile:
    """Read and check a prompt file. Raises DeckError."""
    path = folder / name
    text = text_of(path).replace("\r\n", "\n")
    sections = tuple(part.strip("\n") for part in _SECTION.split(text))
    expected = PLACES[name]
    if len(sections) != len(expected):
        fault = f"expected {len(expected)} sections, parted by a line ----, found {len(sections)}"
        raise DeckError(str(path), "", fault)
    for number, (section, wanted) in enumerate(zip(sections, expected, strict=True), 1):
        found = set(_PLACE.findall(section))
        if wanted - found:
            raise DeckError(str(path), f"section {number}", f"lacks {_named(wanted - found)}")
        if found - wanted - RULE_PLACES:
            strange = _named(found - wanted - RULE_PLACES)
            raise DeckError(str(path), f"section {number}", f"has the unknown place {strange}")
    return PromptFile(path, sections)


def _named(places: Iterable[str]) -> str:
    return "{" + min(places) + "}"


def rule_values(deck: Deck) -> dict[str, object]:
    """The values of the places that are named after a deck's rules."""
    rules, language = deck.rules, deck.lang
    least, most = rules.length
    return {
        "least": least,
        "most": most,
        "fewest": rules.paragraphs[0],
        "paragraphs": rules.paragraphs[1],
        "sentence": rules.sentence,
        "wording": rules.wording,
        "forbidden": language.comma.join(rules.forbidden),
        "polite": language.comma.join(rules.polite),
        "address": language.comma.join(rules.address),
        "showcase": language.comma.join(rules.showcase),
        "unit": language.writing.words if rules.words else language.writing.unit,
    }


def rules_fingerprint(values: Mapping[str, object]) -> list[tuple[str, object]]:
    """The values of the rules for a fingerprint: the unit is known by the figures."""
    return sorted((name, value) for name, value in values.items() if name != "unit")


@dataclass(frozen=True, slots=True)
class Manner:
    """Instructions for one answer, which make it unlike the others."""

    idea: str
    note: str
    build: str
    opening: str


@dataclass(frozen=True, slots=True)
class Variety:
    """Ideas, builds and opening moves. Made by `load_variety`."""

    ideas: tuple[tuple[str, str], ...]
    builds: tuple[str, ...]
    openings: tuple[str, ...]

    def manners(self, seeds: Iterable[int]) -> list[Manner]:
        """One manner for each seed, with distinct ideas as far as there are enough.

        The manners depend on the seeds only, so that a build that is started again can parse the
        reply to an earlier request.
        """
        made: list[Manner] = []
        used: set[str] = set()
        for seed in seeds:
            rest, start = divmod(seed, len(self.ideas))
            idea, note = self._idea(start, used)
            used.add(idea)
            rest, build = divmod(rest, len(self.builds))
            opening = rest % len(self.openings)
            made.append(Manner(idea, note, self.builds[build], self.openings[opening]))
        return made

    def _idea(self, start: int, used: set[str]) -> tuple[str, str]:
        for step in range(len(self.ideas)):
            idea = self.ideas[(start + step) % len(self.ideas)]
            if idea[0] not in used:
                return idea
        return self.ideas[start]


def load_variety(folder: Path) -> Variety:
    """Read and check `variety.json`. Raises DeckError."""
    reader = Reader(folder, "variety.json")
    value = reader.value
    try:
        variety = Variety(
            tuple((str(name), str(note)) for name, note in value["ideas"]),
            tuple(map(str, value["builds"])),
            tuple(map(str, value["openings"])),
        )
    except (KeyError, TypeError, ValueError):
        fault = 'expected {"ideas": [[name, note]], "builds": [text], "openings": [text]}'
        raise reader.fail("", fault) from None
    names = [name for name, _ in variety.ideas]
    if not (names and variety.builds and variety.openings) or len(set(names)) < len(names):
        raise reader.fail("", "there must be ideas, each once, builds and openings")
    return variety


def load_reasons(folder: Path) -> dict[str, str]:
    """Read and check `reasons.json`. Raises DeckError."""
    reader = Reader(folder, "reasons.json")
    value: Any = reader.value
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise reader.fail("", "expected an object: check → text")
    return value


def refusal_notes(
    reasons: Mapping[str, str], refusals: Iterable[Refusals], language: Language
) -> str:
    """The lines of a prompt about earlier refusals, each given once; empty if there were none."""
    writing = language.writing
    single = (refusal for of_one_try in refusals for refusal in of_one_try)
    notes = dict.fromkeys(_note(reasons, refusal, writing) for refusal in single)
    return writing.again.replace("{notes}", writing.between.join(notes)) if notes else ""


def _note(reasons: Mapping[str, str], refusal: Refusal, writing: Writing) -> str:
    known = reasons.get(refusal.check)
    if known is None:
        return str(refusal)
    limit = refusal.limit
    for name, unit in (("characters", writing.unit), ("words", writing.words)):
        # A unit of one sign stands close to its figure.
        limit = limit.replace(f" {name}", unit if len(unit) == 1 else f" {unit}")
    note = known.replace("{figure}", refusal.figure).replace("{limit}", limit)
    # The sentence around the notes ends them.
    return note.strip().removesuffix(".")


def prompt_fingerprint(*parts: object) -> str:
    """A hash over a prompt and the values of its fixed places."""
    digest = xxhash.xxh3_64()
    for part in parts:
        digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()
