"""The gate of a deck of cards: the checks that an answer must pass, at build and serve time.

A rule is a function that returns None or a `Refusal`; its docstring gives the reason for the rule.
A check is a rule with a name. `Gate.examine` runs a deck's checks in order up to the first refusal,
`Gate.refusals` runs all of them.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from app.kinds.cards.deck import CHARACTERS, Card, Deck
from app.kinds.cards.texts import Texts
from app.kinds.detection import UNPRINTABLE, declined, foreign_han, not_in
from app.kinds.language import ANY, JAPANESE, Language, foreign_letter, own_letter
from app.kinds.lazy_pattern import lazily
from app.kinds.refusal import Refusal
from app.normal_form import nfc, nfkc
from app.store.key import Query

FIELDS = ("title", "poem")
_LATIN = lazily(r"[A-Za-zＡ-Ｚａ-ｚ]{2,}")
_HANGUL = lazily(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_KANA = lazily(r"[ぁ-ゖァ-ヺ]")
_MARKUP = lazily(r"```|[{}\[\]<>*#_|`]|\\n")
_DIGITS = lazily(r"\d+")


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
        return nfc(str(self.response["title"]))

    @cached_property
    def poem(self) -> str:
        """The poem in normalisation form C, so that words can be found."""
        return nfc(str(self.response["poem"]))

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
    """The title is one that the deck knows, verbatim: one of its titles, or a frame's."""
    known = frozenset(nfc(title) for title in titles)

    def title(answer: ProposedAnswer) -> Refusal | None:
        if answer.title in known:
            return None
        return Refusal("title", answer.title[:40], "a title of the deck, verbatim")

    return title


def check_declined(answer: ProposedAnswer) -> Refusal | None:
    """The answer is no sentence with which a model declines to write one, in any language."""
    found = declined(answer.own)
    return Refusal("declined", found[:40], "an answer") if found else None


def check_length(least: int, most: int, unit: str, measure: Callable[[str], int]) -> Rule:
    """The flyer has room for a limited number of characters (without line breaks) or words."""

    def length(answer: ProposedAnswer) -> Refusal | None:
        # In words, a line break parts two of them.
        count = measure(answer.flat if unit == CHARACTERS else answer.poem)
        if least <= count <= most:
            return None
        return Refusal("length", str(count), f"{least}-{most} {unit}")

    return length


def check_paragraphs(least: int, most: int) -> Rule:
    """The flyer's layout needs a certain number of paragraphs."""

    def paragraphs(answer: ProposedAnswer) -> Refusal | None:
        count = sum(bool(part.strip()) for part in answer.poem.replace("\r", "\n").split("\n"))
        if least <= count <= most:
            return None
        return Refusal("paragraphs", str(count), f"{least}-{most}")

    return paragraphs


def check_sentences(most: int, language: Language) -> Rule:
    """Sentences are short enough to be read aloud in one breath."""

    def sentence(answer: ProposedAnswer) -> Refusal | None:
        longest = max(map(len, language.sentences(answer.own)), default=0)
        return Refusal("sentence", str(longest), f"{most} characters") if longest > most else None

    return sentence


def check_absent(name: str, pattern: re.Pattern[str] | None, limit: str) -> Rule:
    """None of these words occurs, except in quoted phrases."""

    def check(answer: ProposedAnswer) -> Refusal | None:
        found = pattern.search(answer.own) if pattern else None
        return Refusal(name, found.group(), limit) if found else None

    return check


def check_showcase(words: Iterable[str], language: Language) -> Rule:
    """A showcase word loses its effect if it is repeated."""
    pattern = language.any_of(words)

    def showcase(answer: ProposedAnswer) -> Refusal | None:
        found = [word.casefold() for word in pattern.findall(answer.own)] if pattern else []
        if len(found) == len(set(found)):
            return None
        twice = next(word for word in found if found.count(word) > 1)
        return Refusal("showcase", f"{twice} ×{found.count(twice)}", "once in a poem")

    return showcase


@lru_cache(maxsize=4096)
def telling(
    condition_text: str, words: tuple[str, ...], language: Language
) -> tuple[tuple[str, ...], frozenset[str]]:
    """What gives a card away in a plain text: words (its text, telling words, written numbers),
    and numbers.
    """
    found = _DIGITS.findall(nfkc(condition_text))
    written = [word for digits in found for word in language.numerals(int(digits))]
    needles = (
        needle for word in (condition_text, *words, *written) for needle in language.needles(word)
    )
    return tuple(dict.fromkeys(needles)), frozenset(str(int(digits)) for digits in found)


def leak_in(text: str, card: Card, language: Language) -> str:
    """The word in a plain text of a language that gives a card away; empty if there is none."""
    # `in` for each word is much faster than one regular expression for all of them.
    words, digits = telling(card.text, card.telling_words, language)
    for word in words:
        if word in text:
            return word.strip()
    if digits:
        return next((n for n in _DIGITS.findall(text) if str(int(n)) in digits), "")
    return ""


def cards_given_away(texts: Texts, cards: Sequence[Card], language: Language) -> dict[str, int]:
    """The cards that each text gives away, as bits by the cards' places.

    The same as `leak_in` for many texts at once.
    """
    plain = {text: language.plain(text) for text in texts}
    found = texts if all(map(operator.is_, plain, plain.values())) else Texts(plain.values())
    bits = dict.fromkeys(plain.values(), 0)
    by_number: dict[str, int] = {}
    for place, card in enumerate(cards):
        words, numbers = telling(card.text, card.telling_words, language)
        for text in found.holding(words):
            bits[text] |= 1 << place
        for number in numbers:
            by_number[number] = by_number.get(number, 0) | 1 << place
    for text, numbers_in in found.found(_DIGITS).items():
        for digits in numbers_in:
            bits[text] |= by_number.get(str(int(digits)), 0)
    return {text: bits[same] for text, same in plain.items()}


def check_leak(language: Language) -> Rule:
    """The answer does not reveal the condition on a card: hiding it is the game."""

    def leak(answer: ProposedAnswer) -> Refusal | None:
        own = language.plain(answer.own)
        for card in answer.cards:
            found = leak_in(own, card, language)
            if found:
                return Refusal("leak", f"{found} of {card.id}", "no word that tells a card")
        return None

    return leak


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


def check_scripts(scripts: tuple[str, ...]) -> Rule:
    """All letters are of the deck's scripts, and there is one of the first."""
    foreign, own = foreign_letter(scripts), own_letter(scripts[0])
    wanted = " and ".join(scripts)

    def script(answer: ProposedAnswer) -> Refusal | None:
        if not own.search(answer.poem):
            return Refusal("script", f"no letter of {scripts[0]}", wanted)
        found = foreign.search(answer.own)
        return Refusal("script", found.group(), f"letters of {wanted}") if found else None

    return script


def check_language(languages: tuple[str, ...]) -> Rule:
    """Languages that share letters are told apart by their short words."""
    limit = f"words of {' and '.join(languages)}"

    def language(answer: ProposedAnswer) -> Refusal | None:
        found = not_in(answer.own, languages)
        return Refusal("language", found, limit) if found else None

    return language


def check_echo(words: Iterable[str], language: Language) -> Rule:
    """The answer comes without explanations, parts of the prompt and markup."""
    check_echoed = check_absent("echo", language.any_of(words), "no echo word")

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
        rules, language = deck.rules, deck.lang
        least, most = rules.length
        checks = [
            Check("declined", check_declined, of_texts=True),
            Check("title", check_title(deck.known_titles)),
            Check("printable", check_printable, of_texts=True),
            Check("length", check_length(least, most, rules.unit, deck.measure)),
            Check("paragraphs", check_paragraphs(*rules.paragraphs)),
            Check("sentence", check_sentences(rules.sentence, language), of_texts=True),
            *(
                Check(
                    name,
                    check_absent(name, language.any_of(words), f"no {name} word"),
                    of_texts=True,
                )
                for name, words in (("forbidden", rules.forbidden), ("address", rules.address))
            ),
            # Plain endings are usual in advertisements of this kind.
            Check(
                "polite",
                check_absent("polite", language.at_end(rules.polite), "no polite ending"),
                of_texts=True,
            ),
            Check("showcase", check_showcase(rules.showcase, language), of_texts=True),
            Check("echo", check_echo(rules.echo, language), of_texts=True),
            Check("leak", check_leak(language), of_texts=True),
            Check("wording", check_wording(rules.wording), of_texts=True),
        ]
        if rules.script == (JAPANESE.id,):
            checks.append(Check("script", check_japanese, of_texts=True))
        elif ANY not in rules.script:
            checks.append(Check("script", check_scripts(rules.script), of_texts=True))
            checks.append(Check("language", check_language(deck.languages), of_texts=True))
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

    def refusals(self, query: Query, response: Mapping[str, object]) -> tuple[Refusal, ...]:
        """All refusals, which a model is given when it is asked again. Raises KeyError."""
        return tuple(self._run(query, response, ()))

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
