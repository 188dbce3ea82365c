"""Whole answers that the makers wrote: content of the deck, stored and served as what they are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import pytest

from app.errors import DeckError
from app.kinds.cards.deck import Deck
from app.kinds.cards.gate import Gate
from app.kinds.cards.written import WRITTEN_FILE, written_answers
from tests.conftest import Serve
from tests.kit import poem_deck
from tests.making import Precompute, game_body, row, small_deck

POEM = poem_deck()
WRITTEN = written_answers(POEM)


def test_every_written_answer_passes_the_gate() -> None:
    """Each answer in the box passes the deck's own gate, and no text stands there twice."""
    gate = Gate.of(POEM)
    refused = [(q.key, str(r)) for q, a in WRITTEN.items() for r in gate.refusals(q, a)]
    assert refused == []
    assert len({answer["poem"] for answer in WRITTEN.values()}) == len(WRITTEN)


def test_hands_are_whole() -> None:
    """A hand that the makers wrote for is stocked: 27 answers, and every card comes in some hand."""
    hands = Counter(query.hand_key for query in WRITTEN)
    assert set(hands.values()) == {27}
    assert {card for query in WRITTEN for card, _ in query.picks} == set(POEM.card_by_id)


def test_what_is_dealt_is_answered_by_a_whole_one(
    precompute: Precompute, serve: Serve, poem: Deck
) -> None:
    """After a build from the written answers every dealt hand is answered by one, labelled as such."""
    told = precompute("build", "--provider", "written", "--n", 1000)
    assert row(told.stdout, "by source") == f"written {len(WRITTEN)}"
    assert row(told.stdout, "stocked hands").startswith(f"{len(WRITTEN) // 27} of ")
    with serve().client() as client:
        for _ in range(40):
            cards = client.get("/api/decks/poem/deal").json()["cards"]
            picks = [(card["id"], card["poems"][2]["id"]) for card in cards]
            query = poem.legal_query(picks)
            answer = client.post("/api/generate-poem", json=game_body(poem, query)).json()
            assert answer["tier"] in ("exact", "same_hand")
            assert answer["source"] == "written"
            assert answer["model"] == "the makers, with a language model"


@pytest.mark.long
def test_a_build_without_a_key_takes_the_written_ones_first(precompute: Precompute) -> None:
    """What the makers wrote comes first, under its own source; the rest is composed."""
    told = precompute("build", "--n", len(WRITTEN) + 54)
    assert row(told.stdout, "cooked") == f"{len(WRITTEN) + 54:,}"
    assert row(told.stdout, "by source") == f"written {len(WRITTEN)}, composer 54"
    again = precompute("build", "--n", len(WRITTEN) + 54)
    assert row(again.stdout, "already there") == f"{len(WRITTEN) + 54:,}"
    assert "\n0 errors" in precompute("check").stdout


def test_composing_alone_can_be_asked_for(precompute: Precompute) -> None:
    """`--provider composer` leaves the written answers where they are."""
    told = precompute("build", "--n", 54, "--provider", "composer")
    assert row(told.stdout, "by source") == "composer 54"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b"{", "line 1"),
        (b"[]", "line 1"),
        (b'{"picks": [["a"]], "title": "", "text": ""}', "line 1"),
        (b'{"picks": [], "title": "x", "text": "y"}', "line 1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: bytes, told: str) -> None:
    """A line that is no answer to a play of the deck is named with its file and number."""
    deck = small_deck(tmp_path / "deck")
    (tmp_path / "deck" / WRITTEN_FILE).write_bytes(line + b"\n")
    with pytest.raises(DeckError, match=WRITTEN_FILE) as caught:
        written_answers(deck)
    assert told in str(caught.value)


def test_an_answer_to_the_same_play_is_named(tmp_path: Path) -> None:
    """Two answers to one play are an error: only one of them could be served."""
    deck = small_deck(tmp_path / "deck")
    cards = [group[0] for group in deck.cards_by_category.values()][: deck.hand_size]
    picks = [[card.id, card.phrases[0].id] for card in cards]
    line = orjson.dumps({"picks": picks, "title": deck.titles[0], "text": "一\n二"})
    (tmp_path / "deck" / WRITTEN_FILE).write_bytes(line + b"\n" + line + b"\n")
    with pytest.raises(DeckError, match="line 2"):
        written_answers(deck)
