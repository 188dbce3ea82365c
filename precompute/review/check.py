"""`precompute check`: decks, log and index, each fault named with where it is.

An error makes the exit status 1; a warning is told and served all the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import IndexUnusableError
from app.kinds.cards.composing import ending_class
from app.kinds.cards.deck import Card, Deck, deal_probabilities
from app.kinds.cards.gate import Gate, leak_in
from app.kinds.cards.written import WRITTEN_FILE, written_answers
from app.kinds.chat.deck import PatternDeck
from app.kinds.chat.gate import ChatGate
from app.kinds.decks import AnyDeck
from app.store.index import Index, log_digest
from app.store.log import Damage, Record, damaged_lines, log_path, read_log

# Damaged lines that are named one by one.
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `check` has to say."""

    where: str
    what: str
    error: bool = True

    def __str__(self) -> str:
        return f"{'error' if self.error else 'warning'}: {self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts that a deck's check proves."""

    cards: int
    categories: int
    phrases: int
    titles: int
    sentences: int
    themes: int
    frames: int
    least_dealt: float
    most_dealt: float


def summarise(deck: Deck) -> Summary:
    """Counts, and how unevenly cards are dealt, as multiples of the mean."""
    dealt = deal_probabilities(deck)
    mean = sum(dealt.values()) / len(dealt)
    return Summary(
        cards=len(deck.cards),
        categories=len(deck.cards_by_category),
        phrases=sum(len(card.phrases) for card in deck.cards),
        titles=len(deck.titles),
        sentences=sum(map(len, deck.sentences.values())),
        themes=len(deck.themes),
        frames=sum(len(t.openings) + len(t.closings) for t in deck.themes),
        least_dealt=min(dealt.values()) / mean,
        most_dealt=max(dealt.values()) / mean,
    )


def check_deck(deck: Deck) -> Iterator[Finding]:
    """Everything about a deck that loading it did not settle."""
    yield from _check_phrases(deck)
    yield from _check_deal(deck)
    if deck.sentences or deck.themes:
        yield from _check_pieces(deck)
    yield from _check_written(deck)


def _check_written(deck: Deck) -> Iterator[Finding]:
    """A written answer that the gate refuses would never be served."""
    gate = Gate.of(deck)
    for query, response in written_answers(deck).items():
        for refusal in gate.refusals(query, response):
            where = f"{deck.id}: {WRITTEN_FILE}: {response['title']} {query.key}"
            yield Finding(where, str(refusal))


def _check_phrases(deck: Deck) -> Iterator[Finding]:
    """A phrase is the player's: one that breaks a rule is told, and served all the same."""
    seen: dict[str, str] = {}
    gate = Gate.of(deck)
    for card in deck.cards:
        for phrase in card.phrases:
            where = f"{deck.id}: phrase {phrase.id}"
            if phrase.text in seen:
                yield Finding(where, f"the same text as {seen[phrase.text]}", error=False)
            seen[phrase.text] = phrase.id
            for refusal in gate.examine_text(phrase.text, (card,)):
                yield Finding(where, f"{refusal}: {phrase.text}", error=False)


def _check_deal(deck: Deck) -> Iterator[Finding]:
    summary = summarise(deck)
    for figure in (summary.least_dealt, summary.most_dealt):
        if not 0.25 <= figure <= 4:
            fault = f"some cards are dealt {figure:.2f} times as often as the mean"
            yield Finding(f"{deck.id}: {deck.folder}", fault, error=False)


def _check_pieces(deck: Deck) -> Iterator[Finding]:
    gate = Gate.of(deck)
    seen: dict[str, str] = {}
    for piece in _pieces(deck):
        place = f"{deck.id}: {piece.where}"
        if piece.text in seen:
            yield Finding(place, f"the same text as {seen[piece.text]}: {piece.text}")
        seen[piece.text] = piece.where
        for refusal in gate.examine_text(piece.text, piece.cards, piece.phrases):
            yield Finding(place, f"{refusal}: {piece.text}")
    for card in deck.cards:
        for p in card.phrases:
            yield from _check_sentences(deck, card, p.id)


def _check_sentences(deck: Deck, card: Card, phrase: str) -> Iterator[Finding]:
    sentences = deck.sentences.get(phrase, ())
    where = f"{deck.id}: phrase {phrase}"
    if len(sentences) < 2:
        yield Finding(where, f"has {len(sentences)} sentences, two are needed to compose well")
    elif len({ending_class(s.text) for s in sentences}) < 2:
        yield Finding(where, "all its sentences end alike", error=False)
    told = [_told_by(deck, card, sentence.text) for sentence in sentences]
    if told and all(told):
        fault = (
            f"each sentence tells another card ({', '.join(told)}): not composed beside them all"
        )
        yield Finding(where, fault)


def _told_by(deck: Deck, card: Card, text: str) -> str:
    """A card that a text tells and that may lie in a hand with this card, or an empty text."""
    plain = unicodedata.normalize("NFKC", text)
    others = (other for other in deck.cards if other.category != card.category)
    return next((other.id for other in others if leak_in(plain, other)), "")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece with where it stands, the card that it must hide and the phrase it must not quote."""

    where: str
    text: str
    cards: tuple[Card, ...] = ()
    phrases: tuple[str, ...] = ()


def _pieces(deck: Deck) -> Iterator[_Piece]:
    for card in deck.cards:
        for phrase in card.phrases:
            for number, sentence in enumerate(deck.sentences.get(phrase.id, ()), 1):
                where = f"sentence {number} of {phrase.id}"
                yield _Piece(where, sentence.text, (card,), (phrase.text,))
    for theme in deck.themes:
        kinds = {
            "opening": theme.openings,
            "closing": theme.closings,
            "turn": (*theme.threshold_turns, *theme.turns),
        }
        for kind, texts in kinds.items():
            for number, text in enumerate(texts, 1):
                yield _Piece(f"{kind} {number} of {theme.id}", text)


def check_store(store: Path, deck: AnyDeck) -> Iterator[Finding]:
    """The log line by line, then whether the index agrees with it."""
    path = log_path(store, deck.id)
    if not path.exists():
        return
    damaged = [why for _, why in damaged_lines(path)]
    for why in damaged[:MOST_LINES]:
        yield Finding(why, "run: precompute check --repair, then build to cook its answer again")
    if len(damaged) > MOST_LINES:
        yield Finding(str(path), f"{len(damaged):,} lines are damaged in all")
    keys: set[tuple[str, int]] = set()
    for item in read_log(path):
        if isinstance(item, Record):
            keys.add((item.entry.key, item.entry.variant))
        elif item.torn:
            yield Finding(str(path), f"{item.reason}: set aside by the next build", error=False)
    yield from _check_index(store, deck, path, keys)


def _check_index(
    store: Path, deck: AnyDeck, path: Path, keys: set[tuple[str, int]]
) -> Iterator[Finding]:
    try:
        index = Index(store, deck.id)
    except IndexUnusableError as error:
        yield Finding(str(path), f"{error}")
        return
    meta = index.meta()
    if meta.log != log_digest(path, meta.offset).hexdigest():
        fault = "serves a log that has changed since; run: precompute check --repair"
        yield Finding(str(index.path), fault)
    if meta.offset < path.stat().st_size:
        fault = f"is {path.stat().st_size - meta.offset} bytes behind the log"
        yield Finding(str(index.path), f"{fault}; run: precompute check --repair")
    found = set(index.keys())
    for key, _ in sorted(found - keys)[:5]:
        yield Finding(str(index.path), f"has an answer for {key}, the log has none")
    missing = keys - found
    if missing and meta.offset >= path.stat().st_size:
        yield Finding(str(index.path), f"lacks {len(missing)} entries of the log")
    index.close()


def check_entries(store: Path, deck: AnyDeck) -> Iterator[Finding]:
    """Entries that the deck of today would not let pass, or that no longer can be asked for."""
    gate = ChatGate(deck) if isinstance(deck, PatternDeck) else Gate.of(deck)
    for item in read_log(log_path(store, deck.id)):
        if isinstance(item, Damage):
            continue
        entry = item.entry
        try:
            refusal = gate.examine(entry.query, entry.response)
        except KeyError:
            yield Finding(
                entry.key, "stale: the deck no longer has one of its phrases", error=False
            )
            continue
        if refusal:
            yield Finding(entry.key, f"stale: {refusal}", error=False)
