"""Kinds of decks: one table, what each kind must bring, and a third one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.errors import DeckError
from app.kinds.decks import KINDS, kind_of, load_all, load_one
from app.kinds.kind import AnyDeck, Kind, Server, Serving
from app.kinds.reading import Reader
from app.kinds.refusal import Refusal
from app.settings import Settings
from app.store.entry import Entry
from app.store.holder import IndexHolder, bring_up
from app.store.index import Index
from app.store.key import Query
from app.store.log import LogWriter
from app.store.options import StoreOptions
from app.store.sources import DEFAULT_ORDER
from app.web.app import create_app
from precompute.cook.kinds import cooking_of
from precompute.review.check import check_entries, check_store
from precompute.review.kinds import review_of
from tests.making import DECKS, small_deck, write_json


class EchoDeck:
    """A deck that answers a word with the word."""

    kind = "echo"
    coverage = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = self.name = str(Reader(folder, "deck.json").value["id"])


class EchoGate:
    """Lets through what is the same."""

    def examine(self, query: Query, response: Mapping[str, object]) -> Refusal | None:
        """Whether the answer is the word."""
        return None if response["text"] == dict(query.picks)["word"] else Refusal("echo")


class ServedEcho:
    """A deck as it is served."""

    body = b'{"id":"echo"}'

    def __init__(self, deck: EchoDeck, serving: Serving) -> None:
        self.deck: AnyDeck = deck
        self.index = IndexHolder(serving.settings.store_options, deck.id, serving.clock)

    def health(self) -> dict[str, Any]:
        """Whether it has an index."""
        return {"index": self.index() is not None}

    def figures(self) -> dict[str, Any]:
        """None."""
        return {"words": 2}


class Echo:
    """The kind."""

    room = "echo"

    def load(self, folder: Path) -> EchoDeck:
        """Read one."""
        return EchoDeck(folder)

    def gate(self, deck: EchoDeck) -> EchoGate:
        """Its gate."""
        return EchoGate()

    def prepare(self, deck: EchoDeck) -> Server:
        """Nothing is made beforehand."""
        return lambda serving: ServedEcho(deck, serving)


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnyDeck:
    """A deck of a third kind, beside one of cards."""
    kind: Kind[EchoDeck] = Echo()
    monkeypatch.setitem(KINDS, "echo", kind)
    (tmp_path / "decks" / "echo").mkdir(parents=True)
    write_json(tmp_path / "decks" / "echo" / "deck.json", {"kind": "echo", "id": "echo"})
    small_deck(tmp_path / "decks" / "mine")
    return load_all(tmp_path / "decks")["echo"]


def entry(word: str, answer: str) -> Entry:
    """A stored answer."""
    query = Query.pattern("echo", [("word", word)])
    return Entry(
        key=query.key,
        variant=0,
        query=query,
        response={"text": answer},
        source="ollama",
        model="m",
        fingerprint="f",
        created="2026-01-01T00:00:00Z",
    )


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_brings_what_runs_before_the_event(name: str) -> None:
    """Each kind has a module for cooking and one for reviewing, found by the name of its room."""
    room = KINDS[name].room
    assert importlib.import_module(f"app.kinds.{room}.kind")
    assert callable(importlib.import_module(f"precompute.cook.{room}").cooking)
    review = importlib.import_module(f"precompute.review.{room}")
    assert all(callable(getattr(review, f)) for f in ("check", "summary", "stats", "stats_rows"))


def test_every_deck_in_the_box_is_of_the_kind_that_its_file_says() -> None:
    """The table's name of a kind is what the deck's file says and what the deck says of itself."""
    for deck in load_all(DECKS).values():
        if deck.folder is None:
            continue
        said = Reader(deck.folder, "deck.json").value.get("kind", "cards")
        assert deck.kind == said
        assert kind_of(deck) is KINDS[said]


def test_a_third_kind_is_one_line_of_the_table(
    echo: AnyDeck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind in the table is loaded, indexed, checked, served, cooked and reviewed like those in the box."""
    store = tmp_path / "store"
    with LogWriter(store, echo.id) as log:
        log.append([entry("あ", "あ"), entry("い", "う")])
    options = StoreOptions(store, "", DEFAULT_ORDER, 1)
    bring_up(options, echo)
    meta = Index(store, "echo").meta()
    assert (meta.entries, meta.plays, meta.stocked_hands) == (2, 0, 0)
    assert not list(check_store(store, echo))
    assert [f.where for f in check_entries(options, echo)] == [entry("い", "う").key]
    found = {"TSUKURIOKI_DATA": str(tmp_path), "TSUKURIOKI_DECKS": str(tmp_path / "decks")}
    client = create_app(Settings.read(found | {"TSUKURIOKI_DECK": "mine"})).test_client()
    assert client.get("/api/decks/echo").get_json() == {"id": "echo"}
    assert client.get("/healthz").get_json()["decks"]["echo"] == {"index": True}
    assert client.get("/stats").get_json()["decks"]["echo"] == {"words": 2}
    assert client.get(f"/api/answers/{entry('あ', 'あ').key}").get_json()["text"] == "あ"
    module: Any = ModuleType("precompute.cook.echo")
    cooking: Any = object()
    module.cooking = lambda deck: cooking
    monkeypatch.setitem(sys.modules, "precompute.cook.echo", module)
    monkeypatch.setitem(sys.modules, "precompute.review.echo", module)
    assert cooking_of(echo) is cooking
    assert review_of(echo) is module


def test_one_deck_is_loaded_whatever_is_wrong_with_the_others(echo: AnyDeck) -> None:
    """A deck is found by its id; another that cannot be loaded is no fault of it."""
    assert echo.folder is not None
    decks = echo.folder.parent
    (decks / "mine" / "cards.json").unlink()
    found = load_one(decks, "echo")
    assert found is not None
    assert found.id == "echo"
    assert load_one(decks, "nobody") is None
    with pytest.raises(DeckError, match=r"cards\.json"):
        load_one(decks, "mine")
    write_json(decks / "mine" / "deck.json", {"kind": "echo", "id": "echo"})
    with pytest.raises(DeckError, match="another deck has the id 'echo'"):
        load_one(decks, "echo")


@pytest.mark.parametrize("kind", ["patterns", "", None, 1, ["cards"], {}])
def test_an_unknown_kind_is_named(kind: object, tmp_path: Path) -> None:
    """A deck of a kind that is not in the table is refused, with those that are."""
    small_deck(tmp_path / "mine")
    write_json(tmp_path / "mine" / "deck.json", {"kind": kind, "id": "mine"})
    with pytest.raises(DeckError, match="expected one of cards, pattern"):
        load_all(tmp_path)
