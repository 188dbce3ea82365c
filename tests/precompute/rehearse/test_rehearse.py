"""Rehearsals: they foretell what the server does, from random, stocked and recorded plays."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from tests.conftest import Serve
from tests.making import Precompute, game_body


def rehearsed(precompute: Precompute, *arguments: object) -> dict[str, Any]:
    """The result of a rehearsal as JSON."""
    told: dict[str, Any] = orjson.loads(precompute("rehearse", "--json", *arguments).stdout)
    return told


def test_stocked_hands_are_answered_whole(precompute: Precompute) -> None:
    """Every play dealt from stock is answered by a whole entry with at least 4 of 5 phrases."""
    precompute("build", "--n", 270)
    told = rehearsed(precompute, "--plays", 2000, "--deal", "stocked")
    assert set(told["tiers"]) <= {"exact", "same_hand"}
    assert told["whole_share"] == 1.0
    assert 4 <= told["faithful_phrases"] <= 5
    assert told["faithful_cards"] == 5
    assert told["errors"] == 0
    assert told["gate_failures"] == {}
    assert told["whole_answers_an_hour"] == told["players_an_hour"]


def test_random_plays_are_composed(precompute: Precompute) -> None:
    """A deal at random finds nothing stored and everything composed, with all five phrases."""
    precompute("build", "--n", 27)
    told = rehearsed(precompute, "--plays", 1000)
    assert told["tiers"]["composed"]["share"] > 0.99
    assert told["faithful_phrases"] > 4.99
    assert told["gate_passed_share"] == 1.0


def test_same_seed_same_rehearsal(precompute: Precompute) -> None:
    """A seed says what is played; another seed, other plays."""
    timed = ("median_us", "p99_us")

    def figures(seed: int) -> dict[str, Any]:
        told = rehearsed(precompute, "--plays", 300, "--seed", seed)
        for tier in told["tiers"].values():
            for name in timed:
                tier.pop(name)
        return told

    assert figures(1) == figures(1)
    assert figures(1)["distinct_titles"] != 0


def test_recorded_plays(precompute: Precompute, poem: Deck, tmp_path: Path) -> None:
    """The ledger's lines and the game's own log are replayed; what is neither is counted."""
    rng = Random(1)
    plays = [random_play(poem, rng) for _ in range(6)]
    lines = [orjson.dumps({**query.to_json(), "tier": "composed"}) for query in plays[:3]]
    lines += [orjson.dumps(game_body(poem, query)) for query in plays[3:]]
    lines += [b"not json", b'{"hand":[{"card":"gone","phrase":"gone"}]}', b"[]", b""]
    recorded = tmp_path / "recorded.jsonl"
    recorded.write_bytes(b"\n".join(lines))
    told = rehearsed(precompute, "--deal", recorded)
    assert (told["plays"], told["passed_over"]) == (6, 3)


def test_wrong_deals(precompute: Precompute) -> None:
    """No stock to deal from and no such file are told in one line."""
    done = precompute("rehearse", "--deal", "stocked", status=2)
    assert "precompute build" in done.stderr
    done = precompute("rehearse", "--deal", "no-such-file", status=2)
    assert "no-such-file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_expected_beside_seen(precompute: Precompute, serve: Serve) -> None:
    """The last rehearsal is what `/stats` shows as expected."""
    precompute("build", "--n", 27)
    told = rehearsed(precompute, "--plays", 200, "--deal", "stocked")
    with serve().client() as client:
        assert client.get("/stats").json()["decks"]["poem"]["expected"] == told


def test_picture(precompute: Precompute, tmp_path: Path) -> None:
    """Coverage is drawn as a well-formed SVG with a curve for each way of answering."""
    precompute("build", "--n", 54)
    precompute("rehearse", "--plays", 10, "--svg", tmp_path / "coverage.svg")
    root = ET.parse(tmp_path / "coverage.svg").getroot()
    assert len(root.findall("{*}polyline")) == 3
    told = " ".join(text.text or "" for text in root.findall("{*}text"))
    assert "54 entries today" in told


def test_next_best_costs_what_a_dry_run_says(precompute: Precompute) -> None:
    """What a proposal would cost is what a build of it foretells, within a fiftieth."""
    precompute("build", "--n", 27)
    told = rehearsed(precompute, "--plays", 10, "--deal", "stocked", "--next", 1000)
    proposal = told["next_best"][0]
    assert proposal["costs_usd"]["composer"] == 0
    said = precompute(*proposal["command"].split()[1:], "--provider", "gemini", "--dry-run").stdout
    # The 27 that are the composer's would be cooked by Gemini, too.
    usd = float(said.split("price, about")[1].split()[0]) * proposal["entries"] / (27 + 999)
    assert proposal["costs_usd"]["gemini-3.5-flash-lite"] == pytest.approx(usd, rel=0.02)


def test_next_best_can_be_run(precompute: Precompute) -> None:
    """What a rehearsal proposes to cook next does what it says when it is run."""
    precompute("build", "--n", 27)
    told = rehearsed(precompute, "--plays", 10, "--deal", "stocked", "--next", 54)
    proposal = told["next_best"][0]
    words = proposal["command"].split()
    assert words.pop(0) == "precompute"
    precompute(*words)
    stats = orjson.loads(precompute("stats", "--json").stdout)
    assert stats["coverage"]["stocked_hands"]["count"] == 3
    assert stats["store"]["entries"] == 27 + proposal["entries"]
