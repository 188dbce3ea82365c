"""An edition answers as the server does, publishes only what is new, and is switched by one file."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from random import Random
from typing import Any

import brotli
import orjson
import pytest

from app.errors import PlanError
from app.kinds.cards.dealing import deal, random_play
from app.kinds.cards.deck import Deck
from app.kinds.cards.plays import Play
from app.kinds.cards.stocked import StockTable
from app.kinds.cards.tiers import build_ladder
from app.settings import Settings
from app.store.entry import Entry
from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter
from app.store.rows import Rows, answer_name, index_path
from app.store.sealed import private_copy
from app.store.sealed import publish as seal
from precompute.cli import main
from precompute.publish.edition import publish
from precompute.publish.folder import EditionFolder
from tests.making import DECKS, Precompute, entry, small_deck
from tests.precompute.publish.node import in_node, needs_node

ANSWERED = """
import { Answers } from "./answers.js";
const load = async (path) => JSON.parse(readFileSync(`${given.root}/${path}`, "utf8"));
const answers = new Answers(await load("edition.json"), load);
told = [];
for (const [picks, variant] of given.plays) {
  told.push(await answers.answer(picks.map(([card, phrase]) => ({ card, phrase })), variant));
}
"""
DEALT = """
import { Answers } from "./answers.js";
const load = async (path) => JSON.parse(readFileSync(`${given.root}/${path}`, "utf8"));
const answers = new Answers(await load("edition.json"), load);
told = [answers.hands];
for (const number of given.numbers) told.push(await answers.deal(number));
"""
LED = """
import { Answers } from "./answers.js";
const load = async (path) => JSON.parse(readFileSync(`${given.root}/${path}`, "utf8"));
const answers = new Answers(await load("edition.json"), load);
told = [];
for (const chosen of given.chosen) told.push(await answers.leads(chosen));
"""


def settings_of(folder: Path, **more: str) -> Settings:
    """Settings of an event in a folder."""
    return Settings.read({"TSUKURIOKI_DATA": str(folder), "TSUKURIOKI_DECKS": str(DECKS), **more})


def store(settings: Settings, deck: Deck, entries: list[Entry]) -> None:
    """Append to the store, and publish its index."""
    with LogWriter(settings.store, deck.id) as log, IndexWriter(settings.store, deck) as index:
        log.append(entries)
        index.catch_up()


def served(settings: Settings, deck: Deck, plays: list[tuple[Query, int]]) -> list[Any]:
    """What the server's ladder says to each play."""
    index = Index(settings.store, deck.id)
    ladder = build_ladder(deck, settings.tiers, lambda: index, settings.radius)
    answers = [ladder.answer(Play(query, variant)) for query, variant in plays]
    index.close()
    return [answer and orjson.loads(answer.body) for answer in answers]


def told(folder: Path, root: Path, plays: list[tuple[Query, int]]) -> list[Any]:
    """What the edition's module says to each play."""
    asked = [(query.picks, variant) for query, variant in plays]
    found: list[Any] = in_node(folder, ANSWERED, {"root": str(root), "plays": asked})
    return found


def some_plays(deck: Deck, stored: list[Query], count: int, rng: Random) -> list[tuple[Query, int]]:
    """Stored plays, plays near them, and any plays, each with a number of its answers."""
    plays = []
    for number in range(count):
        query = random_play(deck, rng) if number % 3 == 0 else rng.choice(stored)
        if number % 3 == 2:
            picks = list(query.picks)
            for place in rng.sample(range(len(picks)), rng.randint(1, 2)):
                card = deck.card_by_id[picks[place][0]]
                picks[place] = (card.id, rng.choice(card.phrases).id)
            query = Query.play(deck.id, picks)
        plays.append((query, rng.choice([0, 0, 0, 1, 2, 3])))
    return plays


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Deck, list[Query]]:
    """A small deck with stored plays: variants, some without the first, and one of an older deck."""
    folder = tmp_path_factory.mktemp("small")
    deck, rng = small_deck(folder / "small"), Random(4)
    settings = settings_of(folder, TSUKURIOKI_RADIUS="2")
    queries = [random_play(deck, rng) for _ in range(400)]
    entries = [entry(query, f'詩の{n}「\\"」') for n, query in enumerate(queries)]
    entries += [entry(query, f"別の{n}", 1) for n, query in enumerate(queries[:90])]
    late = [random_play(deck, rng) for _ in range(20)]
    entries += [entry(query, f"後の{n}", 1 + n % 3) for n, query in enumerate(late)]
    old = [(card, f"{phrase}-old") for card, phrase in queries[0].picks[:1]]
    entries.append(entry(Query.play(deck.id, [*old, *queries[0].picks[1:]]), "昔の詩"))
    store(settings, deck, entries)
    return settings, deck, queries + late


@needs_node
@pytest.mark.parametrize("tiers", ["exact,same_hand,composed,template", "template,exact", "exact"])
def test_an_edition_answers_as_the_server_does(
    tmp_path: Path, small: tuple[Settings, Deck, list[Query]], tiers: str
) -> None:
    """Tier by tier, member by member: stored plays, their neighbours, variants, and any play."""
    settings, deck, queries = small
    settings = settings_of(settings.store.parent, TSUKURIOKI_RADIUS="2", TSUKURIOKI_TIERS=tiers)
    publish(settings, deck, tmp_path / "edition")
    plays = some_plays(deck, queries, 600, Random(5))
    expected = served(settings, deck, plays)
    if tiers.startswith("exact,"):
        assert {answer["tier"] for answer in expected} == {"exact", "same_hand", "template"}
    assert told(tmp_path / "node", tmp_path / "edition", plays) == expected


@needs_node
def test_an_edition_leads_to_its_stock_as_the_server_does(tmp_path: Path) -> None:
    """Which cards a visitor may add to some chosen ones for a hand in stock."""
    deck, rng, settings = small_deck(tmp_path / "small"), Random(7), settings_of(tmp_path)
    hands = [deal(deck, rng) for _ in range(12)]
    store(settings, deck, [entry(play) for hand in hands[:6] for play in deck.plays_of_hand(hand)])
    publish(settings, deck, tmp_path / "edition")
    chosen = [[card.id for card in hand[: n % 4]] for n, hand in enumerate(hands * 2)]
    index = Index(settings.store, deck.id)
    stock = [index.stocked(position) for position in range(index.meta().stocked_hands)]
    index.close()
    table = StockTable(stock, {card.id: card.category for card in deck.cards})
    expected = [table.leads(cards) for cards in chosen]
    assert {len(one.cards) > 0 for one in expected} == {True, False}
    values = {"root": str(tmp_path / "edition"), "chosen": chosen}
    assert in_node(tmp_path / "node", LED, values) == [
        {**one._asdict(), "otherwise": "template"} for one in expected
    ]


@needs_node
@pytest.mark.long
def test_the_deck_in_the_box_is_answered_as_the_server_does(
    tmp_path: Path, precompute: Precompute, poem: Deck
) -> None:
    """3,000 plays of a cooked stock in many bundles and lists, and every dealt hand is in stock."""
    precompute("build", "--n", "17000", "--provider", "composer")
    root = tmp_path / "edition"
    precompute("publish", "--static", root)
    settings = settings_of(tmp_path / "data")
    edition = orjson.loads((root / "edition.json").read_bytes())
    assert len(edition["stored"]["lists"]) > 1
    assert len(edition["stock"]) > 1
    index = Index(settings.store, "poem")
    hands = [index.stocked(position) for position in range(index.meta().stocked_hands)]
    index.close()
    rng = Random(6)
    stored = [
        Query.play("poem", [(card, rng.choice(poem.card_by_id[card].phrases).id) for card in hand])
        for hand in hands
    ]
    plays = some_plays(poem, stored, 3000, rng)
    assert told(tmp_path / "node", root, plays) == served(settings, poem, plays)
    dealt = in_node(
        tmp_path / "node", DEALT, {"root": str(root), "numbers": [0, 511, 512, len(hands)]}
    )
    assert dealt[0] == len(hands)
    assert [[card["id"] for card in one["cards"]] for one in dealt[1:]] == [
        hands[0], hands[511], hands[512], hands[0],
    ]  # fmt: skip


def test_every_file_is_named_by_its_contents_and_compressed(
    tmp_path: Path, small: tuple[Settings, Deck, list[Query]]
) -> None:
    """What `edition.json` and its lists name is there, is what the name promises, in three forms."""
    settings, deck, _ = small
    root = tmp_path / "edition"
    publish(settings, deck, root)
    edition = orjson.loads((root / "edition.json").read_bytes())
    named = {path: digest for path, _, digest in edition["keep"]}
    for name in edition["stored"]["lists"]:
        listed = orjson.loads((root / f"files/{name}.json").read_bytes())
        named |= {f"files/{one}.json": one for one in (name, *listed) if one}
    there = [path for path in (root / "files").rglob("*") if path.is_file()]
    plain = {str(path.relative_to(root)) for path in there if path.suffix not in (".gz", ".br")}
    plain.remove("files/.tsukurioki")
    assert plain == set(named)
    for path, digest in named.items():
        data = (root / path).read_bytes()
        assert hashlib.sha256(data).hexdigest()[:32] == digest
        if not path.endswith((".woff2", ".png")):
            assert gzip.decompress((root / f"{path}.gz").read_bytes()) == data
            assert brotli.decompress((root / f"{path}.br").read_bytes()) == data


def test_a_new_build_publishes_only_what_is_new(
    tmp_path: Path, small: tuple[Settings, Deck, list[Query]]
) -> None:
    """One entry more changes one bundle and its list; files of the edition before stay, older go."""
    folder = tmp_path / "event"
    deck = small_deck(folder / "small")
    settings = settings_of(folder)
    rng, root = Random(7), tmp_path / "edition"
    queries = [random_play(deck, rng) for _ in range(300)]
    store(settings, deck, [entry(query, f"詩{n}") for n, query in enumerate(queries)])
    first = publish(settings, deck, root)
    again = publish(settings, deck, root)
    assert (again.new, again.removed, again.edition) == (0, 0, first.edition)
    store(settings, deck, [entry(random_play(deck, rng), "新しい詩")])
    second = publish(settings, deck, root)
    assert (second.new, second.removed) == (2, 0)
    store(settings, deck, [entry(random_play(deck, rng), "もっと新しい詩")])
    third = publish(settings, deck, root)
    # The bundle and the list that only the first edition has.
    assert (third.new, third.removed) == (2, 2)


def test_an_edition_without_a_store_makes_every_answer(tmp_path: Path) -> None:
    """Nothing is cooked yet: the remark says so, and the browser frames."""
    deck = small_deck(tmp_path / "small")
    done = publish(settings_of(tmp_path), deck, tmp_path / "edition")
    assert done.edition["stored"]["lists"] == []
    assert any("nothing is cooked" in remark for remark in done.remarks)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--deck", "chat"], "characters read what is said"),
        (["--deck", "nosuch"], "there is no deck"),
        (["--collect", "ftp://play.example/"], "expected a path or an http(s) address"),
    ],
)
def test_what_cannot_be_published_is_told(
    tmp_path: Path,
    options: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chat needs the server, a deck must be there: one line, status 2, nothing written."""
    monkeypatch.setenv("TSUKURIOKI_DECKS", str(DECKS))
    assert main(["publish", "--static", str(tmp_path / "edition"), *options]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "edition").exists()


def test_two_do_not_publish_into_one_folder(tmp_path: Path) -> None:
    """The second is told to wait, and what it would have replaced stays."""
    deck, root = small_deck(tmp_path / "small"), tmp_path / "edition"
    publish(settings_of(tmp_path), deck, root)
    before = (root / "edition.json").read_bytes()
    with EditionFolder(root).alone(), pytest.raises(PlanError, match="wait for it"):
        publish(settings_of(tmp_path), deck, root, "/collect")
    assert (root / "edition.json").read_bytes() == before


def test_a_publishing_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """Whatever a killed one left: half a file, or files without their compressed forms, or both."""
    deck, root = small_deck(tmp_path / "small"), tmp_path / "edition"
    settings = settings_of(tmp_path)
    publish(settings, deck, root)
    whole = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    rng = Random(9)
    for path in sorted(whole):
        if path.name != ".tsukurioki" and (path.name == "edition.json" or rng.random() < 0.5):
            path.unlink()
    (root / "files" / ".0123.json.new").write_bytes(b"half")
    publish(settings, deck, root)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == whole
    for nonsense in (b"{", b"[]", b'{"format":0}'):
        (root / "edition.json").write_bytes(nonsense)
        publish(settings, deck, root)
        assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == whole


def test_a_damaged_row_of_the_index_is_told(tmp_path: Path) -> None:
    """An answer whose checksum does not fit is left out of the edition, and a remark names it."""
    deck, root, settings = (
        small_deck(tmp_path / "small"),
        tmp_path / "edition",
        settings_of(tmp_path),
    )
    queries = [random_play(deck, Random(n)) for n in range(3)]
    entries = [entry(query, f"詩の{n}") for n, query in enumerate(queries)]
    with LogWriter(settings.store, deck.id) as log, IndexWriter(settings.store, deck) as index:
        log.append(entries)
        index.catch_up()
    rows = Rows(private_copy(index_path(settings.store, deck.id)), tmp_path, write=True)
    with rows.env.begin(write=True, db=rows.databases["answers"]) as txn:
        name = answer_name(queries[0].raw_key, 0)
        txn.put(name, bytes(txn.get(name, b""))[:-1] + b"!")
    seal(rows.env, rows.file, index_path(settings.store, deck.id))
    done = publish(settings, deck, root)
    assert any("is damaged" in remark for remark in done.remarks)
    assert queries[0].key.encode() in b"".join(p.read_bytes() for p in root.glob("files/*.json"))
    assert "詩の0".encode() not in b"".join(p.read_bytes() for p in root.glob("files/*.json"))


def test_another_folder_is_not_overwritten(tmp_path: Path) -> None:
    """A folder that holds something else is left as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    deck = small_deck(tmp_path / "small")
    with pytest.raises(PlanError, match="holds something else"):
        publish(settings_of(tmp_path), deck, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_tiers_that_cannot_be_published_are_named(tmp_path: Path, poem: Deck) -> None:
    """Models, and makers whose answers are not proven to pass the gate, are left out and named."""
    settings = settings_of(tmp_path, TSUKURIOKI_TIERS="exact,local,template")
    frames = {**poem.template, "links": [*poem.template["links"], "風が通ります。"]}
    deck = small_deck(tmp_path / "small", rest={"template": frames})
    done = publish(settings, deck, tmp_path / "edition")
    assert done.edition["tiers"] == ["exact"]
    assert [remark.split(":")[0] for remark in done.remarks[:2]] == ["tier local", "tier template"]
