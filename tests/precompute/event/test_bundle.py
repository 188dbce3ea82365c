"""Bundles: what is packed is what is served, and releases are switched and switched back."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from tests.conftest import Serve
from tests.making import Precompute, game_body


@pytest.fixture
def bundle(precompute: Precompute, tmp_path: Path) -> Path:
    """A bundle of a small store."""
    precompute("build", "--n", 27)
    precompute("bundle", tmp_path / "event.tar")
    return tmp_path / "event.tar"


def test_same_content_same_bytes(precompute: Precompute, bundle: Path, tmp_path: Path) -> None:
    """Packing the same content again, later, gives the same bytes."""
    for path in (tmp_path / "data").rglob("*"):
        os.utime(path, (1, 1))
    precompute("bundle", tmp_path / "again.tar")
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


@pytest.mark.long
def test_unpacked_is_served(
    precompute: Precompute, bundle: Path, serve: Serve, poem: Deck, tmp_path: Path
) -> None:
    """What was unpacked answers as the machine did on which it was packed."""
    precompute("verify", bundle)
    precompute("unpack", bundle, "--into", tmp_path / "event")
    data = tmp_path / "event" / "current" / "data"
    query = random_play(poem, Random(1))
    with (
        serve().client() as here,
        serve(TSUKURIOKI_DATA=data, TSUKURIOKI_DECKS=data / "decks").client() as there,
    ):
        asked = game_body(poem, query)
        first = here.post("/api/generate-poem", json=asked)
        assert there.post("/api/generate-poem", json=asked).content == first.content
        assert there.get("/api/decks/poem/deal").json()["mode"] == "stocked"


def test_no_secret_is_packed(precompute: Precompute, tmp_path: Path) -> None:
    """Settings travel, but no key, no token and no path of the machine."""
    precompute(
        "bundle",
        tmp_path / "event.tar",
        GEMINI_API_KEY="secret-one",
        OPENAI_API_KEY="secret-two",
        TSUKURIOKI_TOKEN="secret-three",
        TSUKURIOKI_WORKERS=3,
    )
    packed = (tmp_path / "event.tar").read_bytes()
    assert b"TSUKURIOKI_WORKERS='3'" in packed
    assert not any(f"secret-{name}".encode() in packed for name in ("one", "two", "three"))
    assert str(tmp_path).encode() not in packed


@pytest.mark.long
def test_rollback(precompute: Precompute, bundle: Path, tmp_path: Path) -> None:
    """After a second bundle, rollback returns to the first, and again to the second."""
    place = tmp_path / "event"
    precompute("unpack", bundle, "--into", place)
    first = (place / "current").resolve()
    precompute("rollback", "--into", place, status=2)
    precompute("build", "--n", 54)
    precompute("bundle", tmp_path / "second.tar")
    precompute("unpack", tmp_path / "second.tar", "--into", place)
    second = (place / "current").resolve()
    assert second != first
    precompute("rollback", "--into", place)
    assert (place / "current").resolve() == first
    precompute("rollback", "--into", place)
    assert (place / "current").resolve() == second


@pytest.mark.long
def test_votes_outlive_a_release(precompute: Precompute, bundle: Path, tmp_path: Path) -> None:
    """The ledger is one folder for all releases."""
    place = tmp_path / "event"
    precompute("unpack", bundle, "--into", place)
    (place / "current" / "data" / "ledger" / "poem.votes.jsonl").write_text("{}\n")
    precompute("build", "--n", 54)
    precompute("bundle", tmp_path / "second.tar")
    precompute("unpack", tmp_path / "second.tar", "--into", place)
    assert (place / "current" / "data" / "ledger" / "poem.votes.jsonl").exists()
