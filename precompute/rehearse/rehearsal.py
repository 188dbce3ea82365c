"""Rehearsing: many plays offline through the server's ladder, without tiers that ask a model."""

from __future__ import annotations

import math
import time
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import orjson
import xxhash

from app.errors import DeckError, IndexUnusableError, PlanError
from app.kinds.cards.composing import SOURCE
from app.kinds.cards.dealing import deal, random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.figures import rehearsal_path
from app.kinds.cards.gate import Gate
from app.kinds.cards.plays import Play, recorded_query
from app.kinds.cards.tiers import CardLadder, build_ladder
from app.kinds.tasks import Task
from app.providers.prices import load_prices
from app.settings import Settings
from app.store.answer import WHOLE_TIERS
from app.store.index import Index
from app.store.key import Query
from app.store.sources import EDITED
from precompute.cook.choose import choose
from precompute.cook.refresh import estimate_all
from precompute.files import write_whole
from precompute.plan.covering import covering
from precompute.rehearse.picture import Curve

RANDOM, STOCKED = "random", "stocked"
# Players in an hour at one kiosk, if each takes a minute.
PLAYERS_AN_HOUR = 60
# The cost of many entries is extrapolated from this number.
_PRICED = 270


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The options: `plays` dealt at random or from stock, or those recorded in the file `deal`.

    `players` is the number in an hour, `next_best` the number of entries to propose.
    """

    plays: int
    deal: str = RANDOM
    seed: int = 0
    players: int = PLAYERS_AN_HOUR
    next_best: int = 1000


@dataclass
class _Tally:
    plays: int = 0
    errors: int = 0
    passed_over: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)
    phrases: int = 0
    cards: int = 0
    poems: set[bytes] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)
    first_repeat: int | None = None
    missed: Counter[Query] = field(default_factory=Counter)


class RehearsalDeck:
    """A deck with its index and ladder. Prices are those of the day `today` (ISO 8601)."""

    def __init__(self, settings: Settings, deck: Deck, today: str) -> None:
        self.settings = settings
        self.deck = deck
        self.today = today
        self.radius = settings.radius
        try:
            self.index: Index | None = Index(settings.store, deck.id)
        except IndexUnusableError:
            self.index = None
        self.ladder: CardLadder = build_ladder(
            deck, settings.tiers, lambda: self.index, settings.radius
        )

    def stocked_hands(self) -> int:
        return self.index.meta().stocked_hands if self.index else 0


def rehearse(
    stage: RehearsalDeck,
    wanted: Rehearsal,
    timer: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Play; returns the report. Raises PlanError if there is nothing to deal."""
    tally = _Tally()
    gate = Gate.of(stage.deck)
    for query in _plays(stage, wanted, tally):
        start = timer()
        answer = stage.ladder.answer(Play(query))
        seconds = timer() - start
        tally.plays += 1
        if answer is None:
            tally.errors += 1
            continue
        tally.tiers[answer.tier] += 1
        tally.times.setdefault(answer.tier, []).append(seconds)
        if answer.tier not in WHOLE_TIERS:
            tally.missed[query] += 1
        _examine(tally, stage.deck, gate, query, answer.tier, orjson.loads(answer.body))
        progress(tally.plays)
    return _result(stage, wanted, tally)


def _plays(stage: RehearsalDeck, wanted: Rehearsal, tally: _Tally) -> Iterator[Query]:
    rng = Random(f"rehearse {wanted.seed}")
    if wanted.deal == RANDOM:
        for _ in range(wanted.plays):
            yield random_play(stage.deck, rng)
    elif wanted.deal == STOCKED:
        yield from _stocked(stage, wanted.plays, rng)
    else:
        yield from _recorded(stage.deck, Path(wanted.deal), tally)


def _stocked(stage: RehearsalDeck, plays: int, rng: Random) -> Iterator[Query]:
    stock = stage.stocked_hands()
    if stage.index is None or not stock:
        raise PlanError(
            f"deck {stage.deck.id!r} has no stocked hand; run: precompute build "
            f"--deck {stage.deck.id} --n 1000"
        )
    for number in range(plays):
        cards = stage.index.stocked(number % stock)
        hand = [stage.deck.card_by_id[card] for card in cards]
        yield stage.deck.query([c.phrases[int(rng.random() * len(c.phrases))] for c in hand])


def _recorded(deck: Deck, path: Path, tally: _Tally) -> Iterator[Query]:
    """The plays in the lines of a ledger, or of the game's log; other lines are counted."""
    try:
        lines = path.read_bytes().removeprefix(BOM_UTF8).splitlines()
    except OSError as error:
        raise PlanError(
            f"--deal {path}: expected random, stocked, or a file of recorded plays "
            f"({error.strerror})"
        ) from None
    for line in lines:
        query = _query_of(deck, line)
        if query:
            yield query
        elif line.strip():
            tally.passed_over += 1


def _query_of(deck: Deck, line: bytes) -> Query | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return recorded_query(deck, value) if isinstance(value, dict) else None


def _examine(
    tally: _Tally, deck: Deck, gate: Gate, query: Query, tier: str, body: Mapping[str, Any]
) -> None:
    response = {"title": body["title"], "poem": body["poem"]}
    quoted = tuple(p.text for p in deck.phrases(query)) if tier == "template" else ()
    refusal = gate.examine(query, response, quoted)
    # A reviewer's text was judged when it was written, and may stand against the gate.
    if refusal and body["source"] != EDITED:
        tally.faults[str(refusal)] += 1
    tally.cards += len(query.picks)
    tally.phrases += body.get("shared", len(query.picks))
    tally.titles.add(body["title"])
    digest = xxhash.xxh3_128_digest(body["poem"].encode())
    if digest in tally.poems and tally.first_repeat is None:
        tally.first_repeat = tally.plays
    tally.poems.add(digest)


def _result(stage: RehearsalDeck, wanted: Rehearsal, tally: _Tally) -> dict[str, Any]:
    answered = max(1, tally.tiers.total())
    whole = sum(tally.tiers[tier] for tier in WHOLE_TIERS)
    return {
        "deck": stage.deck.id,
        "deal": wanted.deal,
        "seed": wanted.seed,
        "plays": tally.plays,
        "passed_over": tally.passed_over,
        "errors": tally.errors,
        "gate_failures": dict(tally.faults),
        "gate_passed_share": (tally.tiers.total() - tally.faults.total()) / answered,
        "tiers": {
            tier: {
                "answers": count,
                "share": count / tally.plays,
                "median_us": round(median(tally.times[tier]) * 1e6, 1),
                "p99_us": round(sorted(tally.times[tier])[count * 99 // 100] * 1e6, 1),
            }
            for tier, count in tally.tiers.most_common()
        },
        "whole_share": whole / max(1, tally.plays),
        "faithful_cards": tally.cards / answered,
        "faithful_phrases": tally.phrases / answered,
        "hand_size": stage.deck.hand_size,
        "distinct_poems": len(tally.poems),
        "distinct_share": len(tally.poems) / answered,
        "distinct_titles": len(tally.titles),
        "titles": len(stage.deck.known_titles),
        "first_repeat_at": tally.first_repeat,
        "players_an_hour": wanted.players,
        "whole_answers_an_hour": round(wanted.players * whole / max(1, tally.plays), 1),
        "next_best": next_best(stage, tally.missed, wanted),
    }


def next_best(
    stage: RehearsalDeck, missed: Counter[Query], wanted: Rehearsal
) -> list[dict[str, Any]]:
    """Proposals for what to cook next: entries, what they add, their cost, and the command."""
    stock = stage.stocked_hands()
    words = len(covering(typical_options(stage.deck), stage.radius))
    more = wanted.next_best // words
    proposals = []
    asked = missed.most_common(wanted.next_best)
    gained = sum(times for _, times in asked)
    repeated = sum(times for _, times in asked if times > 1)
    if repeated:
        proposals.append(
            {
                "what": "the plays that were missed more than once, and then the rest",
                "entries": len(asked),
                "adds": f"{gained} of {missed.total()} misses would be exact",
                "costs_usd": costs(stage, [query for query, _ in asked], len(asked)),
                "command": f"precompute build --deck {stage.deck.id} --strategy misses --n {len(asked)}",
            }
        )
    if more:
        total = wanted.next_best + stock * words
        proposals.append(
            {
                "what": f"{more} more hands to deal from stock",
                "entries": more * words,
                "adds": f"a visitor meets a hand again after {stock + more} deals, not {stock}",
                "costs_usd": costs(stage, _some_of_hands(stage.deck, words), more * words),
                "command": f"precompute build --deck {stage.deck.id} --strategy stock --n {total}",
            }
        )
    return proposals


def _some_of_hands(deck: Deck, words: int) -> list[Query]:
    """Examples of plays as a build of stock asks for them: `words` of each hand."""
    rng = Random(0)
    hands = [deal(deck, rng) for _ in range(math.ceil(_PRICED / words))]
    return [
        deck.query([rng.choice(card.phrases) for card in hand])
        for hand in hands
        for _ in range(words)
    ]


def costs(stage: RehearsalDeck, examples: Sequence[Query], entries: int) -> dict[str, float]:
    """The approximate cost in USD of `entries` like the examples, by composer and by model.

    The model is that of a build; if a build would ask none, Gemini's. It is left out if it has no
    price or the deck has no prompts.
    """
    deck, settings = stage.deck, stage.settings
    found = {SOURCE: 0.0} if deck.composable else {}
    choice = choose(settings, None)
    if choice.local:
        choice = choose(settings, "gemini")
    price = load_prices(settings.prices).price(choice.name, choice.model, stage.today)
    if price:
        tasks = [Task(query) for query in examples[:_PRICED]]
        try:
            usd = estimate_all(settings, deck, choice, tasks).cost(price)
        except DeckError:
            return found
        found[choice.model] = round(usd * entries / len(tasks), 4)
    return found


def keep(store: Path, result: Mapping[str, Any]) -> None:
    """Write the report to the store, for `/stats` to compare with."""
    path = rehearsal_path(store, str(result["deck"]))
    write_whole(path, orjson.dumps(result, option=orjson.OPT_INDENT_2))


def rows(result: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    size = result["hand_size"]
    yield "plays", f"{result['plays']:,} (dealt: {result['deal']})"
    if result["passed_over"]:
        yield "lines passed over", f"{result['passed_over']:,}, not plays of this deck"
    yield "errors", f"{result['errors']} of {result['plays']:,}"
    yield "gate passed", f"{result['gate_passed_share']:.4%}"
    for fault, times in list(result["gate_failures"].items())[:5]:
        yield "gate refused", f"{times} × {fault}"
    for tier, figures in result["tiers"].items():
        times = f"median {figures['median_us']} µs, p99 {figures['p99_us']} µs"
        yield tier, f"{figures['share']:.2%} of plays, {times}"
    yield "cards said", f"{result['faithful_cards']:.3f} of {size}"
    yield "phrases said", f"{result['faithful_phrases']:.3f} of {size}"
    poems = f"{result['distinct_poems']:,} ({result['distinct_share']:.3%} of answers)"
    yield "distinct poems", poems
    at = result["first_repeat_at"]
    yield "first repeat", "none" if at is None else f"at play {at:,}"
    yield "distinct titles", f"{result['distinct_titles']} of {result['titles']}"
    hour = f"{result['whole_answers_an_hour']:g} an hour at {result['players_an_hour']} players"
    yield "whole-poem answers", hour
    for number, proposal in enumerate(result["next_best"], 1):
        bill = ", ".join(f"{usd:.2f} by {name}" for name, usd in proposal["costs_usd"].items())
        text = f"{proposal['what']}: {proposal['adds']} ({proposal['entries']:,} entries"
        text += f"; USD: {bill})" if bill else ")"
        yield f"next best {number}", f"{text}\n  {proposal['command']}"


def typical_options(deck: Deck) -> tuple[int, ...]:
    """The number of phrases of each card of a typical hand: for all the most common number."""
    commonest = Counter(len(card.phrases) for card in deck.cards).most_common(1)[0][0]
    return (commonest,) * deck.hand_size


def coverage_curves(deck: Deck, radius: int, upto: int) -> list[Curve]:
    """The share of all plays that n entries answer: exactly, by stocked hands, by composing."""
    plays = deck.count_plays()
    options = typical_options(deck)
    words = len(covering(options, radius))
    decades = math.log10(max(10 * words, upto) / words)
    steps = sorted({round(words * 10 ** (k / 8)) for k in range(math.ceil(8 * decades) + 1)})
    stocked = [(n, min(1.0, n // words * math.prod(options) / plays)) for n in steps]
    curves = [
        Curve(f"stocked, radius {radius}", "#1f6f4a", stocked),
        Curve("exact", "#2b4c7e", [(n, min(1.0, n / plays)) for n in steps]),
    ]
    if deck.composable:
        curves.append(Curve("composed", "#9a7b1f", [(1.0, 1.0), (float(steps[-1]), 1.0)]))
    return curves
