"""Whether the parts of a deck of cards agree: its language, letters, prompts, frames, texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from app.errors import DeckError
from app.kinds.cards.deck import CARD_MEMBERS, FRAMES, Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.prompts import (
    FOLDER,
    PIECES_PROMPT,
    PLACES,
    has_prompts,
    load_prompt,
    load_reasons,
    load_variety,
    prompts_folder,
)
from app.kinds.detection import likely
from app.kinds.language import ANY
from app.kinds.reading import nearest, text_of
from precompute.review.check import Finding

# The greatest length of a title that the flyer sets in a size that is read from a distance.
LONGEST_TITLE = {False: 28, True: 60}


def check_agreement(deck: Deck) -> Iterator[Finding]:
    """Warnings about what is legal, but hardly meant."""
    for where, fault in _faults(deck):
        yield Finding(f"{deck.id}: {where}", fault, error=False)


def check_prompts(deck: Deck) -> Iterator[Finding]:
    """Errors in the files of a deck's prompts, which a build would meet."""
    if not has_prompts(deck):
        return
    folder = prompts_folder(deck)
    readers: list[Callable[[], object]] = [
        partial(load_variety, folder),
        partial(load_reasons, folder),
        *(partial(load_prompt, folder, name) for name in PLACES if _needed(deck, folder / name)),
    ]
    for read in readers:
        try:
            read()
        except DeckError as error:
            fault = f"{error.place}: {error.fault}" if error.place else error.fault
            yield Finding(f"{deck.id}: {error.file}", fault)


def _needed(deck: Deck, path: Path) -> bool:
    """Whether a prompt file is there, or should be: that for pieces only where there are ideas."""
    return path.exists() or path.name != PIECES_PROMPT or bool(deck.pieces.ideas)


def _faults(deck: Deck) -> Iterator[tuple[str, str]]:
    yield from _scripts(deck)
    yield from _languages(deck)
    yield from _frames(deck)
    yield from _titles(deck)
    yield from _cards(deck)
    yield from _contrast(deck)
    if not has_prompts(deck):
        yield FOLDER, "there are no prompts, so that no model can be asked for answers"


def _scripts(deck: Deck) -> Iterator[tuple[str, str]]:
    scripts = deck.rules.script
    if ANY not in scripts and deck.language not in scripts:
        fault = f"the answers are in the letters of {', '.join(scripts)}"
        yield "deck.json: answer script", f"the language is {deck.language}, {fault}"


def _texts(deck: Deck) -> Mapping[str, str]:
    """The texts that should be in the deck's language, by place."""
    texts = {
        "cards.json: phrases": "\n".join(p.text for card in deck.cards for p in card.phrases),
        "titles.json": "\n".join(deck.titles),
        "deck.json: template": "\n".join(t for texts in deck.template.values() for t in texts),
    }
    if has_prompts(deck):
        assert deck.folder is not None
        for name in PLACES:
            path = deck.folder / FOLDER / name
            if path.is_file():
                texts[f"{FOLDER}/{name}"] = text_of(path)
    return texts


def _languages(deck: Deck) -> Iterator[tuple[str, str]]:
    for where, text in _texts(deck).items():
        found = likely(text)
        if found and found.id != deck.language:
            yield where, f"seems to be in {found.id}, the language of the deck is {deck.language}"


def _frames(deck: Deck) -> Iterator[tuple[str, str]]:
    gate = Gate.of(deck)
    for kind in FRAMES if deck.template else ():
        texts = deck.template.get(kind, ())
        if not texts:
            yield f"deck.json: template {kind}", "there is none"
        for number, text in enumerate(texts, 1):
            # A word that tells a card is no fault here: hands without the card use the frame.
            for refusal in gate.examine_text(text):
                yield f"deck.json: template {kind} {number}", f"{refusal}: {text}"
            if deck.lang.ended(text) != text:
                yield f"deck.json: template {kind} {number}", f"has no stop at its end: {text}"


def _strange_members(deck: Deck) -> Iterator[tuple[str, str]]:
    """Members of cards that may be misspelt. Others are the game's, and are kept."""
    for card in deck.cards:
        for name in card.raw:
            if name not in CARD_MEMBERS and (hint := nearest(name, CARD_MEMBERS)):
                yield f"cards.json: card {card.id}", f"has the member {name!r}{hint}"


def _titles(deck: Deck) -> Iterator[tuple[str, str]]:
    most = LONGEST_TITLE[deck.lang.spaced]
    for number, title in enumerate(deck.titles, 1):
        if len(title) > most:
            fault = f"has {len(title)} characters; more than {most} are set very small: {title}"
            yield f"titles.json: title {number}", fault


def _contrast(deck: Deck) -> Iterator[tuple[str, str]]:
    """Text that is hard to read: less than 4.5 : 1, by the Web Content Accessibility Guidelines."""
    for text, ground in (("ink", "paper"), ("soft", "paper"), ("accent_ink", "paper")):
        if text in deck.theme and ground in deck.theme:
            ratio = _ratio(deck.theme[text], deck.theme[ground])
            if ratio < 4.5:
                fault = f"the contrast with {ground} is {ratio:.1f} : 1; text needs 4.5 : 1"
                yield f"deck.json: theme {text}", fault


def _ratio(one: str, other: str) -> float:
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """The relative luminance of a colour like #1f2322 (WCAG 2.2)."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _cards(deck: Deck) -> Iterator[tuple[str, str]]:
    for category, cards in deck.cards_by_category.items():
        if len(cards) == 1:
            fault = f"has one card, {cards[0].id}, which comes again and again"
            yield f"cards.json: category {category}", fault
    ids = Counter(phrase.id for card in deck.cards for phrase in card.phrases)
    for phrase, times in ids.items():
        if times > 1:
            yield f"cards.json: phrase {phrase}", f"{times} cards have a phrase of this id"
    yield from _strange_members(deck)
    for card in deck.cards:
        for phrase in card.raw["poems"]:
            if len(phrase["poem_text"].strip().splitlines()) > 1:
                fault = "has a line break, which is left out"
                yield f"cards.json: phrase {phrase['id']}", fault
