"""Keys: what they depend on, what they do not, and that they never change."""

from __future__ import annotations

import random
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.key import Query, digest, hand_key, netstring

PICKS = [(f"condition-00{i}", f"poem-00{i}-{letter}") for i, letter in enumerate("abcab", 1)]
# What JSON can bring: any text, lone surrogates too.
IDS = st.text(max_size=6)
PAIRS = st.lists(st.tuples(IDS, IDS), max_size=6)
SURROGATES = st.text(alphabet=st.characters(categories=["Cs", "Ll"]), max_size=3)


# The same in every language that makes keys: tests of the static edition use them too.
FIXED = [
    (
        Query.play("poem", PICKS),
        (
            b"12:tsukurioki-1,4:hand,4:poem,"
            b"13:condition-001,10:poem-001-a,13:condition-002,10:poem-002-b,"
            b"13:condition-003,10:poem-003-c,13:condition-004,10:poem-004-a,"
            b"13:condition-005,10:poem-005-b,"
        ),
        "cc64a61ee567f52c981ba9b85fe1dafc",
    ),
    (
        Query.play("自作", [("カード-が", "一"), ("a", "ü")]),
        "12:tsukurioki-1,4:hand,6:自作,13:カード-が,3:一,1:a,2:ü,".encode(),
        "1d39ff01803fb9867264740883f97fbe",
    ),
    (
        Query.pattern("chat", [("intent", "morning"), ("character", "botan")]),
        b"12:tsukurioki-1,7:pattern,4:chat,6:intent,7:morning,9:character,5:botan,",
        "558dac530ed1f9ae61f7fff4c0526363",
    ),
]
FIXED_HAND_KEY = "2b4cdca07cd4718a541d62acf011e07e"


@pytest.mark.parametrize(("query", "canonical", "key"), FIXED)
def test_keys_are_the_same_on_every_machine_and_for_ever(
    query: Query, canonical: bytes, key: str
) -> None:
    """The canonical form and the key of a query are these literals, whatever Python runs."""
    assert query.canonical == canonical
    assert query.key == key == digest(canonical)


def test_hand_keys_are_the_same_for_ever() -> None:
    """The key of a hand is this literal, and does not depend on the phrases."""
    assert Query.play("poem", PICKS).hand_key == FIXED_HAND_KEY
    others = [(card, "another") for card, _ in PICKS]
    assert Query.play("poem", others).hand_key == FIXED_HAND_KEY


def test_the_order_of_cards_does_not_matter() -> None:
    """However a hand is laid out, it has one query, one key and one hand key."""
    rng = random.Random(0)
    queries = {Query.play("poem", rng.sample(PICKS, 5)) for _ in range(50)}
    assert len(queries) == 1
    shuffled = [card for card, _ in rng.sample(PICKS, 5)]
    assert hand_key("poem", shuffled) == queries.pop().hand_key


def test_the_order_of_json_members_does_not_matter() -> None:
    """A query read from JSON with its members the other way round is the same query."""
    query = Query.play("poem", PICKS)
    turned = [{"phrase": phrase, "card": card} for card, phrase in reversed(PICKS)]
    read = Query.from_json(orjson.loads(orjson.dumps({"hand": turned, "deck": "poem"})))
    assert read == query
    assert read.key == query.key


@given(PAIRS, IDS)
def test_composed_and_decomposed_ids_are_one(picks: list[tuple[str, str]], deck: str) -> None:
    """NFC and NFD of an id give one key."""

    def normal(form: str) -> Query:
        norm = unicodedata.normalize
        return Query.play(norm(form, deck), [(norm(form, a), norm(form, b)) for a, b in picks])  # type: ignore[arg-type]

    assert normal("NFC").key == normal("NFD").key


@given(PAIRS, PAIRS, IDS, IDS)
def test_different_queries_have_different_canonical_forms(
    one: list[tuple[str, str]], other: list[tuple[str, str]], deck: str, another: str
) -> None:
    """Two queries are equal exactly where their canonical forms are."""
    a, b = Query.play(deck, one), Query.play(another, other)
    assert (a == b) == (a.canonical == b.canonical)
    assert a.canonical != Query.pattern(deck, one).canonical


@given(st.lists(st.one_of(SURROGATES, IDS), max_size=5), st.lists(SURROGATES, max_size=5))
def test_a_run_of_netstrings_cannot_be_forged(one: list[str], other: list[str]) -> None:
    """Joining ids loses no border between them, not even with half characters in them."""
    joined = [b"".join(map(netstring, ids)) for ids in (one, other)]
    normal = [[unicodedata.normalize("NFC", text) for text in ids] for ids in (one, other)]
    assert (normal[0] == normal[1]) == (joined[0] == joined[1])


def test_the_canonical_form_is_read_back_without_a_rest() -> None:
    """A separator within an id does not move a border: these pairs would collide when joined."""
    forged = [
        Query.play("d", [("a", "b"), ("c", "d")]),
        Query.play("d", [("a", "b,1:c,1:d")]),
        Query.play("d", [("a,1:b", "c,1:d")]),
        Query.play("d", [("ab", "cd")]),
        Query.play("d,1:a", [("b", "c"), ("d", "")]),
    ]
    assert len({query.key for query in forged}) == len(forged)


@given(PAIRS, IDS)
def test_a_query_survives_the_log(picks: list[tuple[str, str]], deck: str) -> None:
    """What is written into the log as JSON is read as the same query."""
    query = Query.play(deck, picks)
    assert Query.from_json(orjson.loads(orjson.dumps(query.to_json()))) == query
