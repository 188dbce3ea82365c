"""Composing: a poem assembled from sentences that say the picked phrases and frames of one theme.

The theme is the one that the most of the five phrases can serve. The sentences stand in the theme's
movement: from the surroundings to the room, or from the room to the sky. Every choice follows from
the query's key and the variant, so that the same play always gets the same poem.

What a text could clash with (showcase words, words used before, other cards' telling words) is
worked out once, when the composer is made, as bits of whole numbers: a clash is then an `&`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import xxhash

from app.core.deck import Deck, Theme
from app.core.gate import cards_told
from app.core.key import Query

SOURCE = "composer"
MODEL = "composer-1"
BREAK = "\n\n"
ATTEMPTS = 48
# A word that returns costs as much as being so many characters off the length aimed at.
_REPEAT_COST = 12
_HOUR_COST = 16
_PLACE_COST = 14
# Two themes are served by two phrases in three, others by one in four: counted plainly, three themes
# would have seven poems in ten. Most of what chance gives a theme is therefore taken off. At 0.75 the
# theme chosen still serves 4.0 of 5 phrases (4.3 counted plainly), and no theme has over 12 in 100.
_HANDICAP = 0.75
_CONTENT_WORD = re.compile(
    r"[一-龥々]{2,}|[ァ-ヺー]{2,}|[光影風空雨水音夜朝街窓扉鍵灯星月土花樹海湯声人夢旅地図足指手椅子]"
)
_ENDS = re.compile(r"[。、―]+$")


@dataclass(frozen=True, slots=True)
class Piece:
    """A text to compose with, and what it would clash with, as bits."""

    text: str
    length: int
    showcase: int
    words: int
    leaks: int
    head: str
    ending: str
    hour: int = 0
    place: int = 0
    themes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Frames:
    theme: Theme
    openings: tuple[Piece, ...]
    closings: tuple[Piece, ...]
    threshold_turns: tuple[Piece, ...]
    turns: tuple[Piece, ...]
    titles: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Composition:
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


class _Bits:
    """Gives each word its bit."""

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}

    def of(self, words: Iterable[str]) -> int:
        mask = 0
        for word in words:
            mask |= 1 << self._bits.setdefault(word, len(self._bits))
        return mask


def ending_class(text: str) -> str:
    """How a text ends, as the ear groups it: its last kana, or 名 where it ends on a noun."""
    last = _ENDS.sub("", text)[-1:]
    return last if "ぁ" <= last <= "ゖ" else "名"


class Composer:
    """Composes answers for one deck. Making it reads every piece once; composing is arithmetic."""

    def __init__(self, deck: Deck) -> None:
        self.deck = deck
        self._words = _Bits()
        showcase = sorted(set(deck.rules.showcase), key=lambda w: (-len(w), w))
        self._showcase = _Bits()
        self._showcase_pattern = re.compile("|".join(map(re.escape, showcase)) or r"(?!)")
        self._card_bit = {card.id: 1 << i for i, card in enumerate(deck.cards)}
        self._told = cards_told(_texts(deck), deck.cards)
        self._phrases = {
            phrase_id: tuple(self._piece(s.text, s.themes) for s in sentences)
            for phrase_id, sentences in deck.sentences.items()
        }
        self._serves = {
            phrase_id: frozenset().union(*(piece.themes for piece in pieces))
            for phrase_id, pieces in self._phrases.items()
        }
        self._rank = self._ranks()
        self._frames = tuple(map(self._frames_of, deck.themes))

    def _piece(self, text: str, themes: frozenset[str] = frozenset()) -> Piece:
        shown = self._showcase_pattern.findall(text)
        return Piece(
            text=text,
            length=len(text),
            showcase=self._showcase.of(shown),
            words=self._words.of(_CONTENT_WORD.findall(text)),
            leaks=self._told[text],
            head=text[:2],
            ending=ending_class(text),
            hour=self._hour(text),
            place=self._place(text),
            themes=themes,
        )

    def _place(self, text: str) -> int:
        """Where a text plays by the things it names: -1 outside, 1 inside; 0: nowhere, or on both."""
        outside = any(word in text for word in self.deck.outdoors)
        return any(word in text for word in self.deck.indoors) - outside

    def _ranks(self) -> dict[str, tuple[int, int]]:
        """Where a phrase stands between the street and the room: (-1 outside, 0, 1 inside), and finer.

        Its sentences decide where they are agreed, its card's category where they say nothing.
        """
        deck = self.deck
        places = {category: (-1, i) for i, category in enumerate(deck.outside)}
        places |= {category: (1, i) for i, category in enumerate(deck.inside)}
        ranks = {}
        for card in deck.cards:
            usual, finer = places.get(card.category, (0, 0))
            for phrase in card.phrases:
                said = sum(piece.place for piece in self._phrases.get(phrase.id, ()))
                ranks[phrase.id] = (said > 0) - (said < 0) or usual, finer
        return ranks

    def _hour(self, text: str) -> int:
        """The time of day that a text speaks of, from 1 in the deck's order; 0: none, or several."""
        hours = [
            number
            for number, words in enumerate(self.deck.hours, 1)
            if any(word in text for word in words)
        ]
        return hours[0] if len(hours) == 1 else 0

    def _frames_of(self, theme: Theme) -> _Frames:
        def pieces(texts: Sequence[str]) -> tuple[Piece, ...]:
            return tuple(self._piece(text) for text in texts)

        return _Frames(
            theme,
            pieces(theme.openings),
            pieces(theme.closings),
            pieces(theme.threshold_turns),
            pieces(theme.turns),
            pieces(theme.titles),
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

    def compose(self, query: Query, variant: int = 0) -> Composition | None:
        """The poem of a play, or None where the deck's pieces cannot make one within its rules.

        Raises KeyError where the deck has no sentences for one of the phrases.
        """
        seed = query.canonical + b"#%d" % variant
        choices = _Choices(seed)
        hand = sum(self._card_bit[card] for card, _ in query.picks)
        candidates = [
            [piece for piece in self._phrases[phrase] if not piece.leaks & hand]
            for _, phrase in query.picks
        ]
        if not all(candidates):
            return None
        ranks = [self._rank[phrase] for _, phrase in query.picks]
        themes = self._themes_by_fit(query, choices)
        for attempt in range(ATTEMPTS):
            # The best theme has most of the attempts; the others are for hands that it cannot seat.
            frames = themes[0 if attempt < ATTEMPTS // 2 else attempt % len(themes)]
            made = _Attempt(self.deck, frames, hand, choices).make(candidates, ranks, attempt)
            if made:
                return made
        return None

    @cached_property
    def _head_start(self) -> Mapping[str, float]:
        """What a theme owes to being served by many phrases, in phrases of a hand."""
        times = Counter(theme for themes in self._serves.values() for theme in themes)
        share = _HANDICAP * self.deck.hand_size / max(1, len(self._serves))
        return {theme.id: share * times[theme.id] for theme in self.deck.themes}

    def _themes_by_fit(self, query: Query, choices: _Choices) -> list[_Frames]:
        """Themes, the one that the phrases share best first."""
        served = Counter(theme for _, phrase in query.picks for theme in self._serves[phrase])
        start = choices.below(len(self._frames))
        rotated = self._frames[start:] + self._frames[:start]
        head_start = self._head_start
        return sorted(rotated, key=lambda f: head_start[f.theme.id] - served[f.theme.id])


def _texts(deck: Deck) -> Iterator[str]:
    """Every text that a deck's answers are composed of."""
    for sentences in deck.sentences.values():
        yield from (sentence.text for sentence in sentences)
    for theme in deck.themes:
        yield from theme.openings
        yield from theme.closings
        yield from theme.threshold_turns
        yield from theme.turns
        yield from theme.titles


class _Attempt:
    """One try at a poem: frames are drawn, then a sentence is chosen for each place in turn."""

    def __init__(self, deck: Deck, frames: _Frames, hand: int, choices: _Choices) -> None:
        self._rules = deck.rules
        self._frames = frames
        self._hand = hand
        self._choices = choices
        self._showcase = 0
        self._words = 0

    def make(
        self,
        candidates: Sequence[Sequence[Piece]],
        ranks: Sequence[tuple[int, int]],
        attempt: int,
    ) -> Composition | None:
        framed = self._frame()
        if framed is None:
            return None
        opening, closing = framed
        order = self._order(ranks, attempt)
        split, threshold = self._split([ranks[i][0] for i in order])
        turn = self._turn(split, len(order), threshold=threshold)
        used = opening.length + closing.length + (turn.length if turn else 0)
        sides = self._sides(split, len(order)) if turn and threshold else [0] * len(order)
        sentences = self._sentences([candidates[i] for i in order], sides, used, opening, attempt)
        if sentences is None or not self._is_sound(opening, sentences, closing, sides, attempt):
            return None
        length = used + sum(piece.length for piece in sentences)
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
        self,
        opening: Piece,
        sentences: Sequence[Piece],
        closing: Piece,
        sides: Sequence[int],
        attempt: int,
    ) -> bool:
        """Whether the texts go together. The last attempts let pass what is better than no poem."""
        if closing.head == sentences[-1].head:
            return False
        # Who has just gone out does not sit at the table: another order may seat everyone.
        misplaced = (p.place == -side != 0 for p, side in zip(sentences, sides, strict=True))
        if attempt < ATTEMPTS // 2 and any(misplaced):
            return False
        return attempt >= ATTEMPTS * 3 // 4 or not _drones([opening, *sentences, closing])

    def _draw(self, pieces: Sequence[Piece]) -> Piece | None:
        """A piece that gives no card of the hand away, and if possible repeats no word."""
        if not pieces:
            return None
        start = self._choices.below(len(pieces))
        second = None
        for i in range(len(pieces)):
            piece = pieces[(start + i) % len(pieces)]
            if not piece.leaks & self._hand and not piece.showcase & self._showcase:
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

    def _order(self, ranks: Sequence[tuple[int, int]], attempt: int) -> list[int]:
        """From outside to inside; after some attempts in any order on each side, then in any."""
        order = list(range(len(ranks)))
        if attempt < ATTEMPTS // 8:
            order.sort(key=ranks.__getitem__)
        else:
            sides = attempt < ATTEMPTS // 2
            drawn = [(ranks[i][0] if sides else 0, self._choices.below(1 << 16)) for i in order]
            order.sort(key=drawn.__getitem__)
        return order[::-1] if self._frames.theme.outward else order

    def _split(self, sides: Sequence[int]) -> tuple[int, bool]:
        """After how many sentences the development turns, and whether that is at the threshold.

        The threshold is where nothing before it is of the far side and nothing after it of the near
        one; what is of neither side may stand on both. Where there is one, the turn stands there, as
        near to the middle as can be: a door that opens after the room was praised opens nothing.
        """
        count = len(sides)
        near, far = (1, -1) if self._frames.theme.outward else (-1, 1)
        first = max((i + 1 for i, side in enumerate(sides) if side == near), default=0)
        last = min((i for i, side in enumerate(sides) if side == far), default=count)
        middle = count // 2 + self._choices.below(2)
        places = range(max(first, 1), min(last, count - 1) + 1)
        if not places or (first == 0 and last == count):
            return middle, False
        return min(places, key=lambda place: abs(place - middle)), True

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
        self,
        places: Sequence[Sequence[Piece]],
        sides: Sequence[int],
        used: int,
        opening: Piece,
        attempt: int,
    ) -> list[Piece] | None:
        least, most = self._rules.characters
        margin = (most - least) // 8
        aim = least + margin + self._choices.below(max(1, most - least - 2 * margin)) - used
        chosen = [opening]
        for number, pieces in enumerate(places):
            share = aim / (len(places) - number)
            piece = self._best(pieces, share, sides[number], chosen, attempt)
            if piece is None:
                return None
            self._take(piece)
            chosen.append(piece)
            aim -= piece.length
        return chosen[1:]

    def _best(
        self,
        pieces: Sequence[Piece],
        share: float,
        side: int,
        chosen: Sequence[Piece],
        attempt: int,
    ) -> Piece | None:
        theme = self._frames.theme.id
        before = chosen[-1]
        hour = max(piece.hour for piece in chosen)
        drone = before.ending if len(chosen) > 1 and chosen[-2].ending == before.ending else ""
        best, least = None, math.inf
        start = self._choices.below(len(pieces))
        for i in range(len(pieces)):
            piece = pieces[(start + i) % len(pieces)]
            if piece.showcase & self._showcase or piece.head == before.head:
                continue
            cost = (
                abs(piece.length - share) + _REPEAT_COST * (piece.words & self._words).bit_count()
            )
            # A sentence of the theme is worth a detour; after some attempts, any sentence will do.
            cost += 0 if theme in piece.themes or attempt > ATTEMPTS // 4 else 12
            cost += 9 if piece.ending == before.ending else 0
            # A poem that goes from night back to morning has five suns in its sky.
            cost += _HOUR_COST if 0 < piece.hour < hour else 0
            cost += _PLACE_COST if side and piece.place == -side else 0
            cost += 99 if piece.ending == drone else 0
            # Where the best choices lead nowhere, each further attempt leaves more to chance.
            cost += self._choices.below(1 + 2 * attempt) if attempt else 0
            if cost < least:
                best, least = piece, cost
        return best

    def _title(self) -> Piece | None:
        """A title of the theme that leads into the poem, not one that repeats its words."""
        titles = self._frames.titles
        start = self._choices.below(len(titles))
        rotated = [titles[(start + i) % len(titles)] for i in range(len(titles))]
        fitting = [t for t in rotated if not t.leaks & self._hand]
        unlike = [t for t in fitting if not (t.showcase & self._showcase or t.words & self._words)]
        return next(iter(unlike or fitting), None)

    def _written(
        self,
        title: Piece,
        opening: Piece,
        sentences: Sequence[Piece],
        split: int,
        turn: Piece | None,
        closing: Piece,
    ) -> Composition:
        first = "".join(p.text for p in sentences[:split])
        second = (turn.text if turn else "") + "".join(p.text for p in sentences[split:])
        paragraphs = [opening.text, first, second, closing.text]
        fewest, most = self._rules.paragraphs
        while len(paragraphs) > most or (len(paragraphs) > fewest and not turn):
            middle = len(paragraphs) // 2
            paragraphs[middle - 1 : middle + 1] = ["".join(paragraphs[middle - 1 : middle + 1])]
        return Composition(
            title=title.text,
            poem=BREAK.join(part for part in paragraphs if part),
            theme=self._frames.theme.id,
            sentences=tuple(piece.text for piece in sentences),
        )


def _drones(pieces: Sequence[Piece]) -> bool:
    """Whether three texts in a row end alike."""
    endings = [piece.ending for piece in pieces]
    return any(a == b == c for a, b, c in _triples(endings))


def _triples(items: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    return zip(items, items[1:], items[2:], strict=False)
