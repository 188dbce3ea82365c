"""Reads the folder of a deck of cards.

Everything is checked; a `DeckError` names the file, the place and the fault.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

from app.kinds.cards.deck import (
    BY_HAND,
    CARDS_FILE,
    FRAMES,
    MEMBERS,
    THEME,
    THEME_CHOICES,
    TITLES_FILE,
    Card,
    Deck,
    Phrase,
    Rules,
    default_rules,
)
from app.kinds.cards.pieces import load_ideas, load_pieces
from app.kinds.cards.words import load_words
from app.kinds.language import ANY, SCRIPTS, Language
from app.kinds.reading import DECK_FILE, Reader


def load_deck(folder: Path) -> Deck:
    """Read and check a deck of cards. Raises DeckError."""
    reader = Reader(folder, DECK_FILE)
    root = reader.value
    reader.only(root, "", MEMBERS)
    hand_size, choose = _load_hand(reader, root)
    deck_id = reader.deck_id(root)
    language = reader.language(root)
    cards = _load_cards(folder, language)
    categories = {card.category for card in cards}
    if len(categories) < hand_size:
        raise reader.fail(
            "hand", f"{hand_size} distinct categories are needed, the cards have {len(categories)}"
        )
    titles = _load_titles(folder)
    phrases = [phrase.id for card in cards for phrase in card.phrases]
    return Deck(
        id=deck_id,
        name=str(root.get("name", deck_id)),
        language=language.id,
        hand_size=hand_size,
        cards=cards,
        titles=titles,
        rules=_load_rules(reader, root, language),
        groups=_load_groups(reader, root, categories),
        pieces=load_pieces(folder, phrases, *load_ideas(folder, hand_size)),
        template=_load_template(reader, root),
        folder=folder,
        words=load_words(folder),
        theme=_load_theme(reader, root),
        written_by=reader.given(root, "written_by", str, BY_HAND),
        choose=choose,
    )


def _load_hand(reader: Reader, root: Any) -> tuple[int, bool]:
    """How many cards a hand has, and whether visitors pick them themselves."""
    hand = reader.member(root, "hand", dict, "")
    reader.only(hand, "hand", ("size", "distinct", "choose"))
    size = reader.member(hand, "size", int, "hand")
    if not 1 <= size <= 12:
        raise reader.fail("hand", f"'size' must be from 1 to 12, not {size}")
    if hand.get("distinct", "category") != "category":
        raise reader.fail("hand", "'distinct' can only be 'category'")
    return size, reader.given(hand, "choose", bool, False, "hand")


def _load_cards(folder: Path, language: Language) -> tuple[Card, ...]:
    reader = Reader(folder, CARDS_FILE)
    cards = []
    seen: set[str] = set()
    for number, raw in enumerate(reader.items(reader.value, ""), 1):
        place = f"card {raw['id']}" if isinstance(raw, dict) and "id" in raw else f"card {number}"
        card = _load_card(reader, raw, place, language)
        if card.id in seen:
            raise reader.fail(place, "the id stands twice")
        seen.add(card.id)
        cards.append(card)
    if not cards:
        raise reader.fail("", "there is no card")
    return tuple(cards)


def _load_card(reader: Reader, raw: Any, place: str, language: Language) -> Card:
    card_id = unicodedata.normalize("NFC", reader.member(raw, "id", str, place))
    phrases: list[Phrase] = []
    for number, item in enumerate(reader.member(raw, "poems", list, place), 1):
        at = f"{place} phrase {number}"
        phrase_id = unicodedata.normalize("NFC", reader.member(item, "id", str, at))
        text = reader.member(item, "poem_text", str, at)
        if any(phrase_id == phrase.id for phrase in phrases):
            raise reader.fail(at, f"the id {phrase_id!r} stands twice")
        # A poem's paragraphs are its own: a phrase that the game breaks over lines is one line
        # here.
        phrases.append(Phrase(phrase_id, _one_line(text, language), card_id))
    if not phrases:
        raise reader.fail(place, "the card has no phrase")
    text = reader.member(raw, "condition_text", str, place)
    words = (
        reader.strings(raw["tells"], f"{place} tells")
        if "tells" in raw
        else language.content_words(text)
    )
    return Card(
        id=card_id,
        category=reader.member(raw, "category", str, place),
        text=text,
        strength=reader.member(raw, "strength", int, place),
        phrases=tuple(phrases),
        telling_words=words,
        raw=raw,
    )


def _one_line(text: str, language: Language) -> str:
    lines = [line for line in map(str.strip, text.splitlines()) if line]
    return (" " if language.spaced else "").join(lines)


def _load_titles(folder: Path) -> tuple[str, ...]:
    reader = Reader(folder, TITLES_FILE)
    titles = reader.strings(reader.value, "title")
    if not titles:
        raise reader.fail("", "there is no title")
    twice = [title for title, times in Counter(titles).items() if times > 1]
    if twice:
        raise reader.fail(f"title {twice[0]!r}", "it stands twice")
    return titles


def _load_rules(reader: Reader, root: Any, language: Language) -> Rules:
    answer = root.get("answer", {})
    reader.only(answer, "answer", Rules._fields, "rule")
    if "characters" in answer and "words" in answer:
        raise reader.fail("answer", "give the length in 'characters' or in 'words', not in both")
    defaults = default_rules(language)
    values: dict[str, Any] = {}
    for name, value in answer.items():
        place = f"answer {name}"
        if name == "script":
            values[name] = _scripts(reader, value)
        elif isinstance(getattr(defaults, name), int):
            values[name] = reader.member(answer, name, int, "answer")
            if value < 1:
                raise reader.fail(place, f"expected at least 1, not {value}")
        elif name in ("characters", "words", "paragraphs"):
            values[name] = reader.range(value, place)
        else:
            values[name] = reader.strings(value, place)
    return defaults._replace(**values)


def _scripts(reader: Reader, value: Any) -> tuple[str, ...]:
    scripts = reader.strings(value if isinstance(value, list) else [value], "answer script")
    strange = [script for script in scripts if script not in SCRIPTS]
    if strange or not scripts:
        fault = f"expected some of {', '.join(SCRIPTS)}, not {', '.join(strange) or 'none'}"
        raise reader.fail("answer script", fault)
    if ANY in scripts and len(scripts) > 1:
        raise reader.fail("answer script", f"{ANY!r} stands alone")
    return scripts


def _load_groups(reader: Reader, root: Any, categories: set[str]) -> dict[str, tuple[str, ...]]:
    named = reader.object(root.get("groups", {}), "groups")
    groups = {name: reader.strings(value, f"groups {name}") for name, value in named.items()}
    if not groups:
        return {category: (category,) for category in sorted(categories)}
    listed = Counter(itertools.chain.from_iterable(groups.values()))
    for category in sorted(categories):
        if listed[category] != 1:
            raise reader.fail("groups", f"category {category!r} must stand in exactly one group")
    return groups


def _load_template(reader: Reader, root: Any) -> dict[str, tuple[str, ...]]:
    """A deck's own frames for the template tier, if it has any."""
    given = root.get("template", {})
    reader.only(given, "template", FRAMES)
    return {name: reader.strings(texts, f"template {name}") for name, texts in given.items()}


def _load_theme(reader: Reader, root: Any) -> dict[str, str]:
    theme = root.get("theme", {})
    reader.only(theme, "theme", THEME)
    for name, value in theme.items():
        if choices := THEME_CHOICES.get(name):
            reader.one_of(value, choices, f"theme {name}")
        elif not isinstance(value, str) or not re.fullmatch("#[0-9a-fA-F]{6}", value):
            raise reader.fail(f"theme {name}", f"expected a colour like #1f2322, not {value!r}")
    return dict(theme)
