"""Checks of decks of cards, and their figures as in `/stats`, over all runs of the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from app.kinds.cards.deck import Deck, deal_probabilities
from app.kinds.cards.figures import (
    coverage,
    miss_summary,
    missed_plays,
    money,
    read_rehearsal,
    space,
)
from app.kinds.cards.gate import FIELDS, Gate, leak_in
from app.kinds.cards.pieces import own_pieces
from app.kinds.cards.proof import (
    Fragment,
    fragments,
    idea_fits,
    leaks,
    open_ended,
    texts_pass,
    titles,
)
from app.kinds.cards.written import WRITTEN_FILE, numbered_answers
from app.kinds.figures import store
from app.ledger.counters import answer_summary, kept_sums, tier_figures
from app.ledger.frequencies import Frequencies
from app.ledger.journal import JournalCounts
from app.ledger.votes import VoteCounts
from app.settings import Settings
from app.store.entry import Entry
from precompute.cook.refresh import age_summary
from precompute.cook.report import counts, one_in
from precompute.review.agreement import check_agreement, check_prompts
from precompute.review.check import Finding, stored
from precompute.review.kinds import Shown, reviewed_rows, with_texts
from precompute.review.sizes import cost_of_one, entries_within, size_lines
from precompute.review.tiers import check_tiers


def _dealt(deck: Deck) -> tuple[float, float]:
    """How seldom and how often a card is dealt at the most, as multiples of the mean."""
    dealt = deal_probabilities(deck)
    mean = sum(dealt.values()) / len(dealt)
    return min(dealt.values()) / mean, max(dealt.values()) / mean


def check(deck: Deck) -> Iterator[Finding]:
    """Everything that loading a deck does not check."""
    yield from _check_phrases(deck)
    yield from _check_deal(deck)
    yield from _check_pieces(deck)
    yield from _check_written(deck)
    yield from check_prompts(deck)
    yield from check_agreement(deck)
    yield from check_tiers(deck)


def _check_written(deck: Deck) -> Iterator[Finding]:
    """A written answer that the gate refuses would never be served."""
    gate = Gate.of(deck)
    for query, (line, response) in numbered_answers(deck).items():
        for refusal in gate.refusals(query, response):
            fault = f"{refusal} (title: {response['title']})"
            yield Finding(f"{deck.id}: {WRITTEN_FILE}: line {line}", fault)


def _check_phrases(deck: Deck) -> Iterator[Finding]:
    """Phrases that break a rule, which are warnings: they are served all the same."""
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
    for figure in _dealt(deck):
        if not 0.25 <= figure <= 4:
            fault = f"some cards are dealt {figure:.2f} times as often as the mean"
            yield Finding(f"{deck.id}: {deck.folder}", fault, error=False)


def _check_pieces(deck: Deck) -> Iterator[Finding]:
    """Missing and wrong pieces."""
    if not deck.pieces.ideas:
        return
    for card in deck.cards:
        for phrase in card.phrases:
            yield from _lacking(deck, phrase.id)
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


def _lacking(deck: Deck, phrase: str) -> Iterator[Finding]:
    for idea in deck.pieces.ideas:
        if not deck.pieces.phrases.get(phrase, {}).get(idea.id):
            yield Finding(f"{deck.id}: phrase {phrase}", f"has no sentence for the idea {idea.id}")


def _check_composed(deck: Deck) -> Iterator[Finding]:
    """What can be wrong with composed answers; the first fault of each kind in a place."""
    found = list(fragments(deck))
    seen: set[tuple[str, str]] = set()
    for fragment, card in leaks(deck, (*found, *titles(deck))):
        if (fragment.where, card.id) not in seen:
            seen.add((fragment.where, card.id))
            word = leak_in(deck.lang.plain(fragment.text), card, deck.lang)
            fault = f"tells {card.id} ({word}), which may lie beside it: {fragment.text}"
            yield Finding(f"{deck.id}: {fragment.where}", fault)
    if not texts_pass(deck, [fragment.text for fragment in found]):
        yield from _refused(deck, found)
    for fragment in open_ended(deck, found)[:1]:
        fault = f"ends with no stop, so that each composed answer is judged: {fragment.text}"
        yield Finding(f"{deck.id}: {fragment.where}", fault, error=False)
    for idea in deck.pieces.ideas:
        if not idea_fits(deck, idea):
            fault = "some answers find no frame with which they are neither too short nor too long"
            yield Finding(f"{deck.id}: idea {idea.id}", fault)


def _refused(deck: Deck, found: list[Fragment]) -> Iterator[Finding]:
    gate = Gate.of(deck)
    phrases = [phrase.text for card in deck.cards for phrase in card.phrases]
    seen: set[str] = set()
    for fragment in found:
        # A letter is added, because an answer must have one but a single text need not.
        text = f"{fragment.text}\n{deck.lang.letters[0]}"
        refusal = next(iter(gate.examine_text(text, (), phrases)), None)
        if refusal and fragment.where not in seen:
            seen.add(fragment.where)
            yield Finding(f"{deck.id}: {fragment.where}", f"{refusal}: {fragment.text}")


def summary(settings: Settings, deck: Deck, today: str) -> Iterator[str]:
    """A line with the sizes of a deck, and one about stale entries if there are any entries."""
    phrases = sum(len(card.phrases) for card in deck.cards)
    pieces, ideas = sum(1 for _ in own_pieces(deck.pieces)), deck.pieces.ideas
    least, most = _dealt(deck)
    yield (
        f"deck {deck.id}: {len(deck.cards)} cards in {len(deck.cards_by_category)} categories, "
        f"{phrases} phrases, {len(deck.titles)} titles, {pieces} sentences for {len(ideas)} ideas with "
        f"{sum(len(idea.frames) for idea in ideas)} frames; a card is dealt {least:.2f} to "
        f"{most:.2f} times as often as the mean"
    )
    yield from size_lines(settings, deck, today)
    if ages := age_summary(settings, deck, today):
        yield ages


def stats(
    settings: Settings, deck: Deck, today: str, most: int, note: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of a deck, with the `most` frequent misses; `note` gets why there is no index."""
    meta = stored(settings, deck, note, needed=True)
    answers = answer_summary(tier_figures(kept_sums(settings.ledger, time.time), deck.id))
    # Not `read_ledger`: figures are shown also where the ledger cannot be read.
    missed = JournalCounts(settings.ledger, deck.id, missed_plays, lambda: Frequencies(most))
    return {
        "deck": deck.id,
        "space": space(deck),
        "whole": _whole(settings, deck, today),
        "store": store(meta),
        "coverage": coverage(deck, meta),
        "answers": answers,
        "expected": read_rehearsal(settings.store, deck.id),
        "misses": missed.read(miss_summary),
        "feedback": VoteCounts(settings.ledger, deck.id).totals(),
        "money": money(meta, answers["whole"]),
    }


def _whole(settings: Settings, deck: Deck, today: str) -> dict[str, Any]:
    """The entries that answer every play, within the radius and exactly, and the price of one."""
    each = cost_of_one(settings, deck, today)
    return {
        "radius": settings.radius,
        "entries_within": entries_within(deck, min(settings.radius, deck.hand_size)),
        "entries_exact": deck.count_plays(),
        "usd_each": round(each[1], 8) if each else None,
        "model": each[0].model if each else None,
    }


def stats_rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    sizes, stored, covers = figures["space"], figures["store"], figures["coverage"]
    misses, votes = figures["misses"], figures["feedback"]
    yield "cards, phrases, titles", f"{sizes['cards']}, {sizes['phrases']}, {sizes['titles']}"
    yield "hands, plays", f"{sizes['hands']:,}, {sizes['plays']:,}"
    yield "entries", f"{stored['entries']:,}"
    yield from _needed(figures["whole"])
    yield "by source", counts(stored["by_source"])
    yield from reviewed_rows(stored)
    yield "by model", counts(stored["by_model"])
    yield "exact plays", one_in(covers["exact"])
    yield "stocked hands", one_in(covers["stocked_hands"])
    yield "plays of stocked hands", one_in(covers["stocked_plays"])
    yield "plays that composing covers", one_in(covers["composed"])
    yield from _answered(figures["answers"], figures["expected"])
    yield "misses, distinct", f"{misses['total']:,}, {misses['distinct']:,}"
    yield "votes up", f"{votes['up']:,} of {votes['of']:,}"
    yield from _spent(figures["money"])


def _needed(whole: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name, count in (
        (f"entries for all within {whole['radius']}", whole["entries_within"]),
        ("entries for all exactly", whole["entries_exact"]),
    ):
        if count is not None:
            each = whole["usd_each"]
            price = f", about {count * each:,.2f} USD with {whole['model']}" if each else ""
            yield name, f"{count:,}{price}"


def _answered(
    answers: Mapping[str, Any], expected: Mapping[str, Any] | None
) -> Iterator[tuple[str, object]]:
    rehearsed = expected["tiers"] if expected else {}
    yield "answers at events", f"{answers['total']:,}"
    if expected:
        yield "answers rehearsed", f"{expected['plays']:,}, dealt {expected['deal']}"
    for tier in dict.fromkeys((*rehearsed, *answers["by_tier"])):
        shares = [
            f"{words} {row['share']:.1%} ({row['answers']:,})"
            for words, row in (
                ("expected", rehearsed.get(tier)),
                ("seen", answers["by_tier"].get(tier)),
            )
            if row
        ]
        yield f"  {tier}", ", ".join(shares)


def _spent(money: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield "spent", f"{money['spent_usd']:.4f} USD for {money['paid_entries']:,} paid entries"
    if money["saved_usd"] is not None:
        yield "saved by hits", f"{money['saved_usd']:.4f} USD, {money['answers']:,} whole answers"


def shown(deck: Deck, entry: Entry) -> Shown:
    """The cards of a play with their phrases, and title and poem."""
    asked = tuple(
        (deck.card_by_id[phrase.card].text, phrase.text) for phrase in deck.phrases(entry.query)
    )
    texts = {name: entry.response[name] for name in FIELDS if name in entry.response}
    poem = texts.get("poem", "")
    # As the gate counts it: characters without line breaks.
    return Shown(asked, texts, deck.measure(poem if deck.rules.words else poem.replace("\n", "")))


def choices(deck: Deck) -> Mapping[str, Sequence[str]]:
    """The deck's titles."""
    return {"title": deck.titles}


edited = with_texts
