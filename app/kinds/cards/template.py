"""Frames the phrases of a play with fixed sentences, for any deck.

The sentences below avoid runs of two kanji: if a card names no telling words, its runs of two kanji
count as such, and these sentences cannot give it away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from app.kinds.cards.composing import BREAK
from app.kinds.cards.deck import Deck, Phrase
from app.kinds.cards.gate import Gate, cards_given_away
from app.kinds.cards.texts import Texts
from app.store.key import Query

SOURCE = "template"
MODEL = "template-1"

OPENINGS = (
    "朝が、ひとつの窓から始まる。",
    "街の灯がひとつずつ消えて、空だけが残る。",
    "風の来る方へ、そっと窓をひらく。",
    "遠くで誰かが笑い、やがて声は空に溶ける。",
    "夜と朝のあいだに、まだ名のない色がある。",
    "水の音に耳を澄ませば、街は少しだけ遠くなる。",
    "雲はゆっくりと形を変え、光の居どころを選び直す。",
    "靴を脱ぐ。それだけで、世の中の音がひとつ遠のく。",
    "空の色が変わるたび、窓の色も変わってゆく。",
    "土の匂い、雨の気まぐれ、灯の温もり。",
    "長い道の終わりに、灯がひとつ待っている。",
    "春は窓から、秋は扉から入ってくる。",
    "街が急ぐほど、ここを流れる時はゆるやかになる。",
    "扉をひとつ隔てて、街の声は遠い波になる。",
)
LINKS = (
    "風が通る。",
    "光が満ちる。",
    "言葉はいらない。",
    "時はここで、歩みをゆるめる。",
    "誰にも急かされない朝がある。",
    "夜ごと、灯は静かに深まる。",
    "耳を澄ませば、空が近い。",
    "すべては、あるべきところに。",
    "窓のむこうで、雲がほどける。",
    "そして、扉の内へ。",
    "手をのばせば、光に届く。",
    "足を止めれば、風の名がわかる。",
    "暮らしは、静かに形を得てゆく。",
    "今日もまた、空が高い。",
    "急ぐわけは、ここにはない。",
    "影さえも、美しい線をひく。",
    "ひと息おいて、夜が始まる。",
    "雨の日には、雨の日の色がある。",
    "見上げれば、星がひとつ増えている。",
    "床に落ちた光が、少しずつ歩いてゆく。",
    "湯の沸く音が、夜の始まりを告げる。",
    "花をひとつ置けば、そこが春になる。",
    "眠りは深く、目ざめは軽い。",
    "遠くの灯に、そっと手を振りたくなる。",
)
CLOSINGS = (
    "帰るたびに、好きになる。",
    "あすの朝も、この窓から始まる。",
    "鍵をひとつ持つ。それだけで、空の見え方が変わる。",
    "選ぶとは、静かに決めること。",
    "住まうとは、光の側に立つことである。",
    "やがて、帰る道までが好きになる。",
    "手に入れるのは、広さではなく深さ。",
    "長く住むほど、言葉は少なくなる。",
    "扉が閉じて、物の音がやむ。そこから先は、住む人の時。",
    "ここに住む。その短い答えに、長い夢がいる。",
    "灯をともす。街に、帰るところがひとつ増える。",
    "まだ見ぬ朝のために、席はもう空けてある。",
)


@dataclass(frozen=True, slots=True)
class _Room:
    """The least and greatest number of characters that frames may add to a poem."""

    least: int
    most: int


class Template:
    """Frames the phrases of a deck's plays."""

    def __init__(self, deck: Deck) -> None:
        self._deck = deck
        self._gate = Gate.of(deck)
        given = deck.template
        self._openings = self._usable(given.get("openings", OPENINGS))
        self._links = self._usable(given.get("links", LINKS))
        self._closings = self._usable(given.get("closings", CLOSINGS))
        frames = (*self._openings, *self._links, *self._closings)
        self._given_away = cards_given_away(Texts((*frames, *deck.titles)), deck.cards)
        self._card_bit = {card.id: 1 << place for place, card in enumerate(deck.cards)}

    def _usable(self, texts: Sequence[str]) -> tuple[str, ...]:
        """The texts that break none of the deck's rules by themselves."""
        rules = self._deck.rules
        banned = (*rules.forbidden, *rules.address, *rules.showcase, *rules.echo)
        return tuple(
            text
            for text in texts
            if not any(word in text for word in banned)
            and all(len(part) <= rules.sentence for part in text.split("。"))
        )

    def frame(self, query: Query, variant: int = 0) -> dict[str, str] | None:
        """Title and poem with the phrases verbatim; None if no attempt passes the gate."""
        phrases = self._deck.phrases(query)
        hand = sum([self._card_bit[phrase.card] for phrase in phrases])
        seed = xxhash.xxh3_64_intdigest(query.canonical, variant)
        rng = random.Random(seed)
        titles = _shuffled(self._deck.titles, rng)
        quoted = tuple(phrase.text for phrase in phrases)
        hiding = next((title for title in titles if not self._given_away[title] & hand), titles[0])
        for title in (hiding, *titles[:7]):
            poem = self._poem(phrases, hand, rng)
            if poem is None:
                return None
            response = {"title": title, "poem": poem}
            if self._gate.examine(query, response, quoted) is None:
                return response
        return None

    def _poem(self, phrases: Sequence[Phrase], hand: int, rng: random.Random) -> str | None:
        lines = _shuffled([p.text.rstrip("。") + "。" for p in phrases], rng)
        said = sum(map(len, lines))
        least, most = self._deck.rules.characters
        room = _Room(max(0, least - said), most - said)
        openings, links, closings = (
            _shuffled([text for text in texts if not self._given_away[text] & hand], rng)
            for texts in (self._openings, self._links, self._closings)
        )
        # An opening, a closing and some links first, then the rest.
        stock = [*openings[:1], *closings[:1], *links[:3], *openings[1:], *closings[1:], *links[3:]]
        chosen = _fill(stock, room)
        if chosen is None:
            return None
        return self._layout(lines, chosen, rng)

    def _layout(self, lines: Sequence[str], chosen: Sequence[str], rng: random.Random) -> str:
        first = [t for t in chosen if t in self._openings]
        last = [t for t in chosen if t in self._closings]
        middle = list(lines)
        for text in (t for t in chosen if t in self._links):
            middle.insert(1 + int(rng.random() * max(1, len(middle) - 1)), text)
        half = (len(middle) + 1) // 2
        blocks = [first, middle[:half], middle[half:], last]
        return BREAK.join(
            "".join(block) for block in _paragraphs(blocks, self._deck.rules.paragraphs)
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


def _fill(stock: Sequence[str], room: _Room) -> list[str] | None:
    """Frames whose lengths add up to the room: the first ones that fit, or any subset."""
    if room.most < 0:
        return None
    chosen: list[str] = []
    length = 0
    for text in stock:
        if length >= room.least:
            return chosen
        if length + len(text) <= room.most:
            chosen.append(text)
            length += len(text)
    return chosen if length >= room.least else _add_up(stock, room)


def _add_up(stock: Sequence[str], room: _Room) -> list[str] | None:
    """A subset whose lengths add up to the room, by dynamic programming (subset sum)."""
    reached: dict[int, tuple[str, ...]] = {0: ()}
    for text in stock:
        for length, texts in sorted(reached.items(), reverse=True):
            total = length + len(text)
            if total <= room.most and total not in reached:
                reached[total] = (*texts, text)
                if total >= room.least:
                    return list(reached[total])
    return None


def _shuffled(items: Sequence[str], rng: random.Random) -> list[str]:
    # Python guarantees the sequence of `random` over versions, but not that of `shuffle`.
    return sorted(items, key=lambda _: rng.random())
