"""Proves that every composed or framed answer passes the gate, so that nobody need run it.

A composed answer passes if each of its texts passes alone, none gives away another card of the same
hand, nothing that the gate looks for begins in one text and ends in the next, and there is a frame
for every length that the sentences can have. This is checked once for a deck.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from app.kinds.cards.deck import Card, Deck
from app.kinds.cards.gate import Gate, cards_given_away, has_kana, telling
from app.kinds.cards.pieces import WORD, Form, Frame, frame_length, own_pieces
from app.kinds.cards.texts import Texts
from app.kinds.detection import never_not_in
from app.kinds.language import ANY, JAPANESE, own_letter

# Stands for an ending; no word that the gate looks for contains it.
_HOLE = "〓"


class Fragment(NamedTuple):
    """A text of composed answers: where it comes from, and the card that it is about, if any."""

    where: str
    text: str
    card: Card | None


def fragments(deck: Deck) -> Iterator[Fragment]:
    """All texts of which answers are composed: pieces, links with their words, frames."""
    owners = {phrase.id: card for card in deck.cards for phrase in card.phrases}
    owners.update(deck.card_by_id)
    for piece in own_pieces(deck.pieces):
        yield Fragment(piece.where, piece.text, owners[piece.of])
    longest = {
        name: max(len(text) for own in deck.pieces.cards.values() for text in own.endings[name])
        for name in deck.pieces.endings
    }
    for form in deck.pieces.forms:
        for link in sorted({frame.link for frame in form.frames} - {""}):
            for word in sorted(_words(form)):
                yield Fragment(f"a link of {form.id}", link.replace(WORD, word), None)
        for number, frame in enumerate(form.frames, 1):
            for text in _own_texts(frame, longest):
                yield Fragment(f"frame {number} of {form.id}", text, None)


def _words(form: Form) -> set[str]:
    return {*form.categories.values()} or {""}


def _own_texts(frame: Frame, longest: Mapping[str, int]) -> Iterator[str]:
    """The texts between a frame's holes for sentences, with `_HOLE`s as long as the endings."""
    holes = ["\0" if hole.isdigit() else _HOLE * longest[hole] for hole in frame.parts[1::2]]
    text = "".join(itertools.chain(*zip(frame.parts[::2], [*holes, ""], strict=True)))
    yield from (part.strip("\n") for part in text.split("\0") if part.strip("\n"))


def always_passes(deck: Deck) -> bool:
    """Whether the gate passes every answer that can be composed of a deck's pieces."""
    found = list(fragments(deck))
    return (
        all(form_fits(deck, form) for form in deck.pieces.forms)
        and _has_paragraphs(deck)
        and not leaks(deck, found)
        and texts_pass(deck, [fragment.text for fragment in found])
        and not spanned(deck)
        and _links_are_short(deck)
    )


def always_framed(deck: Deck, frames: Sequence[str]) -> bool:
    """Whether the gate passes every answer that the template tier makes of these frames.

    Phrases may be quoted, so that only what stands between them counts: frames that end with a stop,
    alone and in pairs. What can lie over three of them would contain the whole middle one.
    """
    language, size = deck.lang, deck.hand_size
    pairs = {pair: language.space.join(pair) for pair in itertools.product(frames, repeat=2)}
    given_away = cards_given_away(Texts((*frames, *pairs.values())), deck.cards, language)
    needles = {
        word for card in deck.cards for word in telling(card.text, card.telling_words, language)[0]
    }
    # A phrase whose own stop is quoted away is read as one sentence with what follows it.
    quoted = size * (1 + len(language.space))
    return (
        # A text in two of the lists is laid out twice, and longer than it was counted.
        len(set(frames)) == len(frames)
        and deck.rules.paragraphs[0] <= size
        and all(map(_is_plain, (*frames, *_phrases(deck))))
        and all(_closed(frame, deck) for frame in frames)
        and all(
            len(sentence) + quoted <= deck.rules.sentence
            for frame in frames
            for sentence in language.sentences(frame)
        )
        and _pass_alone(deck, list(pairs.values()))
        and all(
            given_away[text] == given_away[one] | given_away[other]
            for (one, other), text in pairs.items()
        )
        and not any(
            language.plain(frame).strip() in needle for frame in frames for needle in needles
        )
        and _has_letters(deck)
    )


def _is_plain(text: str) -> bool:
    """Whether a text is found again in an answer: in normal form C, one line, no space around it."""
    return text == text.strip() and "\n" not in text and unicodedata.is_normalized("NFC", text)


def _has_letters(deck: Deck) -> bool:
    """Whether the phrases of every hand have a letter of the deck's script."""
    script = deck.rules.script
    if ANY in script:
        return True
    letter = has_kana if script == (JAPANESE.id,) else own_letter(script[0]).search
    lacking = {
        card.category
        for card in deck.cards
        if not all(letter(phrase.text) for phrase in card.phrases)
    }
    return len(lacking) < deck.hand_size


def texts_pass(deck: Deck, texts: Iterable[str]) -> bool:
    """Whether each text passes alone, apart from giving cards away."""
    single = list(dict.fromkeys(texts))
    return _pass_alone(deck, single) and not _quotes(
        _phrases(deck), "\n".join(single), deck.rules.wording + 1
    )


def _links_are_short(deck: Deck) -> bool:
    """Whether no link is too long together with the sentence that continues it."""
    return all(
        link + _longest_beginning(deck, form) <= deck.rules.sentence
        for form in deck.pieces.forms
        if (link := _longest_link(deck, form))
    )


def _longest_link(deck: Deck, form: Form) -> int:
    """The length of the longest link that a sentence continues; 0 if all end with a stop."""
    word = max(_words(form), key=len)
    open_links = (frame.link for frame in form.frames if not _closed(frame.link, deck))
    return max((len(link.replace(WORD, word)) for link in open_links), default=0)


def _longest_beginning(deck: Deck, form: Form) -> int:
    """The length of the longest sentence with which a text for a phrase begins."""
    texts = (text for by_form in deck.pieces.phrases.values() for text in by_form[form.id])
    return max(len(deck.lang.sentences(text)[0]) for text in texts)


def spanned(deck: Deck) -> set[str]:
    """The words of the gate that can begin in one text and end in the next."""
    # Indexed by the two characters at a seam, which exclude nearly all of them.
    by_signs: dict[str, list[tuple[str, int]]] = {}
    for word in set(_looked_for(deck)):
        for at in range(1, len(word)):
            by_signs.setdefault(word[at - 1 : at + 1], []).append((word, at))
    found: set[str] = set()
    half = (deck.rules.wording + 1) // 2
    halves = {part for phrase in _phrases(deck) for part in _runs(phrase, half)}
    for lefts, rights in _seams(deck):
        last, first = {left[-1] for left in lefts}, {right[0] for right in rights}
        near = [by_signs[signs] for signs in by_signs if signs[0] in last and signs[1] in first]
        found.update(
            word for words in near for word, at in words if _meets(word, at, lefts, rights)
        )
        if _quoted_over(deck, halves, lefts, rights):
            found.add("a phrase")
    return found


def _quoted_over(deck: Deck, halves: set[str], lefts: set[str], rights: set[str]) -> bool:
    """Whether a phrase can be quoted over a seam; half of the run is then on one of its sides.

    `halves` are the runs of half the length that the phrases have.
    """
    size = deck.rules.wording + 1
    half = size // 2
    pairs = itertools.chain(
        itertools.product(lefts, (right for right in rights if right[:half] in halves)),
        itertools.product((left for left in lefts if left[-half:] in halves), rights),
    )
    return _quotes(
        _phrases(deck), "\n".join(left[-size:] + right[:size] for left, right in pairs), size
    )


def _meets(word: str, at: int, lefts: set[str], rights: set[str]) -> bool:
    """Whether a word can lie over a seam, with `at` characters before it.

    A text that is part of the word counts too, whatever is on the other side of the text.
    """
    begins, ends = word[:at], word[at:]
    return any(left.endswith(begins) or begins.endswith(left) for left in lefts) and any(
        right.startswith(ends) or ends.startswith(right) for right in rights
    )


def _seams(deck: Deck) -> Iterator[tuple[set[str], set[str]]]:
    """Texts that do not end with a full stop, and the texts that can follow them."""
    before: dict[str, set[str]] = {name: set() for name in deck.pieces.endings}
    after: dict[str, set[str]] = {name: set() for name in deck.pieces.endings}
    for form in deck.pieces.forms:
        links = {frame.link.replace(WORD, word) for frame in form.frames for word in _words(form)}
        said = [text for by_form in deck.pieces.phrases.values() for text in by_form[form.id]]
        yield _open(links, deck), set(said)
        for parts in (frame.parts for frame in form.frames):
            for text, hole, rest in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
                if not hole.isdigit():
                    before[hole].add(text.rsplit("\n")[-1])
                    after[hole].add(rest.split("\n")[0])
    for name in deck.pieces.endings:
        lent = {text for own in deck.pieces.cards.values() for text in own.endings[name]}
        yield _open(before[name], deck), lent
        yield _open(lent, deck), after[name] - {""}


def _open(texts: set[str], deck: Deck) -> set[str]:
    return {text for text in texts if text and not _closed(text, deck)}


def _closed(text: str, deck: Deck) -> bool:
    """Whether a text ends with a stop, over which no word that the gate looks for can lie."""
    return text.rstrip(" ").endswith(tuple(deck.lang.stops))


def leaks(deck: Deck, found: Iterable[Fragment]) -> list[tuple[Fragment, Card]]:
    """Each fragment with a card that it gives away and that can be in the same hand."""
    found = list(found)
    given_away = cards_given_away(Texts(fragment.text for fragment in found), deck.cards, deck.lang)
    return [
        (fragment, card)
        for fragment in found
        if given_away[fragment.text]
        for place, card in enumerate(deck.cards)
        if given_away[fragment.text] >> place & 1 and _together(fragment.card, card)
    ]


def _together(own: Card | None, other: Card) -> bool:
    return own is None or own is other or own.category != other.category


def form_fits(deck: Deck, form: Form) -> bool:
    """Whether there is a frame of the right length for the sentences of every hand."""
    shortest, longest = _range(deck, form)
    least, most = deck.rules.length
    size = deck.measure
    frames = [(frame_length(frame, size), frame.endings) for frame in form.frames]
    lengths = {
        tuple(zip(own.endings, map(size, chosen), strict=True))
        for own in deck.pieces.cards.values()
        for chosen in itertools.product(*own.endings.values())
    }
    for lent in map(dict, lengths):
        # Each frame fits an interval of lengths; together they must leave no gap.
        rests = sorted((own + sum(lent[n] for n in names) for own, names in frames), reverse=True)
        reach = shortest
        for rest in rests:
            if least - rest <= reach:
                reach = max(reach, most - rest + 1)
        if reach <= longest:
            return False
    return True


def _range(deck: Deck, form: Form) -> tuple[int, int]:
    """The least and greatest length of the sentences of a hand with their words."""
    lengths = []
    for cards in deck.cards_by_category.values():
        found = [
            deck.measure(form.categories.get(card.category, "")) + deck.measure(sentence)
            for card in cards
            for phrase in card.phrases
            for sentence in deck.pieces.phrases[phrase.id][form.id]
        ]
        lengths.append((min(found), max(found)))
    size = deck.hand_size
    shortest = sum(sorted(low for low, _ in lengths)[:size])
    return shortest, sum(sorted(high for _, high in lengths)[-size:])


def _has_paragraphs(deck: Deck) -> bool:
    fewest, most = deck.rules.paragraphs
    return all(
        fewest <= 1 + sum(part.count("\n") for part in frame.parts[::2]) <= most
        for form in deck.pieces.forms
        for frame in form.frames
    )


def _phrases(deck: Deck) -> list[str]:
    return [phrase.text for card in deck.cards for phrase in card.phrases]


def _looked_for(deck: Deck) -> Iterator[str]:
    """Every word that the gate looks for."""
    rules = deck.rules
    yield from itertools.chain(rules.forbidden, rules.polite, rules.address, rules.echo)
    yield from itertools.chain(rules.showcase, _phrases(deck))
    for card in deck.cards:
        yield from telling(card.text, card.telling_words, deck.lang)[0]


def _pass_alone(deck: Deck, texts: Sequence[str]) -> bool:
    """Judge all texts as lines of one, for speed; none may have a showcase word, even once."""
    rules = deck.rules._replace(showcase=())
    if any("\n" in text or "\r" in text for text in texts):
        return False
    joined = "\n".join(texts)
    if Gate.of(replace(deck, rules=rules)).examine_text(joined):
        return False
    if ANY not in deck.rules.script and not never_not_in(joined, deck.languages):
        return False
    shown = deck.lang.any_of(deck.rules.showcase)
    return not (shown and shown.search(joined))


def _quotes(phrases: Sequence[str], text: str, length: int) -> bool:
    """Whether a text has `length` characters of a phrase in a row."""
    runs = {run for phrase in phrases for run in _runs(phrase, length)}
    # Cut the text into pieces of half the length: a run contains at least one of them.
    half = (length + 1) // 2
    halves = {part for phrase in phrases for part in _runs(phrase, half)}
    return any(
        run in runs
        for at in range(0, len(text), half)
        if text[at : at + half] in halves
        for run in _runs(text[max(0, at + half - length) : at + length], length)
    )


def _runs(text: str, length: int) -> list[str]:
    return [text[at : at + length] for at in range(len(text) - length + 1)]
