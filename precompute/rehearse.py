"""Rehearsing: the event played offline, through the ladder that the server will use.

The ladder is `app.tiers`', not one like it: a rehearsal on another stage would prove nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import orjson
import xxhash

from app.core.deal import random_play
from app.core.deck import Deck
from app.core.gate import Gate
from app.core.index import Index
from app.core.key import Query
from app.errors import IndexUnusableError, PlanError
from app.settings import Settings
from app.tiers import build_ladder

WHOLE = ("exact", "same_hand")


@dataclass
class _Tally:
    plays: int = 0
    errors: int = 0
    gate_failures: Counter[str] = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=dict)
    shared: int = 0
    poems: set[bytes] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)
    first_repeat: int | None = None


def rehearse(
    settings: Settings,
    deck: Deck,
    plays: int,
    dealt: str,
    seed: int,
    timer: Callable[[], float] = time.perf_counter,
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Play, and report. Raises PlanError where there is nothing to deal from."""
    try:
        index: Index | None = Index(settings.store, deck.id)
    except IndexUnusableError:
        index = None
    ladder = build_ladder(deck, settings.tiers, lambda: index, settings.radius)
    gate = Gate.of(deck)
    tally = _Tally()
    for query in _plays(deck, index, plays, dealt, Random(f"rehearse {seed}")):
        start = timer()
        answer = ladder.answer(query)
        seconds = timer() - start
        tally.plays += 1
        if answer is None:
            tally.errors += 1
            continue
        tally.tiers[answer.tier] += 1
        tally.times.setdefault(answer.tier, []).append(seconds)
        _examine(tally, deck, gate, query, answer.tier, orjson.loads(answer.body))
        progress(tally.plays)
    return _result(tally, deck, dealt, seed)


def _plays(deck: Deck, index: Index | None, plays: int, dealt: str, rng: Random) -> Iterator[Query]:
    if dealt == "random":
        for _ in range(plays):
            yield random_play(deck, rng)
    elif dealt == "stocked":
        yield from _stocked(deck, index, plays, rng)
    else:
        yield from _recorded(deck, Path(dealt), plays)


def _stocked(deck: Deck, index: Index | None, plays: int, rng: Random) -> Iterator[Query]:
    stock = index.meta().stocked_hands if index else 0
    if index is None or not stock:
        raise PlanError(f"deck {deck.id!r} has no stocked hand; run: precompute build --n 1000")
    hands = [[deck.card_by_id[card] for card in index.stocked(i)] for i in range(stock)]
    for number in range(plays):
        hand = hands[number % stock]
        yield deck.query([card.phrases[int(rng.random() * len(card.phrases))] for card in hand])


def _recorded(deck: Deck, path: Path, plays: int) -> Iterator[Query]:
    raise PlanError(f"--deal {path}: expected random or stocked")
    yield random_play(deck, Random(0))


def _examine(
    tally: _Tally, deck: Deck, gate: Gate, query: Query, tier: str, body: dict[str, Any]
) -> None:
    response = {"title": body["title"], "poem": body["poem"]}
    quoted = tuple(p.text for p in deck.phrases(query)) if tier == "template" else ()
    refusal = gate.examine(query, response, quoted)
    if refusal:
        tally.gate_failures[str(refusal)] += 1
    tally.shared += body.get("shared", len(query.picks))
    tally.titles.add(body["title"])
    digest = xxhash.xxh3_128_digest(body["poem"].encode())
    if digest in tally.poems and tally.first_repeat is None:
        tally.first_repeat = tally.plays
    tally.poems.add(digest)


def _result(tally: _Tally, deck: Deck, dealt: str, seed: int) -> dict[str, Any]:
    answered = tally.tiers.total()
    return {
        "deck": deck.id,
        "deal": dealt,
        "seed": seed,
        "plays": tally.plays,
        "errors": tally.errors,
        "gate_failures": dict(tally.gate_failures),
        "gate_passed_share": (answered - tally.gate_failures.total()) / max(1, answered),
        "tiers": {
            tier: {
                "answers": count,
                "share": count / tally.plays,
                "median_us": round(median(tally.times[tier]) * 1e6, 1),
                "p99_us": round(_p99(tally.times[tier]) * 1e6, 1),
            }
            for tier, count in tally.tiers.most_common()
        },
        "faithful_phrases": tally.shared / max(1, answered),
        "distinct_poems": len(tally.poems),
        "distinct_share": len(tally.poems) / max(1, answered),
        "distinct_titles": len(tally.titles),
        "titles": len(deck.titles),
        "first_repeat_at": tally.first_repeat,
    }


def _p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


def rows(result: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """The report as a table."""
    yield "plays", f"{result['plays']:,} ({result['deal']})"
    yield "errors", result["errors"]
    yield "gate passed", f"{result['gate_passed_share']:.4%}"
    for fault, times in list(result["gate_failures"].items())[:5]:
        yield "gate refused", f"{times} × {fault}"
    for tier, figures in result["tiers"].items():
        told = (
            f"{figures['share']:.2%}, median {figures['median_us']} µs, p99 {figures['p99_us']} µs"
        )
        yield tier, told
    yield "phrases said, of the hand's", f"{result['faithful_phrases']:.3f}"
    yield "distinct poems", f"{result['distinct_poems']:,} ({result['distinct_share']:.3%})"
    yield "distinct titles", f"{result['distinct_titles']} of {result['titles']}"
    yield "first repeat after", result["first_repeat_at"] or "none"
