"""Decks of cards: the request space as data, and what an answer must look like.

A deck is a folder. `deck.json` holds the rules, `cards.json` the cards in the shape of the card
game that this project grew from (so that a deck of that game loads unmodified), `titles.json` the
titles. `ideas.json` and `pieces.json` are optional: with them, answers can be composed.

`app.kinds.cards.loading` reads and checks all of it.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import xxhash

from app.errors import RequestError
from app.kinds.cards.pieces import NO_PIECES, Pieces
from app.kinds.cards.words import Words
from app.kinds.language import JAPANESE, LANGUAGES, SCRIPTS, Language
from app.kinds.reading import shorten
from app.normal_form import nfc
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
    "hand": '`{"size": 3}`: how many cards a hand has, each of another category (`"distinct": "category"` says so and may be left out). With `"choose": true`, visitors pick the cards themselves',
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
    polite: tuple[str, ...] = JAPANESE.polite
    address: tuple[str, ...] = ("あなた", "貴方")
    showcase: tuple[str, ...] = ("静謐", "洗練", "佇まい")
    echo: tuple[str, ...] = JAPANESE.echoes
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
    "script": f"in which letters and languages: one or several of {', '.join(SCRIPTS)}",
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
    """A deck of cards, ready for use. Made by `app.kinds.cards.loading`.

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

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which answers may be: the deck's, and those whose letters are allowed."""
        return tuple(dict.fromkeys((self.language, *self.rules.script)))

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
    def known_titles(self) -> frozenset[str]:
        """What an answer can be called: the deck's titles, and those of the frames."""
        return frozenset(
            (*self.titles, *(f.title for idea in self.pieces.ideas for f in idea.frames))
        )

    @property
    def composable(self) -> bool:
        """Whether there are ideas, and sentences of all of them for every phrase."""
        return self.pieces.whole(phrase.id for card in self.cards for phrase in card.phrases)

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
        return query.kind == HAND and self.is_play([one.canonical for one in query.sorted_picks])

    def is_play(self, picks: Sequence[bytes]) -> bool:
        """Whether picks in canonical form, in their order, are a play of this deck."""
        size = self.hand_size
        if len(picks) != size:
            return False
        categories = set(map(self._categories.get, picks))
        return len(categories) == size and None not in categories

    @cached_property
    def fewest_phrases(self) -> Sequence[int]:
        """How many phrases the cards of a hand have at least, one number for each of its cards."""
        return sorted([len(card.phrases) for card in self.cards])[: self.hand_size]

    def phrase_ids(self, cards: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The ids of the phrases of each card of a play."""
        return tuple([self._ids_of[card] for card in cards])

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
        found = self.card_by_id.get(nfc(card))
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
        phrase = nfc(phrase)
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
    return "".join(nfc(text).split())


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
