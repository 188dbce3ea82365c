"""Composing: a poem assembled from sentences that say the picked phrases and frames of one theme.

The theme is the one that the most of the five phrases can serve. The sentences stand in the theme's
movement: from the surroundings to the room, or from the room to the sky. Every choice follows from
the query's key and the variant, so that the same play always gets the same poem.

What a text could clash with (showcase words, words used before, other cards' telling words) is
worked out once, when the composer is made, as bits of whole numbers: a clash is then an `&`.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import xxhash

from app.kinds.cards.deck import Deck, Rules, Theme
from app.kinds.cards.gate import any_of, cards_told
from app.kinds.cards.proof import always_passes
from app.kinds.cards.texts import Texts
from app.store.key import Query

T = TypeVar("T")

SOURCE = "composer"
MODEL = "composer-1"
BREAK = "\n\n"
ATTEMPTS = 48
# A word that returns costs as much as being so many characters off the length aimed at.
_REPEAT_COST = 12
_HOUR_COST = 16
_PLACE_COST = 14
_FOREIGN_COST = 12
_RHYME_COST = 9
_DRONE_COST = 99
# Two themes are served by two phrases in three, others by one in four: counted plainly, three themes
# would have seven poems in ten. Most of what chance gives a theme is therefore taken off. At 0.75 the
# theme chosen still serves 4.0 of 5 phrases (4.3 counted plainly), and no theme has over 12 in 100.
_HANDICAP = 0.75
_THRICE = re.compile(r"(.)\1\1")


@dataclass(frozen=True, slots=True)
class Piece:
    """A text to compose with, and what it would clash with, as bits.

    `hour` is the time of day that it speaks of, 0 for none; `place` where it plays by the things it
    names: -1 outside, 1 inside, 0 nowhere, or on both.
    """

    text: str
    length: int
    showcase: int
    words: int
    leaks: int
    head: str
    ending: str
    hour: int = 0
    place: int = 0
    themes: int = 0


@dataclass(frozen=True, slots=True)
class _Seat:
    """A phrase as a poem seats it: what can be said for it, and where it stands.

    `card` is its card's bit, `leaks` has the cards that any of its sentences tells, `serves` a byte
    for each theme that one of them serves: added up for a hand, they count.
    """

    card: int
    pieces: tuple[Piece, ...]
    leaks: int
    rank: tuple[int, int]
    serves: int

    def beside(self, hand: int) -> _Seat:
        """The seat without the sentences that give a card of the hand away."""
        if not self.leaks & hand:
            return self
        return replace(self, pieces=tuple(p for p in self.pieces if not p.leaks & hand))


_rank = operator.attrgetter("rank")


@dataclass(frozen=True, slots=True)
class _Frames:
    theme: Theme
    bit: int
    openings: tuple[Piece, ...]
    closings: tuple[Piece, ...]
    threshold_turns: tuple[Piece, ...]
    turns: tuple[Piece, ...]
    titles: tuple[Piece, ...]


class Composition(NamedTuple):
    """A composed answer and how it came about: theme, and the texts in their order."""

    title: str
    poem: str
    theme: str
    sentences: tuple[str, ...]

    @property
    def response(self) -> dict[str, str]:
        """As an answer's fields."""
        return {"title": self.title, "poem": self.poem}


class _Choices:
    """A stream of choices that follows from a query, the same on every machine.

    `random.Random` would do, but costs more to seed than a whole poem needs to choose.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._round = 0
        self._pool = 0

    def below(self, count: int) -> int:
        if self._pool < 1 << 32:
            self._round += 1
            self._pool = xxhash.xxh3_128_intdigest(self._seed, self._round)
        self._pool, choice = divmod(self._pool, count)
        return choice

    def turned(self, items: tuple[T, ...]) -> tuple[T, ...]:
        """The items from a drawn one on, and round to it."""
        start = self.below(len(items))
        return items[start:] + items[:start]


class _Bits:
    """Gives each of some words its bit; others have none."""

    def __init__(self, words: Iterable[str]) -> None:
        self._bits = {word: 1 << place for place, word in enumerate(words)}

    def of(self, words: Iterable[str]) -> int:
        mask = 0
        for word in words:
            mask |= self._bits.get(word, 0)
        return mask


def ending_class(text: str) -> str:
    """How a text ends, as the ear groups it: its last kana, or 名 where it ends on a noun."""
    last = text.rstrip("。、―")[-1:]
    return last if "ぁ" <= last <= "ゖ" else "名"


class _Reader:
    """Makes pieces of a deck's texts. What they clash with is looked for in all of them at once."""

    def __init__(self, deck: Deck) -> None:
        texts = list(_texts(deck))
        found = Texts(texts)
        self._told = cards_told(found, deck.cards)
        self._outdoors, self._indoors = found.holding(deck.outdoors), found.holding(deck.indoors)
        self._hours = _hours(found, deck)
        self._showcase = _Bits(deck.rules.showcase)
        shown = any_of(deck.rules.showcase)
        self._shown = found.found(shown) if shown else {}
        self._content = found.content
        words = Counter(itertools.chain.from_iterable(self._content[text] for text in texts))
        # What only one text says comes never again. The commonest first: that makes small numbers.
        self._words = _Bits(word for word, times in words.most_common() if times > 1)

    def piece(self, text: str, themes: int = 0) -> Piece:
        return Piece(
            text=text,
            length=len(text),
            showcase=self._showcase.of(self._shown.get(text, ())),
            words=self._words.of(self._content[text]),
            leaks=self._told[text],
            head=text[:2],
            ending=ending_class(text),
            hour=self._hours.get(text, 0),
            place=(text in self._indoors) - (text in self._outdoors),
            themes=themes,
        )

    def frames(self, theme: Theme, bit: int) -> _Frames:
        def pieces(texts: Sequence[str]) -> tuple[Piece, ...]:
            return tuple(self.piece(text) for text in texts)

        return _Frames(
            theme,
            bit,
            pieces(theme.openings),
            pieces(theme.closings),
            pieces(theme.threshold_turns),
            pieces(theme.turns),
            pieces(theme.titles),
        )


def _hours(found: Texts, deck: Deck) -> Mapping[str, int]:
    """The time of day that a text speaks of, from 1 in the deck's order, where it is just one."""
    spoken = [found.holding(words) for words in deck.hours]
    times = Counter(itertools.chain.from_iterable(spoken))
    return {t: hour for hour, texts in enumerate(spoken, 1) for t in texts if times[t] == 1}


class Composer:
    """Composes answers for one deck. Making it reads every piece once; composing is arithmetic."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        reader = _Reader(deck)
        themes = _Bits(theme.id for theme in deck.themes)
        self._phrases = {
            phrase_id: tuple(reader.piece(s.text, themes.of(s.themes)) for s in sentences)
            for phrase_id, sentences in deck.sentences.items()
        }
        self._seats = dict(self._all_seats())
        self._frames = tuple(reader.frames(t, themes.of([t.id])) for t in deck.themes)
        self._numbers = tuple(range(len(self._frames)))
        self._head_start = self._head_starts()

    def _all_seats(self) -> Iterator[tuple[tuple[str, str], _Seat]]:
        """The seat of each phrase that has sentences, by the ids of card and phrase.

        A phrase stands between the street and the room (-1 outside, 0, 1 inside), and finer. Its
        sentences decide where they are agreed, its card's category where they say nothing.
        """
        deck = self.deck
        places = {category: (-1, i) for i, category in enumerate(deck.outside)}
        places |= {category: (1, i) for i, category in enumerate(deck.inside)}
        for number, card in enumerate(deck.cards):
            usual, finer = places.get(card.category, (0, 0))
            for phrase in card.phrases:
                if phrase.id not in self._phrases:
                    continue
                pieces = self._phrases[phrase.id]
                said = sum(piece.place for piece in pieces)
                served = functools.reduce(operator.or_, (piece.themes for piece in pieces), 0)
                yield (
                    (card.id, phrase.id),
                    _Seat(
                        card=1 << number,
                        pieces=pieces,
                        leaks=functools.reduce(operator.or_, (piece.leaks for piece in pieces), 0),
                        rank=((said > 0) - (said < 0) or usual, finer),
                        serves=sum(1 << 8 * i for i in range(len(deck.themes)) if served >> i & 1),
                    ),
                )

    @property
    def fingerprint(self) -> str:
        """Changes where a piece changes: what composed entries are stale against."""
        digest = xxhash.xxh3_64()
        for phrase_id, pieces in sorted(self._phrases.items()):
            digest.update("\0".join((phrase_id, *(p.text for p in pieces), "")).encode())
        for frames in self._frames:
            digest.update(repr(frames.theme).encode())
        return f"composer:{digest.hexdigest()}"

    @cached_property
    def proven(self) -> bool:
        """Whether the gate lets everything pass that is composed. Seen to when it is first asked.

        A build gates whatever it is given, and a server may never compose: they need not wait.
        """
        return always_passes(self.deck, list(_poem_texts(self.deck)))

    def compose(self, query: Query, variant: int = 0) -> Composition | None:
        """The poem of a play, or None where the deck's pieces cannot make one within its rules.

        Raises KeyError where the deck has no sentences for one of the phrases.
        """
        choices = _Choices(query.canonical + b"#%d" % variant)
        seats = [self._seats[ids] for ids in query.picks]
        hand = sum([seat.card for seat in seats])
        seats = [seat.beside(hand) for seat in seats]
        if not all(seat.pieces for seat in seats):
            return None
        themes = self._themes_by_fit(seats, choices)
        for attempt in range(ATTEMPTS):
            # The best theme has most of the attempts; the others are for hands that it cannot seat.
            frames = themes[0 if attempt < ATTEMPTS // 2 else attempt % len(themes)]
            made = _Attempt(self.deck.rules, frames, hand, choices, attempt).make(seats)
            if made:
                return made
        return None

    def _head_starts(self) -> tuple[float, ...]:
        """What each theme owes to being served by many phrases, in phrases of a hand."""
        share = _HANDICAP * self.deck.hand_size / max(1, len(self._seats))
        serves = [seat.serves for seat in self._seats.values()]
        return tuple(share * sum(s >> 8 * i & 1 for s in serves) for i in self._numbers)

    def _themes_by_fit(self, seats: Sequence[_Seat], choices: _Choices) -> list[_Frames]:
        """Themes, the one that the phrases share best first."""
        served = sum([seat.serves for seat in seats]).to_bytes(len(self._frames), "little")
        behind = list(map(operator.sub, self._head_start, served))
        order = sorted(choices.turned(self._numbers), key=behind.__getitem__)
        return [self._frames[number] for number in order]


def _texts(deck: Deck) -> Iterator[str]:
    """Every text that a deck's answers are composed of."""
    yield from _poem_texts(deck)
    for theme in deck.themes:
        yield from theme.titles


def _poem_texts(deck: Deck) -> Iterator[str]:
    for sentences in deck.sentences.values():
        yield from (sentence.text for sentence in sentences)
    for theme in deck.themes:
        yield from theme.openings
        yield from theme.closings
        yield from theme.threshold_turns
        yield from theme.turns


class _Attempt:
    """One try at a poem: frames are drawn, then a sentence is chosen for each place in turn."""

    def __init__(
        self, rules: Rules, frames: _Frames, hand: int, choices: _Choices, attempt: int
    ) -> None:
        self._rules = rules
        self._frames = frames
        self._hand = hand
        self._choices = choices
        self._attempt = attempt
        # A sentence of the theme is worth a detour; after some attempts, any sentence will do.
        self._foreign_cost = 0 if attempt > ATTEMPTS // 4 else _FOREIGN_COST
        self._showcase = 0
        self._words = 0

    def make(self, seats: Sequence[_Seat]) -> Composition | None:
        framed = self._frame()
        if framed is None:
            return None
        opening, closing = framed
        order = self._order(seats)
        split, threshold = self._split([seat.rank[0] for seat in order])
        turn = self._turn(split, len(order), threshold=threshold)
        used = opening.length + closing.length + (turn.length if turn else 0)
        sides = self._sides(split, len(order)) if turn and threshold else [0] * len(order)
        sentences = self._sentences(order, sides, used, opening)
        if sentences is None or not self._is_sound(opening, sentences, closing, sides):
            return None
        length = used + sum([piece.length for piece in sentences])
        if not self._rules.characters[0] <= length <= self._rules.characters[1]:
            return None
        title = self._title()
        if title is None:
            return None
        return self._written(title, opening, sentences, split, turn, closing)

    def _frame(self) -> tuple[Piece, Piece] | None:
        """An opening and a closing that go together."""
        opening = self._draw(self._frames.openings)
        if not (opening and self._take(opening)):
            return None
        closing = self._draw(self._frames.closings)
        return (opening, closing) if closing and self._take(closing) else None

    def _is_sound(
        self, opening: Piece, sentences: Sequence[Piece], closing: Piece, sides: Sequence[int]
    ) -> bool:
        """Whether the texts go together. The last attempts let pass what is better than no poem."""
        if closing.head == sentences[-1].head:
            return False
        # Who has just gone out does not sit at the table: another order may seat everyone.
        if self._attempt < ATTEMPTS // 2:
            for piece, side in zip(sentences, sides, strict=True):
                if piece.place * side < 0:
                    return False
        return self._attempt >= ATTEMPTS * 3 // 4 or not _drones([opening, *sentences, closing])

    def _draw(self, pieces: tuple[Piece, ...]) -> Piece | None:
        """A piece that gives no card of the hand away, and if possible repeats no word."""
        if not pieces:
            return None
        second = None
        for piece in self._choices.turned(pieces):
            if not (piece.leaks & self._hand or piece.showcase & self._showcase):
                if not piece.words & self._words:
                    return piece
                second = second or piece
        return second

    def _take(self, piece: Piece) -> bool:
        if piece.showcase & self._showcase:
            return False
        self._showcase |= piece.showcase
        self._words |= piece.words
        return True

    def _order(self, seats: Sequence[_Seat]) -> list[_Seat]:
        """From outside to inside; after some attempts in any order on each side, then in any."""
        if self._attempt < ATTEMPTS // 8:
            order = sorted(seats, key=_rank)
        else:
            sides, below = self._attempt < ATTEMPTS // 2, self._choices.below
            order = sorted(seats, key=lambda s: (s.rank[0] if sides else 0, below(1 << 16)))
        return order[::-1] if self._frames.theme.outward else order

    def _split(self, sides: Sequence[int]) -> tuple[int, bool]:
        """After how many sentences the development turns, and whether that is at the threshold.

        The threshold is where nothing before it is of the far side and nothing after it of the near
        one; what is of neither side may stand on both. Where there is one, the turn stands there, as
        near to the middle as can be: a door that opens after the room was praised opens nothing.
        """
        count = len(sides)
        near = 1 if self._frames.theme.outward else -1
        first, last = 0, count
        for place, side in enumerate(sides):
            if side == near:
                first = place + 1
            elif side and last == count:
                last = place
        middle = count // 2 + self._choices.below(2)
        least, most = max(first, 1), min(last, count - 1)
        if least > most or (first == 0 and last == count):
            return middle, False
        return max(least, min(middle, most)), True

    def _turn(self, split: int, count: int, *, threshold: bool) -> Piece | None:
        """A turn, where there is room for one."""
        if not 0 < split < count:
            return None
        turn = self._draw(self._frames.threshold_turns if threshold else self._frames.turns)
        return turn if turn and self._take(turn) else None

    def _sides(self, split: int, count: int) -> list[int]:
        """Where each sentence should play: on the near side of the threshold, then on the far one."""
        near = 1 if self._frames.theme.outward else -1
        return [near] * split + [-near] * (count - split)

    def _sentences(
        self, order: Sequence[_Seat], sides: Sequence[int], used: int, opening: Piece
    ) -> list[Piece] | None:
        least, most = self._rules.characters
        margin = (most - least) // 8
        aim = least + margin + self._choices.below(max(1, most - least - 2 * margin)) - used
        chosen: list[Piece] = []
        # What the next sentence follows on; `drone` is an ending that was heard twice in a row.
        last, hour, drone = opening, opening.hour, ""
        for number, seat in enumerate(order):
            share = aim / (len(order) - number)
            piece = self._best(seat.pieces, share, sides[number], last, hour, drone)
            if piece is None:
                return None
            self._take(piece)
            chosen.append(piece)
            aim -= piece.length
            drone = last.ending if last.ending == piece.ending else ""
            last, hour = piece, max(hour, piece.hour)
        return chosen

    def _best(
        self,
        pieces: tuple[Piece, ...],
        share: float,
        side: int,
        last: Piece,
        hour: int,
        drone: str,
    ) -> Piece | None:
        head, ending = last.head, last.ending
        theme, words, showcase = self._frames.bit, self._words, self._showcase
        attempt, foreign_cost = self._attempt, self._foreign_cost
        best, least = None, math.inf
        for piece in self._choices.turned(pieces):
            if piece.showcase & showcase or piece.head == head:
                continue
            cost = abs(piece.length - share)
            cost += _REPEAT_COST * (piece.words & words).bit_count()
            if not piece.themes & theme:
                cost += foreign_cost
            if piece.ending == ending:
                cost += _RHYME_COST
            # A poem that goes from night back to morning has five suns in its sky.
            if 0 < piece.hour < hour:
                cost += _HOUR_COST
            if piece.place * side < 0:
                cost += _PLACE_COST
            if piece.ending == drone:
                cost += _DRONE_COST
            # Where the best choices lead nowhere, each further attempt leaves more to chance.
            if attempt:
                cost += self._choices.below(1 + 2 * attempt)
            if cost < least:
                best, least = piece, cost
        return best

    def _title(self) -> Piece | None:
        """A title of the theme that leads into the poem, not one that repeats its words."""
        fitting = None
        for title in self._choices.turned(self._frames.titles):
            if not title.leaks & self._hand:
                if not (title.showcase & self._showcase or title.words & self._words):
                    return title
                fitting = fitting or title
        return fitting

    def _written(
        self,
        title: Piece,
        opening: Piece,
        sentences: Sequence[Piece],
        split: int,
        turn: Piece | None,
        closing: Piece,
    ) -> Composition:
        texts = [piece.text for piece in sentences]
        first = "".join(texts[:split])
        second = "".join([turn.text, *texts[split:]] if turn else texts[split:])
        paragraphs = [opening.text, first, second, closing.text]
        fewest, most = self._rules.paragraphs
        while len(paragraphs) > most or (len(paragraphs) > fewest and not turn):
            middle = len(paragraphs) // 2
            paragraphs[middle - 1 : middle + 1] = ["".join(paragraphs[middle - 1 : middle + 1])]
        return Composition(
            title=title.text,
            poem=BREAK.join([part for part in paragraphs if part]),
            theme=self._frames.theme.id,
            sentences=tuple(texts),
        )


def _drones(pieces: Sequence[Piece]) -> bool:
    """Whether three texts in a row end alike."""
    return _THRICE.search("".join([piece.ending for piece in pieces])) is not None
