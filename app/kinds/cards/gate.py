"""The gate of a deck of cards: the checks that an answer must pass, at build and serve time.

A rule is a function that returns None or a `Refusal`; its docstring gives the reason for the rule.
A check is a rule with a name. `Gate.examine` runs a deck's checks in order up to the first refusal,
`Gate.refusals` runs all of them.
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from app.kinds.cards.deck import Card, Deck
from app.kinds.cards.texts import Texts
from app.kinds.refusal import Refusal
from app.store.key import Query

FIELDS = ("title", "poem")
_SENTENCE_END = re.compile(r"[。！？!?\r\n]+")
_LATIN = re.compile(r"[A-Za-zＡ-Ｚａ-ｚ]{2,}")
_HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_KANA = re.compile(r"[ぁ-ゖァ-ヺ]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_MARKUP = re.compile(r"```|[{}\[\]<>*#_|`]|\\n")
# Controls, lone surrogates, private use, invisible marks, the replacement character.
UNPRINTABLE = re.compile(
    r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u061c\u2028-\u202e\u2060-\u206f\ufeff\ufffd"
    r"\ud800-\udfff\ue000-\uf8ff]"
)
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class ProposedAnswer:
    """An answer to judge, with the cards and phrases of its play.

    `quoted` are phrases that the answer may quote (the template tier does): their words do not
    count as leaks, forbidden words or repetition.
    """

    response: Mapping[str, object]
    cards: tuple[Card, ...]
    phrases: tuple[str, ...]
    quoted: tuple[str, ...] = ()

    @cached_property
    def title(self) -> str:
        return unicodedata.normalize("NFC", str(self.response["title"]))

    @cached_property
    def poem(self) -> str:
        """The poem in normalisation form C, so that words can be found."""
        return unicodedata.normalize("NFC", str(self.response["poem"]))

    @cached_property
    def flat(self) -> str:
        """The poem without line breaks, whose length counts."""
        return self.poem.replace("\n", "").replace("\r", "")

    @cached_property
    def own(self) -> str:
        """The poem without the phrases that it may quote, in which words are searched."""
        text = self.poem
        for phrase in sorted(self.quoted, key=len, reverse=True):
            # NFKC does not change this character, so that normalising stays fast.
            text = text.replace(phrase, "〓")
        return text


Rule = Callable[[ProposedAnswer], Refusal | None]


@dataclass(frozen=True, slots=True)
class Check:
    """A named rule. `of_texts` is whether it can judge a single text as well as a whole answer."""

    name: str
    rule: Rule
    of_texts: bool = False


def check_shape(answer: ProposedAnswer) -> Refusal | None:
    """Exactly title and poem, both texts: the game expects nothing else."""
    response = answer.response
    if set(response) == set(FIELDS) and all(isinstance(v, str) and v for v in response.values()):
        return None
    return Refusal("shape", ", ".join(map(str, response)) or "nothing", "exactly title and poem")


def check_printable(answer: ProposedAnswer) -> Refusal | None:
    """Broken or invisible characters cannot be printed."""
    found = UNPRINTABLE.search(answer.own)
    if found is None:
        return None
    return Refusal("printable", f"U+{ord(found.group()):04X}", "characters that can be printed")


def check_title(titles: Iterable[str]) -> Rule:
    """The title is one of the deck's, verbatim: the game prints it on prepared art."""
    known = frozenset(unicodedata.normalize("NFC", title) for title in titles)

    def title(answer: ProposedAnswer) -> Refusal | None:
        if answer.title in known:
            return None
        return Refusal("title", answer.title[:40], "a title of the deck, verbatim")

    return title


def check_length(least: int, most: int) -> Rule:
    """The flyer has room for a limited number of characters, without line breaks."""

    def length(answer: ProposedAnswer) -> Refusal | None:
        count = len(answer.flat)
        if least <= count <= most:
            return None
        return Refusal("length", str(count), f"{least}-{most} characters")

    return length


def check_paragraphs(least: int, most: int) -> Rule:
    """The flyer's layout needs a certain number of paragraphs."""

    def paragraphs(answer: ProposedAnswer) -> Refusal | None:
        count = sum(bool(part.strip()) for part in answer.poem.replace("\r", "\n").split("\n"))
        if least <= count <= most:
            return None
        return Refusal("paragraphs", str(count), f"{least}-{most}")

    return paragraphs


def check_sentences(most: int) -> Rule:
    """Sentences are short enough to be read aloud in one breath."""

    def sentence(answer: ProposedAnswer) -> Refusal | None:
        longest = max(map(len, _SENTENCE_END.split(answer.own)))
        return Refusal("sentence", str(longest), f"{most} characters") if longest > most else None

    return sentence


def any_of(words: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(set(words), key=lambda word: (-len(word), word))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def check_words(name: str, words: Iterable[str]) -> Rule:
    """None of these words occurs, except in quoted phrases."""
    pattern = any_of(words)
    limit = f"no {name} word"

    def check(answer: ProposedAnswer) -> Refusal | None:
        found = pattern.search(answer.own) if pattern else None
        return Refusal(name, found.group(), limit) if found else None

    return check


def check_polite(endings: Iterable[str]) -> Rule:
    """Sentences have plain endings, as is usual in advertisements of this kind."""
    pattern = any_of(endings)
    at_end = re.compile(f"(?:{pattern.pattern})(?=[。、！？!?」\r\n]|$)") if pattern else None

    def polite(answer: ProposedAnswer) -> Refusal | None:
        found = at_end.search(answer.own) if at_end else None
        return Refusal("polite", found.group(), "no polite ending") if found else None

    return polite


def check_showcase(words: Iterable[str]) -> Rule:
    """A showcase word loses its effect if it is repeated."""
    pattern = any_of(words)

    def showcase(answer: ProposedAnswer) -> Refusal | None:
        found = pattern.findall(answer.own) if pattern else ()
        if len(found) == len(set(found)):
            return None
        twice = next(word for word in found if found.count(word) > 1)
        return Refusal("showcase", f"{twice} ×{found.count(twice)}", "once in a poem")

    return showcase


def kanji_numerals(digits: str) -> tuple[str, ...]:
    """The notations of a number in kanji, for numbers from 10 to 9999.

    Kanji numerals below ten are too common in ordinary words to give a card away.
    """
    number = int(digits)
    if not 10 <= number <= 9999:
        return ()
    plain = "".join("〇一二三四五六七八九"[int(d)] for d in str(number))
    parts = ""
    for unit, sign in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        count, number = divmod(number, unit)
        if count:
            parts += ("" if count == 1 and sign else "一二三四五六七八九"[count - 1]) + sign
    return (parts, plain)


@lru_cache(maxsize=4096)
def telling(condition_text: str, words: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    """What gives a card away: words (its text, telling words, numbers in kanji), and numbers."""
    text, *telling = (unicodedata.normalize("NFKC", word) for word in (condition_text, *words))
    numbers = _DIGITS.findall(text)
    written = [word for digits in numbers for word in kanji_numerals(digits)]
    every = tuple(dict.fromkeys((text, *telling, *written)))
    return every, frozenset(str(int(digits)) for digits in numbers)


def leak_in(text: str, card: Card) -> str:
    """The word in an NFKC-normalised text that gives a card away; empty if there is none."""
    # `in` for each word is much faster than one regular expression for all of them.
    words, digits = telling(card.text, card.telling_words)
    for word in words:
        if word in text:
            return word
    if digits:
        return next((n for n in _DIGITS.findall(text) if str(int(n)) in digits), "")
    return ""


def cards_given_away(texts: Texts, cards: Sequence[Card]) -> dict[str, int]:
    """The cards that each text gives away, as bits by the cards' places.

    The same as `leak_in` for many texts at once.
    """
    plain = {text: unicodedata.normalize("NFKC", text) for text in texts}
    found = texts if all(map(operator.is_, plain, plain.values())) else Texts(plain.values())
    bits = dict.fromkeys(plain.values(), 0)
    by_number: dict[str, int] = {}
    for place, card in enumerate(cards):
        words, numbers = telling(card.text, card.telling_words)
        for text in found.holding(words):
            bits[text] |= 1 << place
        for number in numbers:
            by_number[number] = by_number.get(number, 0) | 1 << place
    for text, numbers_in in found.found(_DIGITS).items():
        for digits in numbers_in:
            bits[text] |= by_number.get(str(int(digits)), 0)
    return {text: bits[same] for text, same in plain.items()}


def check_leak(answer: ProposedAnswer) -> Refusal | None:
    """The answer does not reveal the condition on a card: hiding it is the game."""
    own = unicodedata.normalize("NFKC", answer.own)
    for card in answer.cards:
        found = leak_in(own, card)
        if found:
            return Refusal("leak", f"{found} of {card.id}", "no word that tells a card")
    return None


def check_wording(most: int) -> Rule:
    """The answer uses the meaning of the phrases, not their wording."""

    def wording(answer: ProposedAnswer) -> Refusal | None:
        for phrase in answer.phrases:
            if phrase in answer.quoted:
                continue
            run = _longest_run(phrase, answer.flat, most + 1)
            if run:
                return Refusal("wording", run, f"{most} characters of a phrase in a row")
        return None

    return wording


def _longest_run(phrase: str, text: str, length: int) -> str:
    # Cut the phrase into pieces of half the length: a run contains at least one of them. Nearly
    # always the text contains none, and need not be searched further.
    step = (length + 1) // 2
    pieces = range(0, len(phrase) - step + 1, step)
    if not any(phrase[at : at + step] in text for at in pieces):
        return ""
    runs = (phrase[i : i + length] for i in range(len(phrase) - length + 1))
    return next((run for run in runs if run in text), "")


def foreign_han(text: str) -> str:
    """The Chinese characters in a text that are not used in Japanese.

    Those in use are in Windows code page 932, simplified characters are not. A table of our own
    would be less complete, and the codec takes a microsecond.
    """
    try:
        text.encode("cp932")
    except UnicodeEncodeError:
        return "".join(dict.fromkeys(c for c in _HAN.findall(text) if not _in_cp932(c)))
    return ""


def _in_cp932(character: str) -> bool:
    try:
        character.encode("cp932")
    except UnicodeEncodeError:
        return False
    return True


def has_kana(text: str) -> bool:
    """Whether a text contains kana, which distinguishes Japanese from Chinese."""
    return _KANA.search(text) is not None


def check_japanese(answer: ProposedAnswer) -> Refusal | None:
    """It is in Japanese: kana, but no simplified Chinese, Hangul or run of Latin letters."""
    own = answer.own
    if not has_kana(answer.poem):
        return Refusal("script", "no kana", "Japanese")
    try:
        own.encode("cp932")
    except UnicodeEncodeError:
        foreign, hangul = foreign_han(own), _HANGUL.search(own)
        if foreign:
            return Refusal("script", foreign[:10], "no Chinese-only character")
        if hangul:
            return Refusal("script", hangul.group(), "no Hangul")
    latin = _LATIN.search(own)
    return Refusal("script", latin.group(), "no Latin run") if latin else None


def check_echo(words: Iterable[str]) -> Rule:
    """The answer comes without explanations, parts of the prompt and markup."""
    check_echoed = check_words("echo", words)

    def echo(answer: ProposedAnswer) -> Refusal | None:
        markup = _MARKUP.search(answer.own)
        if markup:
            return Refusal("echo", markup.group(), "no markup")
        return check_echoed(answer)

    return echo


@dataclass(frozen=True)
class Gate:
    """The checks of one deck, in the order in which they run."""

    deck: Deck
    checks: tuple[Check, ...]

    @classmethod
    def of(cls, deck: Deck) -> Gate:
        rules = deck.rules
        checks = [
            Check("title", check_title(deck.titles)),
            Check("printable", check_printable, of_texts=True),
            Check("length", check_length(*rules.characters)),
            Check("paragraphs", check_paragraphs(*rules.paragraphs)),
            Check("sentence", check_sentences(rules.sentence), of_texts=True),
            Check("forbidden", check_words("forbidden", rules.forbidden), of_texts=True),
            Check("address", check_words("address", rules.address), of_texts=True),
            Check("polite", check_polite(rules.polite), of_texts=True),
            Check("showcase", check_showcase(rules.showcase), of_texts=True),
            Check("echo", check_echo(rules.echo), of_texts=True),
            Check("leak", check_leak, of_texts=True),
            Check("wording", check_wording(rules.wording), of_texts=True),
        ]
        if rules.script == "ja":
            checks.append(Check("script", check_japanese, of_texts=True))
        return cls(deck, tuple(checks))

    def examine_text(
        self, text: str, cards: Iterable[Card] = (), phrases: Iterable[str] = ()
    ) -> tuple[Refusal, ...]:
        """The refusals of a single text (a piece, a phrase) by the checks that can judge one."""
        answer = ProposedAnswer({"title": "", "poem": text}, tuple(cards), tuple(phrases))
        found = (check.rule(answer) for check in self.checks if check.of_texts)
        return tuple(refusal for refusal in found if refusal)

    def examine(
        self, query: Query, response: Mapping[str, object], quoted: tuple[str, ...] = ()
    ) -> Refusal | None:
        """The first refusal, or None. Raises KeyError if the deck lacks a card of the query."""
        return next(self._run(query, response, quoted), None)

    def refusals(
        self, query: Query, response: Mapping[str, object], quoted: tuple[str, ...] = ()
    ) -> tuple[Refusal, ...]:
        """All refusals, which a model is given when it is asked again. Raises KeyError."""
        return tuple(self._run(query, response, quoted))

    def _run(
        self, query: Query, response: Mapping[str, object], quoted: tuple[str, ...]
    ) -> Iterator[Refusal]:
        phrases = self.deck.phrases(query)
        cards = tuple(self.deck.card_by_id[phrase.card] for phrase in phrases)
        answer = ProposedAnswer(response, cards, tuple(p.text for p in phrases), quoted)
        malformed = check_shape(answer)
        if malformed:
            yield malformed
            return
        for check in self.checks:
            refusal = check.rule(answer)
            if refusal:
                yield refusal
