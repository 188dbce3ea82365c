"""Requests that come again byte for byte: quicker to answer, and never with what is no longer so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from app.edge.repeats import Kept, Repeats
from app.kinds.cards.deck import Deck
from app.settings import Settings
from app.store.entry import Entry
from app.store.holder import IndexHolder
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter, Record, log_path, read_log
from tests.conftest import Serve
from tests.making import DECKS, Precompute, entry, game_body, wait_for

Ask = Callable[[httpx.Client, Deck, Entry], httpx.Response]


def by_key(client: httpx.Client, deck: Deck, stored: Entry) -> httpx.Response:
    """A stored answer, fetched."""
    return client.get(f"/api/answers/{stored.key}")


def by_play(client: httpx.Client, deck: Deck, stored: Entry) -> httpx.Response:
    """The same as a play of the game."""
    return client.post("/api/generate-poem", json=game_body(deck, stored.query))


def stored_entry(store: Path) -> Entry:
    """The first of a store."""
    record = next(iter(read_log(log_path(store, "poem"))))
    assert isinstance(record, Record)
    return record.entry


def put(store: Path, deck: Deck, *entries: Entry) -> None:
    """Put entries in force."""
    with LogWriter(store, deck.id) as log, IndexWriter(store, deck) as index:
        log.append(entries)
        index.catch_up()


@pytest.fixture
def store(precompute: Precompute, tmp_path: Path) -> Path:
    """A store with one stocked hand."""
    precompute("build", "--n", 27)
    return tmp_path / "data" / "store"


@pytest.mark.parametrize("ask", [by_key, by_play])
def test_a_better_answer_is_given_to_who_asks_again(
    store: Path, serve: Serve, poem: Deck, ask: Ask
) -> None:
    """What is asked again and again is answered anew once a better source has answered it."""
    old = stored_entry(store)
    with serve().client() as client:
        first = [ask(client, poem, old) for _ in range(3)]
        assert {answer.json()["poem"] for answer in first} == {old.response["poem"]}
        better = replace(old, source="gemini", response={**old.response, "poem": "別の詩"})
        put(store, poem, better)
        wait_for(lambda: ask(client, poem, old).json()["poem"] == "別の詩", "the better answer")
        again = ask(client, poem, old)
        assert again.json()["poem"] == "別の詩"
        assert again.headers.get("etag") != first[0].headers.get("etag") or ask is by_play


@pytest.mark.parametrize("ask", [by_key, by_play])
def test_another_store_is_another_answer(store: Path, serve: Serve, poem: Deck, ask: Ask) -> None:
    """Where the whole store is replaced by another, nothing of the old one is given any more."""
    old = stored_entry(store)
    with serve().client() as client:
        assert ask(client, poem, old).json()["poem"] == ask(client, poem, old).json()["poem"]
        shutil.rmtree(store)
        put(store, poem, entry(old.query, poem="よその詩"))
        wait_for(lambda: ask(client, poem, old).json()["poem"] == "よその詩", "the other store")


def test_a_near_answer_gives_way_to_the_exact_one(store: Path, serve: Serve, poem: Deck) -> None:
    """A play that was answered by a neighbour is answered by its own entry once that is cooked."""
    query = stored_entry(store).query
    stored = {record.entry.query for record in read_log(log_path(store, "poem")) if isinstance(record, Record)}  # fmt: skip
    first = poem.card_by_id[query.picks[0][0]]
    near = next(
        play
        for phrase in first.phrases
        if (play := Query.play(poem.id, [(first.id, phrase.id), *query.picks[1:]])) not in stored
    )
    with serve().client() as client:
        given = [by_play(client, poem, entry(near)).json() for _ in range(2)]
        assert [one["tier"] for one in given] == ["same_hand"] * 2
        put(store, poem, entry(near, poem="自前の詩"))
        wait_for(
            lambda: by_play(client, poem, entry(near)).json()["tier"] == "exact", "the exact answer"
        )


def test_every_answer_is_counted(store: Path, serve: Serve, poem: Deck) -> None:
    """Ten times the same request are ten answers, in `/stats` and in `/metrics`."""
    old = stored_entry(store)
    with serve().client() as client:
        for _ in range(10):
            by_play(client, poem, old)
            by_key(client, poem, old)
        told = client.get("/stats").json()["decks"]["poem"]["answers"]["by_tier"]
        assert told["exact"]["answers"] == 10
        lines = client.get("/metrics").text.splitlines()
        assert 'tsukurioki_fetched_answers_total{deck="poem"} 10.0' in lines


def test_the_room_is_bounded_and_a_circle_too_long_for_it_is_found_in_part(
    store: Path, poem: Deck
) -> None:
    """What is kept fits the room; of what comes in a circle a little longer, most is found."""
    settings = Settings.read({"TSUKURIOKI_DECKS": str(DECKS), "TSUKURIOKI_STORE": str(store)})
    index = IndexHolder(settings.store_options, poem.id, lambda: 0.0)
    repeats = Repeats(held=100_000)
    kept = Kept("poem", "exact", (("etag", ""),), bytes(400))
    requests = [b"%d" % number for number in range(110)]
    found = 0
    for _ in range(20):
        for request in requests:
            if repeats.find("/", request):
                found += 1
            else:
                repeats.keep("/", request, kept, index, index.state())
    assert found > 0.75 * 20 * len(requests)
    assert sum(repeats.find("/", request) is not None for request in requests) < 100
    index_now = index()
    assert index_now
    index_now.close()
