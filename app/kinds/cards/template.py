"""Frames the phrases of a play with a deck's own sentences: its openings, links and closings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.kinds.cards.choices import Choices
from app.kinds.cards.composing import BREAK
from app.kinds.cards.deck import FRAMES, Deck, Phrase
from app.kinds.cards.gate import Gate, cards_given_away
from app.kinds.cards.texts import Texts
from app.store.key import Query

SOURCE = "template"
MODEL = "template-2"


class FrameTemplate:
    """Frames the phrases of a deck's plays. The deck must have frames.

    `openings`, `links` and `closings` are the frames in use; `given_away` has the cards that each of
    them, and each title, gives away, as bits by the cards' places.
    """

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._gate = Gate.of(deck)
        self.openings, self.links, self.closings = (
            self._usable(deck.template.get(name, ())) for name in FRAMES
        )
        frames = (*self.openings, *self.links, *self.closings)
        self.given_away = cards_given_away(Texts((*frames, *deck.titles)), deck.cards, deck.lang)
        self._card_bit = {card.id: 1 << place for place, card in enumerate(deck.cards)}

    def _usable(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The texts that break none of the deck's rules by themselves."""
        rules, language = self._deck.rules, self._deck.lang
        words = (*rules.forbidden, *rules.address, *rules.showcase, *rules.echo)
        banned = language.any_of(words)
        return tuple(
            text
            for text in texts
            if not (banned and banned.search(text))
            and all(len(part) <= rules.sentence for part in language.sentences(text))
        )

    def frame(self, query: Query, variant: int = 0) -> dict[str, str] | None:
        """Title and poem with the phrases verbatim; None if no attempt passes the gate."""
        return next((made for made, why in self.attempts(query, variant) if not why), None)

    def why_not(self, query: Query) -> str:
        """Why there is no answer to a play; empty if there is one."""
        why = ""
        for _, why in self.attempts(query, 0):
            if not why:
                return ""
        return why

    def attempts(self, query: Query, variant: int) -> Iterator[tuple[dict[str, str], str]]:
        """Answers with the reason for which they cannot be given, empty if there is none."""
        phrases = self._deck.phrases(query)
        hand = sum([self._card_bit[phrase.card] for phrase in phrases])
        choices = Choices(query.canonical + b"#%d" % variant)
        titles = choices.shuffled(self._deck.titles)
        quoted = tuple(phrase.text for phrase in phrases)
        hiding = next((title for title in titles if not self.given_away[title] & hand), titles[0])
        for title in (hiding, *titles[:7]):
            poem = self._poem(phrases, hand, choices)
            if poem is None:
                least, most = self._deck.rules.length
                fault = f"no frames bring the phrases to {least}-{most} {self._deck.rules.unit}"
                yield {}, fault
                return
            response = {"title": title, "poem": poem}
            refusal = self._gate.examine(query, response, quoted)
            yield response, str(refusal or "")

    def _poem(self, phrases: Sequence[Phrase], hand: int, choices: Choices) -> str | None:
        language = self._deck.lang
        lines = choices.shuffled([language.ended(p.text) for p in phrases])
        said = sum(map(self.cost, lines))
        least, most = self._deck.rules.length
        # Each sentence is counted with the space after it, which the last of a paragraph lacks.
        space = self.cost("")
        least, most = least + space * self._deck.rules.paragraphs[1], most + space
        openings, links, closings = (
            choices.shuffled([text for text in texts if not self.given_away[text] & hand])
            for texts in (self.openings, self.links, self.closings)
        )
        # An opening, a closing and some links first, then the rest.
        stock = [*openings[:1], *closings[:1], *links[:3], *openings[1:], *closings[1:], *links[3:]]
        costs = [(text, self.cost(text)) for text in stock]
        chosen = _fill(costs, max(0, least - said), most - said)
        return None if chosen is None else self._layout(lines, chosen, choices)

    def cost(self, text: str) -> int:
        """The length of a text with the space after it."""
        deck = self._deck
        return deck.measure(text) + (0 if deck.rules.words else len(deck.lang.space))

    def _layout(self, lines: Sequence[str], chosen: Sequence[str], choices: Choices) -> str:
        first = [t for t in chosen if t in self.openings]
        last = [t for t in chosen if t in self.closings]
        middle = list(lines)
        for text in (t for t in chosen if t in self.links):
            middle.insert(1 + choices.below(max(1, len(middle) - 1)), text)
        half = (len(middle) + 1) // 2
        blocks = [first, middle[:half], middle[half:], last]
        return BREAK.join(
            self._deck.lang.space.join(block)
            for block in _paragraphs(blocks, self._deck.rules.paragraphs)
        )


def _paragraphs(blocks: Sequence[Sequence[str]], limits: tuple[int, int]) -> list[list[str]]:
    """Split the longest or join the shortest until their number is within the limits."""
    parts = [list(block) for block in blocks if block]
    fewest, most = limits
    while len(parts) < fewest and any(len(part) > 1 for part in parts):
        at = max(range(len(parts)), key=lambda i: len(parts[i]))
        half = (len(parts[at]) + 1) // 2
        parts[at : at + 1] = [parts[at][:half], parts[at][half:]]
    while len(parts) > max(most, 1):
        at = min(range(len(parts) - 1), key=lambda i: len(parts[i]) + len(parts[i + 1]))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _fill(stock: Sequence[tuple[str, int]], least: int, most: int) -> list[str] | None:
    """Frames whose lengths add up to `least` to `most`: the first ones that fit, or any subset."""
    if most < 0:
        return None
    chosen: list[str] = []
    length = 0
    for text, cost in stock:
        if length >= least:
            return chosen
        if length + cost <= most:
            chosen.append(text)
            length += cost
    return chosen if length >= least else _add_up(stock, least, most)


def _add_up(stock: Sequence[tuple[str, int]], least: int, most: int) -> list[str] | None:
    """A subset whose lengths add up to that, by dynamic programming (subset sum)."""
    reached: dict[int, tuple[str, ...]] = {0: ()}
    for text, cost in stock:
        for length, texts in sorted(reached.items(), reverse=True):
            total = length + cost
            if total <= most and total not in reached:
                reached[total] = (*texts, text)
                if total >= least:
                    return list(reached[total])
    return None
