"""Pieces: a new deck becomes composable in a few requests, gated, with provenance."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from app.errors import OperatorError
from app.kinds.cards.composing import Composer
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.loading import load_deck
from app.store.entry import unseal
from app.store.index import Index
from precompute.cli import main
from precompute.cook.cards import BUILDS
from precompute.cook.options import BuildContext, BuildOptions
from precompute.pieces.store import pieces_path
from precompute.plan.strategies import plan_sampled
from tests.cook import Answer
from tests.kit import POEM, Booth, FakeClock
from tests.making import row
from tests.standin import PER_DAY, StandIn, quota_error


@pytest.fixture
def bare(tmp_path: Path) -> Deck:
    """The cards of the deck in the box, with none of its pieces."""
    folder = tmp_path / "decks" / "poem"
    shutil.copytree(POEM, folder)
    (folder / "pieces.json").unlink()
    return load_deck(folder)


def cook(booth: Booth, deck: Deck, **asked: Any) -> tuple[int, str, str]:
    out, err = (Console(file=io.StringIO(), width=200) for _ in range(2))
    context = BuildContext(booth.settings(), deck, out, err, FakeClock(), Random(0))
    try:
        status = BUILDS["stock"].run(BuildOptions(pieces=True, provider="gemini", **asked), context)
    except OperatorError as error:
        return 2, out.file.getvalue(), str(error)  # type: ignore[attr-defined]
    return status, out.file.getvalue(), err.file.getvalue()  # type: ignore[attr-defined]


def test_a_deck_of_89_cards_becomes_composable_in_10_to_20_requests(
    booth: Booth, stand_in: StandIn, bare: Deck
) -> None:
    """Cooked, put in place on request, loaded: and every play can be composed."""
    assert not bare.composable
    status, out, _ = cook(booth, bare, take=True)
    assert status == 0, out
    assert 10 <= stand_in.tally.calls <= 20
    # What pieces cost is part of what the deck has cost.
    spent = Index(booth.settings().store, "poem").meta().cost_usd
    assert row(out, "spent") == f"{spent:.4f} USD"
    assert spent
    assert bare.folder
    deck = load_deck(bare.folder)
    assert deck.composable
    composer, gate = Composer(deck), Gate.of(deck)
    for job, _ in zip(plan_sampled(deck, 1), range(50), strict=False):
        made = composer.compose(job.query)
        assert made
        assert gate.examine(job.query, made.response) is None


def test_every_piece_says_where_it_comes_from(booth: Booth, stand_in: StandIn, bare: Deck) -> None:
    """Source, model, prompt, time and its share of the bill, under a checksum."""
    cook(booth, bare)
    raw = pieces_path(booth.settings().store, "poem").read_bytes()
    records = [unseal(line) for line in raw.splitlines()]
    assert all(r["source"] == "gemini" and r["fingerprint"].startswith("pieces:") for r in records)
    assert sum(r["usage"]["prompt"] for r in records) == pytest.approx(stand_in.tally.prompt_tokens)
    assert bare.folder
    assert not load_deck(bare.folder).composable


@pytest.mark.parametrize(
    "words",
    [
        ("--n", 5), ("--strategy", "sampled"), ("--refresh", "stale"), ("--per-request", 3),
        ("--seed", 3), ("--prompt", "small"), ("--batch",), ("--radius", 1), ("--give-up-hours", 2),
    ],
)  # fmt: skip
def test_an_option_that_says_nothing_of_pieces_is_refused(
    words: tuple[object, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named in one sentence, and nothing is cooked without it."""
    asked = ["build", "--deck", "poem", "--pieces", "--provider", "gemini", *map(str, words)]
    assert main(asked) == 2
    assert f"{words[0]} means nothing for pieces; leave it out" in capsys.readouterr().err


def test_what_is_shipped_is_kept_beside_what_replaces_it(booth: Booth, bare: Deck) -> None:
    """Taking pieces never destroys the old ones."""
    assert bare.folder
    old = '{"phrases": {} }'
    (bare.folder / "pieces.json").write_text(old)
    cook(booth, load_deck(bare.folder), take=True)
    assert (bare.folder / "pieces.json.before-1").read_text() == old
    (bare.folder / "pieces.json").write_text(mine := old.replace(" ", ""))
    cook(booth, load_deck(bare.folder), take=True)
    assert (bare.folder / "pieces.json.before-1").read_text() == old
    assert (bare.folder / "pieces.json.before-2").read_text() == mine


def test_a_piece_that_the_gate_refuses_is_asked_for_again(
    booth: Booth, stand_in: StandIn, bare: Deck
) -> None:
    """With the reason; nothing that fails is kept."""

    def polite(number: int, answers: list[Answer]) -> list[Answer]:
        if number == 5:
            for sentence in answers[0]["sentences"][:3]:
                sentence["text"] = sentence["text"][:22].replace("。", "、") + "のそばにいます。"
        return answers

    stand_in.cook.spoil = polite
    status, out, _ = cook(booth, bare, concurrency=1)
    assert status == 0
    assert "polite 3" in out
    assert any("丁寧な結び「ます」があった" in prompt for prompt in stand_in.cook.prompts)
    assert "います。".encode() not in pieces_path(booth.settings().store, "poem").read_bytes()


def test_a_build_of_pieces_goes_on_where_it_stopped(
    booth: Booth, stand_in: StandIn, bare: Deck
) -> None:
    """What is there is not asked for again; a torn line is."""
    stand_in.fault = lambda number: quota_error(PER_DAY) if number > 9 else None
    status, _, told = cook(booth, bare, concurrency=1)
    assert status == 2
    assert "midnight" in told
    path = pieces_path(booth.settings().store, "poem")
    path.write_bytes(path.read_bytes()[:-10])
    stand_in.fault = lambda number: None
    status, out, _ = cook(booth, bare, take=True)
    assert status == 0, out
    assert stand_in.tally.answered <= 18
    assert bare.folder
    assert load_deck(bare.folder).composable


def test_pieces_that_are_not_all_there_are_not_taken(
    booth: Booth, stand_in: StandIn, bare: Deck
) -> None:
    """The sentence names one that is lacking, and the deck is left as it was."""
    stand_in.cook.spoil = lambda number, answers: answers[1:] if number > 4 else answers
    status, _, told = cook(booth, bare, take=True, concurrency=1)
    assert status == 2
    assert "lack pieces" in told or "not done" in told
    assert bare.folder
    assert not (bare.folder / "pieces.json").exists()


def test_the_price_is_told_before(booth: Booth, stand_in: StandIn, bare: Deck) -> None:
    """A dry run tells requests and price, and asks nobody."""
    status, out, _ = cook(booth, bare, dry_run=True)
    assert status == 0
    assert "requests" in out
    assert "USD by the prices of" in out
    assert stand_in.tally.paths == []


def test_pieces_need_ideas(booth: Booth, stand_in: StandIn, bare: Deck) -> None:
    """Without ideas nobody could say what to write: one sentence, and nobody is asked."""
    assert bare.folder
    (bare.folder / "ideas.json").unlink()
    status, _, told = cook(booth, load_deck(bare.folder))
    assert status == 2
    assert "ideas.json" in told
    assert stand_in.tally.paths == []


def test_the_composer_writes_no_pieces(booth: Booth) -> None:
    """It needs some."""
    outcome = booth.build(provider="composer", pieces=True)
    assert outcome.status == 2
    assert "--provider gemini" in outcome.error
