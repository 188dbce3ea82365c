"""Proves that every composed or framed answer passes the gate, so that nobody need run it.

A composed answer passes if each of its texts passes alone and ends with a stop, over which nothing that
the gate looks for can lie; if none gives away another card of the same hand; and if there is a frame
for every length that the sentences can have. This is checked once for a deck.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from app.kinds.cards.deck import Card, Deck
from app.kinds.cards.gate import Gate, cards_given_away, has_kana, telling
from app.kinds.cards.pieces import Frame, Idea, frame_length, own_pieces
from app.kinds.cards.texts import Texts
from app.kinds.detection import never_not_in
from app.kinds.language import ANY, JAPANESE, own_letter


class Fragment(NamedTuple):
    """A text of composed answers: where it comes from, and the card that it is about, if any."""

    where: str
    text: str
    card: Card | None


def titles(deck: Deck) -> Iterator[Fragment]:
    """The titles of frames."""
    for idea in deck.pieces.ideas:
        for number, frame in enumerate(idea.frames, 1):
            yield Fragment(f"title of frame {number} of {idea.id}", frame.title, None)


def fragments(deck: Deck) -> Iterator[Fragment]:
    """All texts of which poems are composed: sentences, and the lines of frames between them."""
    owners = {phrase.id: card for card in deck.cards for phrase in card.phrases}
    for piece in own_pieces(deck.pieces):
        yield Fragment(piece.where, piece.text, owners[piece.phrase])
    for idea in deck.pieces.ideas:
        for number, frame in enumerate(idea.frames, 1):
            for text in _lines(frame):
                yield Fragment(f"frame {number} of {idea.id}", text, None)


def _lines(frame: Frame) -> Iterator[str]:
    """The lines of a frame's texts that have more than blanks."""
    lines = (line for text in frame.texts for line in text.split("\n"))
    return (line.strip(" ") for line in lines if line.strip(" "))


def always_passes(deck: Deck) -> bool:
    """Whether the gate passes every answer that can be composed of a deck's pieces."""
    found = list(fragments(deck))
    return (
        all(idea_fits(deck, idea) for idea in deck.pieces.ideas)
        and _has_paragraphs(deck)
        and not leaks(deck, (*found, *titles(deck)))
        and texts_pass(deck, [fragment.text for fragment in found])
        and not open_ended(deck, found)
    )


def open_ended(deck: Deck, found: Iterable[Fragment]) -> list[Fragment]:
    """The texts that end with no stop, so that something could begin in one and end in the next.

    All of them, if what the gate looks for has stops itself.
    """
    looked_for = "\n".join(_looked_for(deck))
    if any(stop in looked_for for stop in deck.lang.stops):
        return list(found)
    return [fragment for fragment in found if not _closed(fragment.text, deck)]


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


def idea_fits(deck: Deck, idea: Idea) -> bool:
    """Whether there is a frame of the right length for the sentences of every hand."""
    reach, longest = _range(deck, idea)
    least, most = deck.rules.length
    # Each frame fits an interval of lengths; together they must leave no gap.
    lengths = (frame_length(frame, deck.measure) for frame in idea.frames)
    for own in sorted(lengths, reverse=True):
        if least - own <= reach:
            reach = max(reach, most - own + 1)
    return reach > longest


def _range(deck: Deck, idea: Idea) -> tuple[int, int]:
    """The least and greatest length of the sentences of a hand."""
    lengths = []
    for cards in deck.cards_by_category.values():
        found = [
            deck.measure(sentence)
            for card in cards
            for phrase in card.phrases
            for sentence in deck.pieces.phrases[phrase.id][idea.id]
        ]
        lengths.append((min(found), max(found)))
    size = deck.hand_size
    shortest = sum(sorted(low for low, _ in lengths)[:size])
    return shortest, sum(sorted(high for _, high in lengths)[-size:])


def _has_paragraphs(deck: Deck) -> bool:
    fewest, most = deck.rules.paragraphs
    return all(
        fewest <= 1 + sum(text.count("\n") for text in frame.texts) <= most
        for idea in deck.pieces.ideas
        for frame in idea.frames
    )


def _closed(text: str, deck: Deck) -> bool:
    """Whether a text ends with a stop."""
    return text.rstrip(" ").endswith(tuple(deck.lang.stops))


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
