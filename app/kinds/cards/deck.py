"""Decks of cards: the request space as data, and what an answer must look like.

A deck is a folder. `deck.json` holds the rules, `cards.json` the cards in the shape of the card
game that this project grew from (so that a deck of that game loads unmodified), `titles.json` the
titles. `forms.json` and `pieces.json` are optional: with them, answers can be composed.

Everything is checked on loading; a `DeckError` names the file, the place and the fault.
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import xxhash

from app.errors import RequestError
from app.kinds.cards.pieces import NO_PIECES, Pieces, load_forms, load_pieces
from app.kinds.cards.words import Words, load_words
from app.kinds.language import ANY, JAPANESE, LANGUAGES, SCRIPTS, Language
from app.kinds.reading import DECK_FILE, ID_PATTERN, Reader, shorten
from app.store.coverage import elementary
from app.store.key import HAND, Pick, Query, pick

CARDS_FILE = "cards.json"
TITLES_FILE = "titles.json"
# The units of an answer's length.
CHARACTERS, WORDS = "characters", "words"
FRAMES = ("openings", "links", "closings")
# Who wrote a deck's own answers, unless it says so.
BY_HAND = "by hand"
# The members of `deck.json`, with what they mean; `docs/your-own-deck.md` lists them.
MEMBERS: Mapping[str, str] = {
    "id": "small letters, digits and hyphens; the same as the folder's name",
    "kind": "`cards`, `pattern` (characters) or `prompts`; `cards` if it is missing",
    "name": "the name that people see; the id if it is missing",
    "language": f"one of {', '.join(LANGUAGES)}; `ja` if it is missing",
    "hand": '`{"size": 3}`: how many cards a hand has, each of another category. With `"choose": true`, visitors pick the cards themselves',
    "answer": "the rules for answers, see below",
    "groups": "names for groups of categories, which a plan balances",
    "template": "`openings`, `links` and `closings`: the sentences of the template tier",
    "theme": "colours, type and pictures of the pages, see below",
    "written_by": "who wrote `written.jsonl`, as answers say it; `by hand` if it is missing",
}


# The members of a card, with what they mean. It may have others, which clients are dealt.
CARD_MEMBERS: Mapping[str, str] = {
    "id": "stored texts belong to it: keep it",
    "category": "cards of a hand are of different categories",
    "condition_text": "the condition: what a text must not say",
    "strength": "from -6 (a disaster) to 5 (a virtue), a whole number; a plan balances it",
    "tells": "words that would tell the card; its longer words if it is missing",
    "poems": "the phrases: `id` and `poem_text`",
}
# The members of `theme`. The contrast of a text's colour with its ground is checked.
TYPES = ("serif", "sans", "mincho")
PICTURES = ("shapes", "plain", "estate")
# The members of `theme` that are not colours, with their values.
THEME_CHOICES: Mapping[str, Sequence[str]] = {"type": TYPES, "picture": PICTURES}
THEME: Mapping[str, str] = {
    "background": "behind everything, dark",
    "deep": "behind the flyer, darker",
    "paper": "the flyer's paper and the cards, light",
    "ink": "text on paper",
    "soft": "small text on paper",
    "accent": "lines and edges",
    "accent_ink": "small headings on paper",
    "light": "buttons, and headings on the background",
    "seal": "the seal on a chosen phrase",
    "type": f"one of {', '.join(TYPES)}",
    "picture": "`shapes` in the theme's colours, `plain` (a wash of colour) or `estate` (landscapes with a building); `shapes` if it is missing",
}


class Phrase(NamedTuple):
    """One rephrasing of a card."""

    id: str
    text: str
    card: str


class Card(NamedTuple):
    """A condition of a flat. `strength` goes from -6 (a disaster) to +5 (a virtue).

    `telling_words` would give the condition away; `raw` is the object as it stands in
    `cards.json`, which is what the game's client expects to be dealt.
    """

    id: str
    category: str
    text: str
    strength: int
    phrases: tuple[Phrase, ...]
    telling_words: tuple[str, ...]
    raw: Mapping[str, Any]


class Rules(NamedTuple):
    """The rules for answers, see `app.kinds.cards.gate`. `RULE_MEANINGS` says what each means.

    The defaults are those of a deck in Japanese; `default_rules` has those of other languages.
    """

    characters: tuple[int, int] = (180, 240)
    paragraphs: tuple[int, int] = (3, 4)
    sentence: int = 60
    wording: int = 12
    forbidden: tuple[str, ...] = ("最高", "一番", "絶対", "完璧", "完全")
    polite: tuple[str, ...] = ("です", "ます", "でしょう", "ません", "ました", "ください")
    address: tuple[str, ...] = ("あなた", "貴方")
    showcase: tuple[str, ...] = ("静謐", "洗練", "佇まい")
    echo: tuple[str, ...] = (
        "タイトル",
        "ポエム",
        "文字以内",
        "以下の",
        "承知",
        "了解",
        "条件",
        "出力",
    )
    script: tuple[str, ...] = (JAPANESE.id,)
    words: tuple[int, int] | None = None

    @property
    def unit(self) -> str:
        """The unit of an answer's length."""
        return WORDS if self.words else CHARACTERS

    @property
    def length(self) -> tuple[int, int]:
        """The least and greatest length of an answer, in `unit`."""
        return self.words or self.characters


RULE_MEANINGS: Mapping[str, str] = {
    "characters": "`[least, most]`: the length of an answer in characters, without line breaks",
    "words": "`[least, most]`: its length in words, instead of `characters`",
    "paragraphs": "`[least, most]`: the number of paragraphs",
    "sentence": "the greatest length of a sentence, in characters",
    "wording": "how many characters of a phrase in a row an answer may repeat",
    "forbidden": "words that must not occur",
    "polite": "endings that no sentence may have",
    "address": "words that address the reader, which must not occur",
    "showcase": "words that may occur once",
    "echo": "words of a model that talks about its task, which must not occur",
    "script": f"in which letters: one or several of {', '.join(SCRIPTS)}",
}


def default_rules(language: Language) -> Rules:
    """The rules of a deck in a language that names none itself."""
    if language is JAPANESE:
        return Rules()
    long = 2 if language.spaced else 1
    return Rules(
        characters=(180 * long, 240 * long),
        paragraphs=(1, 4),
        sentence=100 * long,
        wording=20 * long,
        forbidden=(),
        polite=language.polite,
        address=(),
        showcase=(),
        echo=language.echoes,
        script=(language.id,),
    )


# A pick, and the category of its card.
KnownPick = tuple[Pick, str]


@dataclass(frozen=True)
class Deck:
    """A deck of cards, ready for use. Made by `load_deck`.

    `choose`: visitors pick the cards of their hands themselves.
    """

    id: str
    name: str
    language: str
    hand_size: int
    cards: tuple[Card, ...]
    titles: tuple[str, ...]
    rules: Rules
    groups: Mapping[str, tuple[str, ...]]
    pieces: Pieces = NO_PIECES
    template: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folder: Path | None = None
    words: Mapping[str, Words] = field(default_factory=dict)
    theme: Mapping[str, str] = field(default_factory=dict)
    written_by: str = BY_HAND
    choose: bool = False

    kind = "cards"

    @property
    def lang(self) -> Language:
        """The rules of the deck's language."""
        return LANGUAGES[self.language]

    def measure(self, text: str) -> int:
        """The length of a text in the unit of the deck's rules."""
        return len(self.lang.words(text)) if self.rules.words else len(text)

    @property
    def coverage(self) -> Deck:
        """This deck: the index counts its stocked hands."""
        return self

    @cached_property
    def card_by_id(self) -> Mapping[str, Card]:
        return {card.id: card for card in self.cards}

    @cached_property
    def phrase_by_id(self) -> Mapping[tuple[str, str], Phrase]:
        return {(card.id, phrase.id): phrase for card in self.cards for phrase in card.phrases}

    @cached_property
    def cards_by_category(self) -> Mapping[str, tuple[Card, ...]]:
        grouped: dict[str, list[Card]] = {}
        for card in self.cards:
            grouped.setdefault(card.category, []).append(card)
        return {category: tuple(cards) for category, cards in grouped.items()}

    @cached_property
    def shape(self) -> str:
        """A hash over the ids of cards, categories and phrases, on which coverage depends."""
        parts = [
            (card.id, card.category, *(phrase.id for phrase in card.phrases)) for card in self.cards
        ]
        return xxhash.xxh3_64_hexdigest(orjson.dumps([self.hand_size, *sorted(parts)]))

    @property
    def composable(self) -> bool:
        """Whether there are forms, and pieces of all of them for every card and phrase."""
        phrases = [phrase.id for card in self.cards for phrase in card.phrases]
        return self.pieces.whole(self.card_by_id, phrases)

    @cached_property
    def squeezed_phrases(self) -> Mapping[tuple[str, str], str]:
        """The texts of the phrases without blanks, by the ids of card and phrase."""
        return {ids: squeeze(phrase.text) for ids, phrase in self.phrase_by_id.items()}

    def count_hands(self) -> int:
        """The number of legal hands: an elementary symmetric polynomial of category sizes."""
        sizes = [len(cards) for cards in self.cards_by_category.values()]
        return elementary(sizes, self.hand_size)[-1]

    def count_plays(self) -> int:
        """The number of plays: the same polynomial of the numbers of phrases."""
        sizes = [sum(len(c.phrases) for c in cards) for cards in self.cards_by_category.values()]
        return elementary(sizes, self.hand_size)[-1]

    def plays_of_hand(self, cards: Sequence[Card]) -> Iterator[Query]:
        for phrases in itertools.product(*(card.phrases for card in cards)):
            yield self.query(phrases)

    def query(self, phrases: Sequence[Phrase]) -> Query:
        """The query of some phrases, which must make a legal hand."""
        return Query.play(self.id, [(phrase.card, phrase.id) for phrase in phrases])

    @cached_property
    def known_picks(self) -> Mapping[tuple[str, str], KnownPick]:
        """The pick of each phrase and its card's category, by the ids of card and phrase."""
        return {
            (card.id, phrase.id): (pick(card.id, phrase.id), card.category)
            for card in self.cards
            for phrase in card.phrases
        }

    @cached_property
    def _categories(self) -> Mapping[bytes, str]:
        return {one.canonical: category for one, category in self.known_picks.values()}

    def play_of(self, picks: Sequence[KnownPick]) -> Query | None:
        """The query of picks of this deck; None if they are not a legal hand."""
        size = self.hand_size
        if len(picks) != size or len({category for _, category in picks}) != size:
            return None
        return Query.of_picks(HAND, self.id, [one for one, _ in picks])

    def known_play(self, picks: Sequence[tuple[str, str]]) -> Query | None:
        """The query of (card id, phrase id) in the deck's spelling; None for anything else."""
        known = self.known_picks
        try:
            return self.play_of([known[ids] for ids in picks])
        except (KeyError, TypeError):
            return None

    def phrases(self, query: Query) -> tuple[Phrase, ...]:
        """The phrases of a play. Raises KeyError if the deck lacks one of them."""
        return tuple([self.phrase_by_id[ids] for ids in query.picks])

    def has_play(self, query: Query) -> bool:
        """Whether a query is a legal play of this deck."""
        categories, size = self._categories, self.hand_size
        if query.kind != HAND or len(query.sorted_picks) != size:
            return False
        try:
            return len({categories[one.canonical] for one in query.sorted_picks}) == size
        except KeyError:
            return False

    def phrase_ids(self, query: Query) -> tuple[tuple[str, ...], ...] | None:
        """The ids of the phrases of each card of a play; None if it is not a play of this deck."""
        if not self.has_play(query):
            return None
        return tuple([self._ids_of[card] for card, _ in query.picks])

    @cached_property
    def _ids_of(self) -> Mapping[str, tuple[str, ...]]:
        return {card.id: tuple([phrase.id for phrase in card.phrases]) for card in self.cards}

    def legal_query(self, picks: Sequence[tuple[str, str]]) -> Query:
        """The query of (card id, phrase id) from a client. Raises RequestError."""
        return self.known_play(picks) or self._judged_play(picks)

    def part_of_hand(self, cards: Sequence[str]) -> list[Card]:
        """Cards by their ids from a client, of distinct categories. Raises RequestError."""
        if len(cards) > self.hand_size:
            raise self._wrong_number(len(cards))
        return self._distinct([self.known_card(card) for card in cards])

    def _wrong_number(self, number: int) -> RequestError:
        return RequestError(
            400,
            "Wrong number of cards",
            f"a hand of deck {self.id!r} has {self.hand_size} cards, not {number}",
            f"カードは{self.hand_size}枚、選んでください。",
        )

    def _distinct(self, cards: list[Card]) -> list[Card]:
        for category, times in Counter(card.category for card in cards).items():
            if times > 1:
                raise RequestError(
                    400,
                    "Repeated category",
                    f"the cards of a hand are of distinct categories, {category!r} is there {times} times",
                    "同じ分類のカードが重なっています。",
                )
        return cards

    def _judged_play(self, picks: Sequence[tuple[str, str]]) -> Query:
        if len(picks) != self.hand_size:
            raise self._wrong_number(len(picks))
        phrases = [self._known_phrase(card, phrase) for card, phrase in picks]
        self._distinct([self.card_by_id[phrase.card] for phrase in phrases])
        return self.query(phrases)

    def known_card(self, card: str) -> Card:
        """A card by its id from a client. Raises RequestError."""
        found = self.card_by_id.get(unicodedata.normalize("NFC", card))
        if found is None:
            raise RequestError(
                400,
                "Unknown card",
                f"deck {self.id!r} has no card {shorten(card)!r}",
                "見つからないカードがあります。",
            )
        return found

    def _known_phrase(self, card: str, phrase: str) -> Phrase:
        card = self.known_card(card).id
        phrase = unicodedata.normalize("NFC", phrase)
        if (card, phrase) not in self.phrase_by_id:
            raise RequestError(
                400,
                "Unknown phrase",
                f"card {card!r} has no phrase {shorten(phrase)!r}",
                "見つからない言い換えがあります。",
            )
        return self.phrase_by_id[card, phrase]


def squeeze(text: str) -> str:
    """A text in normal form C without blanks and line ends, which differ between prompts."""
    return "".join(unicodedata.normalize("NFC", text).split())


def load_deck(folder: Path) -> Deck:
    """Read and check a deck of cards. Raises DeckError."""
    reader = Reader(folder, DECK_FILE)
    root = reader.value
    reader.only(root, "", MEMBERS)
    hand = reader.member(root, "hand", dict, "")
    reader.only(hand, "hand", ("size", "distinct", "choose"))
    hand_size = reader.member(hand, "size", int, "hand")
    if not 1 <= hand_size <= 12:
        raise reader.fail("hand", f"'size' must be from 1 to 12, not {hand_size}")
    if hand.get("distinct", "category") != "category":
        raise reader.fail("hand", "'distinct' can only be 'category'")
    choose = hand.get("choose", False)
    if not isinstance(choose, bool):
        raise reader.fail("hand", f"'choose' must be true or false, not {choose!r}")
    deck_id = reader.member(root, "id", str, "")
    if not ID_PATTERN.fullmatch(deck_id):
        raise reader.fail("id", "use 1 to 40 small letters, digits and hyphens")
    language = reader.language(root)
    cards = _load_cards(folder, language)
    categories = {card.category for card in cards}
    if len(categories) < hand_size:
        raise reader.fail(
            "hand", f"{hand_size} distinct categories are needed, the cards have {len(categories)}"
        )
    titles = _load_titles(folder)
    ids = {card.id: [phrase.id for phrase in card.phrases] for card in cards}
    return Deck(
        id=deck_id,
        name=str(root.get("name", deck_id)),
        language=language.id,
        hand_size=hand_size,
        cards=cards,
        titles=titles,
        rules=_load_rules(reader, root, language),
        groups=_load_groups(reader, root, categories),
        pieces=load_pieces(folder, ids, titles, *load_forms(folder, hand_size)),
        template=_load_template(reader, root),
        folder=folder,
        words=load_words(folder),
        theme=_load_theme(reader, root),
        written_by=reader.member({"written_by": BY_HAND, **root}, "written_by", str, ""),
        choose=choose,
    )


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
    if not isinstance(answer, dict):
        raise reader.fail("answer", "expected an object")
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
    named = root.get("groups", {})
    if not isinstance(named, dict):
        raise reader.fail("groups", "expected an object")
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
            if value not in choices:
                fault = f"expected one of {', '.join(choices)}, not {value!r}"
                raise reader.fail(f"theme {name}", fault)
        elif not isinstance(value, str) or not re.fullmatch("#[0-9a-fA-F]{6}", value):
            raise reader.fail(f"theme {name}", f"expected a colour like #1f2322, not {value!r}")
    return dict(theme)


def deal_probabilities(deck: Deck) -> dict[str, float]:
    """The probability of each card, by id, to be in a hand that `deal` deals.

    Cards are drawn from the whole deck, and one of a repeated category is put back: so the next
    category is drawn with probability proportional to its size among those that are left. The sum
    over all orders of categories is computed exactly, by the set of categories drawn so far.
    """
    sizes = {category: len(cards) for category, cards in deck.cards_by_category.items()}
    names = list(sizes)
    states: dict[int, float] = {0: 1.0}
    for _ in range(deck.hand_size):
        following: dict[int, float] = {}
        for drawn, probability in states.items():
            left = [i for i in range(len(names)) if not drawn >> i & 1]
            total = sum(sizes[names[i]] for i in left)
            for i in left:
                state = drawn | 1 << i
                following[state] = following.get(state, 0.0) + probability * sizes[names[i]] / total
        states = following
    reach = {
        name: math.fsum(p for drawn, p in states.items() if drawn >> i & 1)
        for i, name in enumerate(names)
    }
    return {card.id: reach[card.category] / sizes[card.category] for card in deck.cards}
