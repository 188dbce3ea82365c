"""`precompute check`: decks, log and index, each fault named with where it is.

An error makes the exit status 1; a warning is told and served all the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import IndexUnusableError
from app.kinds.cards.deck import Card, Deck, deal_probabilities
from app.kinds.cards.gate import Gate, leak_in
from app.kinds.cards.pieces import PIECES_FILE, own_pieces
from app.kinds.cards.proof import Fragment, form_fits, fragments, leaks, spanned, texts_pass
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
    forms: int
    frames: int
    pieces: int
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
        forms=len(deck.pieces.forms),
        frames=sum(len(form.frames) for form in deck.pieces.forms),
        pieces=sum(1 for _ in own_pieces(deck.pieces)),
        least_dealt=min(dealt.values()) / mean,
        most_dealt=max(dealt.values()) / mean,
    )


def check_deck(deck: Deck) -> Iterator[Finding]:
    """Everything about a deck that loading it did not settle."""
    yield from _check_phrases(deck)
    yield from _check_deal(deck)
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
    """What is lacking or wrong of the pieces that answers are composed of."""
    if not deck.pieces.forms:
        return
    for card in deck.cards:
        yield from _lacking(deck, card)
    seen: dict[str, str] = {}
    for piece in own_pieces(deck.pieces):
        where = f"{deck.id}: {piece.where}"
        if piece.text in seen:
            yield Finding(where, f"the same text as {seen[piece.text]}: {piece.text}")
        seen[piece.text] = piece.where
        least, most = piece.wanted.length
        if not least <= len(piece.text) <= most:
            fault = f"has {len(piece.text)} characters, not {least} to {most}: {piece.text}"
            yield Finding(where, fault, error=False)
    if deck.composable:
        yield from _check_composed(deck)


def _lacking(deck: Deck, card: Card) -> Iterator[Finding]:
    if card.id not in deck.pieces.cards:
        yield Finding(f"{deck.id}: card {card.id}", "has no pieces, so that nothing is composed")
    for phrase in card.phrases:
        for form in deck.pieces.forms:
            if not deck.pieces.phrases.get(phrase.id, {}).get(form.id):
                where = f"{deck.id}: phrase {phrase.id}"
                yield Finding(where, f"has no sentence for form {form.id}")


def _check_composed(deck: Deck) -> Iterator[Finding]:
    """What can go wrong when pieces are put together. The first fault of a kind in a place is told."""
    found = list(fragments(deck))
    told: set[tuple[str, str]] = set()
    for fragment, card in leaks(deck, found):
        if (fragment.where, card.id) not in told:
            told.add((fragment.where, card.id))
            word = leak_in(unicodedata.normalize("NFKC", fragment.text), card)
            fault = f"tells {card.id} ({word}), which may lie beside it: {fragment.text}"
            yield Finding(f"{deck.id}: {fragment.where}", fault)
    if not texts_pass(deck, [fragment.text for fragment in found]):
        yield from _refused(deck, found)
    for word in sorted(spanned(deck)):
        fault = f"{word!r} could begin in one piece and end in the next: each answer is judged"
        yield Finding(f"{deck.id}: {PIECES_FILE}", fault, error=False)
    for form in deck.pieces.forms:
        if not form_fits(deck, form):
            fault = "some answers find no frame with which they are neither too short nor too long"
            yield Finding(f"{deck.id}: form {form.id}", fault)


def _refused(deck: Deck, found: list[Fragment]) -> Iterator[Finding]:
    gate = Gate.of(deck)
    phrases = [phrase.text for card in deck.cards for phrase in card.phrases]
    told: set[str] = set()
    for fragment in found:
        # A title of a chapter may have no kana, an answer must: it is lent one here.
        refusal = next(iter(gate.examine_text(f"{fragment.text}\nの", (), phrases)), None)
        if refusal and fragment.where not in told:
            told.add(fragment.where)
            yield Finding(f"{deck.id}: {fragment.where}", f"{refusal}: {fragment.text}")


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
