"""An index or a log that something has harmed: nothing wrong is served, nothing stops, all is mended."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import IndexUnusableError
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.settings import Settings
from app.store import proof, sealed
from app.store.entry import Entry
from app.store.holder import LOOK_EVERY, IndexHolder
from app.store.holder import bring_up as start
from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.key import Query
from app.store.log import LogWriter, Record, damaged_lines, log_path, read_log
from app.store.proof import is_proven, remember
from app.store.rows import Rows, answer_name, index_path
from app.store.sealed import private_copy, publish
from tests.conftest import Serve
from tests.making import Precompute, bodies, entry, game_body, row, small_deck, wait_for

PAGE = 4096
Harm = Callable[[bytes, random.Random], bytes]


def flip_bit(data: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def flip_bytes(data: bytes, rng: random.Random) -> bytes:
    """Some bytes next to each other are others."""
    at = rng.randrange(len(data))
    length = min(rng.randrange(1, 64), len(data) - at)
    return data[:at] + rng.randbytes(length) + data[at + length :]


def truncate(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data))]


def truncate_to_pages(data: bytes, rng: random.Random) -> bytes:
    """The end is missing, and what is left are whole pages."""
    return data[: PAGE * rng.randrange(len(data) // PAGE)]


def zero_page(data: bytes, rng: random.Random) -> bytes:
    """A page is empty, as after a crash."""
    at = PAGE * rng.randrange(len(data) // PAGE)
    return data[:at] + bytes(PAGE) + data[at + PAGE :]


def swap_pages(data: bytes, rng: random.Random) -> bytes:
    """Two pages stand in each other's place."""
    pages = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
    a, b = rng.sample(range(len(pages) - 1), 2)
    pages[a], pages[b] = pages[b], pages[a]
    return b"".join(pages)


def extend(data: bytes, rng: random.Random) -> bytes:
    """There is more than there was."""
    return data + rng.randbytes(rng.randrange(1, 2 * PAGE))


def foreign(data: bytes, rng: random.Random) -> bytes:
    """Another file."""
    return rng.choice([b"", b"\n", b"# notes\n" * 99, rng.randbytes(len(data)), bytes(len(data))])


HARMS: tuple[Harm, ...] = (
    flip_bit,
    flip_bytes,
    truncate,
    truncate_to_pages,
    zero_page,
    swap_pages,
    extend,
    foreign,
)
FEW = pytest.param(16, id="few")
MANY = pytest.param(64, id="many", marks=pytest.mark.long)


def mutants(data: bytes, count: int) -> Iterator[bytes]:
    """So many harmed copies, of each kind in turn, none of them whole."""
    rng = random.Random(count)
    for number in range(count):
        harmed = data
        while harmed == data:
            harmed = HARMS[number % len(HARMS)](data, rng)
        yield harmed


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Deck:
    return small_deck(tmp_path_factory.mktemp("decks") / "small")


@pytest.fixture
def made(deck: Deck) -> list[Entry]:
    """Entries of a whole hand, with variants."""
    hand = [cards[0] for cards in deck.cards_by_category.values()][: deck.hand_size]
    plays = list(deck.plays_of_hand(hand))
    return [entry(query, f"詩{n}" * 40, n % 3) for n, query in enumerate(plays[:60])]


@pytest.fixture
def store(tmp_path: Path, deck: Deck, made: list[Entry]) -> Path:
    store = tmp_path / "store"
    with LogWriter(store, deck.id) as log:
        log.append(made)
    bring_up(store, deck)
    return store


def bring_up(store: Path, deck: Deck) -> None:
    with LogWriter(store, deck.id), IndexWriter(store, deck) as index:
        index.catch_up()


def served(store: Path, made: list[Entry]) -> dict[tuple[str, int], bytes]:
    """What an index answers of some entries."""
    index = Index(store, made[0].query.deck)
    found = {(e.key, e.variant): index.get(e.query.raw_key, e.variant) for e in made}
    index.close()
    return {name: body for name, body in found.items() if body is not None}


@pytest.mark.parametrize("copied", [0, sealed.COPIED])
@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_harmed_index_is_refused_and_mended_at_the_start(
    store: Path,
    deck: Deck,
    made: list[Entry],
    count: int,
    copied: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was done to the file at rest, be it read from a copy or not: it is named as unusable,
    and a start builds it again."""
    monkeypatch.setattr(sealed, "COPIED", copied)
    path = index_path(store, deck.id)
    settings = Settings.read({"TSUKURIOKI_STORE": str(store), "TSUKURIOKI_DATA": str(store)})
    for harmed in mutants(path.read_bytes(), count):
        path.write_bytes(harmed)
        with pytest.raises(IndexUnusableError, match=str(path)):
            Index(store, deck.id)
        start(settings.store_options, deck)
        assert served(store, made) == bodies(made)


@pytest.mark.parametrize("place", ["folder", "pipe", "loop", "unreadable"])
def test_what_is_no_file_is_named(store: Path, deck: Deck, place: str) -> None:
    """A folder, a pipe or a link to nowhere in the index's place is a sentence, not a wait."""
    path = index_path(store, deck.id)
    path.unlink()
    if place == "folder":
        path.mkdir()
    elif place == "pipe":
        os.mkfifo(path)
    elif place == "loop":
        path.symlink_to(path.name)
    else:
        path.write_bytes(b"x" * 9999)
    with pytest.raises(IndexUnusableError):
        Index(store, deck.id)


@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_running_server_is_not_harmed(
    precompute: Precompute, serve: Serve, poem: Deck, poem_alone: Path, count: int
) -> None:
    """While the file is overwritten, cut and replaced under it, a server gives the stored texts."""
    precompute("build", "--n", 54, TSUKURIOKI_DECKS=poem_alone)
    server = serve(TSUKURIOKI_DECKS=poem_alone)
    store = server.data / "store"
    path, good = index_path(store, "poem"), index_path(store, "poem").read_bytes()
    records = [item for item in read_log(log_path(store, "poem")) if isinstance(item, Record)]
    rng = random.Random(1)
    with server.client() as client:

        def problem() -> str | None:
            told: str | None = client.get("/stats").json()["decks"]["poem"]["store"]["problem"]
            return told

        for number, harmed in enumerate(mutants(good, count)):
            if number % 2:
                scratch = path.with_name("harmed")
                scratch.write_bytes(harmed)
                scratch.replace(path)
            else:
                # In place: what was mapped changes, or is gone.
                with path.open("r+b") as file:
                    file.write(harmed)
                    file.truncate()
            for record in rng.sample(records, 3):
                asked = game_body(poem, record.entry.query)
                given = client.post("/api/generate-poem", json=asked).json()
                assert (given["tier"], given["poem"]) == ("exact", record.entry.response["poem"])
            wait_for(problem, "the harm to be seen")
            path.write_bytes(good)
            wait_for(lambda: not problem(), "the good index")
        assert server.process.poll() is None


def decay(path: Path, harmed: bytes) -> None:
    """Harm a file as a disk does: its size and its times are those that it had."""
    path.write_bytes(harmed)
    with path.open("rb") as file:
        remember(path, file)


def start_machine(store: Path, boot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine was started anew."""
    (store / boot).write_text(boot)
    monkeypatch.setattr(proof, "_BOOT", store / boot)


def test_a_large_index_that_outlasted_a_start_of_the_machine_is_trusted_after_the_next(
    store: Path, deck: Deck, made: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was proven after the machine was started anew is on the disk, and stays known; what was
    published since is not known after the next start."""
    monkeypatch.setattr(sealed, "COPIED", 0)
    path = index_path(store, deck.id)

    def known(boot: str) -> bool:
        start_machine(store, boot, monkeypatch)
        with path.open("rb") as file:
            return is_proven(path, file)

    for boot, expected in (("1", False), ("2", False), ("3", True)):
        assert known(boot) == expected
        assert served(store, made) == bodies(made)
        assert known(boot)
    path.unlink()
    bring_up(store, deck)
    assert known("3")
    assert not known("4")


@pytest.mark.parametrize("change", ["none", "copied", "written to", "boot"])
def test_a_large_index_is_read_whole_unless_it_is_known_to_be_the_one_that_was_proven(
    store: Path, deck: Deck, made: list[Entry], change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only decay of the file that was proven is not seen when it is opened, unless it is to be read
    whole. After a change of any kind, or if the disk may not have had it when the machine was started
    anew, it is refused; and what was refused is not trusted again."""
    monkeypatch.setattr(sealed, "COPIED", 0)
    path = index_path(store, deck.id)
    good = path.read_bytes()
    # A letter of a text, on which opening does not depend.
    decay(path, good.replace(b"composer-1", b"composer-2", 1))
    Index(store, deck.id).close()
    times = path.stat()
    if change == "copied":
        scratch = path.with_name("copy")
        shutil.copy2(path, scratch)
        scratch.replace(path)
    elif change == "written to":
        path.write_bytes(path.read_bytes())
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    elif change == "boot":
        start_machine(store, "another", monkeypatch)
    for whole in (change == "none", False):
        with pytest.raises(IndexUnusableError, match="its checksum does not fit"):
            Index(store, deck.id, whole=whole)
    path.write_bytes(good)
    assert served(store, made) == bodies(made)


@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_large_index_that_is_written_to_is_used_no_more(
    store: Path, deck: Deck, made: list[Entry], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is mapped, not copied: after somebody wrote to it, it is given up, and the good one is
    taken up; one that is replaced by a harmed one goes on answering."""
    monkeypatch.setattr(sealed, "COPIED", 0)
    path = index_path(store, deck.id)
    good, now = path.read_bytes(), [0.0]
    settings = Settings.read({"TSUKURIOKI_STORE": str(store), "TSUKURIOKI_DATA": str(store)})
    holder = IndexHolder(settings.store_options, deck.id, lambda: now[0])
    asked = made[0].query.raw_key

    def found() -> bytes | None:
        now[0] += LOOK_EVERY
        index = holder()
        return index.get(asked) if index else None

    for number, harmed in enumerate(mutants(good, count)):
        assert found() == bodies(made[:1])[made[0].name]
        if number % 2:
            path.write_bytes(harmed)
            assert found() is found() is None
        else:
            scratch = path.with_name("harmed")
            scratch.write_bytes(harmed)
            scratch.replace(path)
            assert found() == found() == bodies(made[:1])[made[0].name]
        assert str(path) in holder.problem
        path.write_bytes(good)


def lethal(data: bytes, name: bytes) -> bytes:
    """An index in which the row of an answer claims a gigabyte: who reads it is killed.

    `name` is followed in a leaf by the number of the page at which its value begins.
    """
    head = struct.Struct("<IHH")
    at = data.find(name)
    # A node of LMDB begins with the value's size, flags (1: a large value) and the name's size.
    while head.unpack_from(data, at - head.size)[1:] != (1, len(name)):
        at = data.index(name, at + 1)
    size = head.pack(0x3FFFFFFF, 1, len(name))
    return data[: at - head.size] + size + data[at:]


def test_a_worker_that_a_harmed_page_kills_is_replaced_by_one_that_does_without_it(
    precompute: Precompute, serve: Serve, poem: Deck, poem_alone: Path
) -> None:
    """A large index that decayed unseen costs each worker once: what comes in its place answers by the
    next tier and says why, and after a repair all stored answers are there."""
    known: dict[str, Any] = {"TSUKURIOKI_DECKS": poem_alone, "TSUKURIOKI_WORKERS": 2}
    store = Path(str(precompute.settings["TSUKURIOKI_DATA"])) / "store"
    rng = random.Random(1)
    made = [entry(random_play(poem, rng), "x" * 200_000) for _ in range(200)]
    with LogWriter(store, poem.id) as log:
        log.append(made)
    bring_up(store, poem)
    path, lost = index_path(store, poem.id), made[7]
    assert path.stat().st_size > sealed.COPIED
    decay(path, lethal(path.read_bytes(), answer_name(lost.query.raw_key, 0)))
    server = serve(**known)

    def tiers(one: Entry) -> set[str]:
        told = set()
        for _ in range(8):
            # Each time by a new connection, which another worker may accept.
            with contextlib.suppress(httpx.HTTPError), server.client() as client:
                asked = game_body(poem, one.query)
                told.add(client.post("/api/generate-poem", json=asked).json()["tier"])
        return told

    assert tiers(made[0]) == {"exact"}
    wait_for(lambda: tiers(lost) == {"composed"}, "workers that do without the index")
    with server.client() as client:
        problem = client.get("/stats").json()["decks"]["poem"]["store"]["problem"]
        assert problem == f"{path}: is damaged: its checksum does not fit"
    assert "\n0 errors" in precompute("check", "--repair", **known).stdout
    wait_for(lambda: tiers(lost) == {"exact"}, "the index that was mended")
    assert server.process.poll() is None


def test_a_harmed_index_stops_no_command(precompute: Precompute, poem_alone: Path) -> None:
    """`check` names it, `build` has all that was cooked, `check --repair` ends without an error."""
    known: dict[str, Any] = {"TSUKURIOKI_DECKS": poem_alone}
    precompute("build", "--n", 27, **known)
    path = index_path(Path(str(precompute.settings["TSUKURIOKI_DATA"])) / "store", "poem")
    for harmed in mutants(path.read_bytes(), 2):
        path.write_bytes(harmed)
        assert f"{path}: is " in precompute("check", status=1, **known).stdout
        assert row(precompute("build", "--n", 27, **known).stdout, "already there") == "27"
        path.write_bytes(harmed)
        assert "\n0 errors" in precompute("check", "--repair", **known).stdout


def damage_row(store: Path, deck: str, made: Entry) -> None:
    """Change the text of an answer within a file whose checksum fits."""
    path = index_path(store, deck)
    rows = Rows(private_copy(path), path, write=True)
    name = answer_name(made.query.raw_key, made.variant)
    with rows.env.begin(rows.databases["answers"], write=True) as txn:
        txn.put(name, bytes(txn.get(name, b"")).replace(b"tier", b"tear"))
    publish(rows.env, rows.file, path)
    rows.close()


def test_a_damaged_value_is_not_served(
    precompute: Precompute, serve: Serve, poem: Deck, poem_alone: Path
) -> None:
    """A value whose own checksum does not fit is not found: the next tier answers, and it is told."""
    precompute("build", "--n", 27, TSUKURIOKI_DECKS=poem_alone)
    server = serve(TSUKURIOKI_DECKS=poem_alone)
    store = server.data / "store"
    harmed = next(i.entry for i in read_log(log_path(store, "poem")) if isinstance(i, Record))
    damage_row(store, "poem", harmed)
    with server.client() as client:
        asked = game_body(poem, harmed.query)

        def tier() -> str:
            given = client.post("/api/generate-poem", json=asked)
            assert given.status_code == 200
            return str(given.json()["tier"])

        wait_for(lambda: tier() != "exact", "the damaged value")
        assert client.get(f"/api/answers/{harmed.key}").status_code == 404
        told = client.get("/stats").json()["decks"]["poem"]["store"]["problem"]
        assert told.endswith(f"the answer {harmed.key} is damaged")


@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_harmed_log_gives_nothing_wrong_and_is_mended(
    store: Path, deck: Deck, made: list[Entry], count: int
) -> None:
    """What a harmed log still answers is as it was written; a repair loses no byte, twice the same."""
    path, right = log_path(store, deck.id), bodies(made)
    for harmed in mutants(path.read_bytes(), count):
        shutil.rmtree(store)
        store.mkdir()
        path.write_bytes(harmed)
        bring_up(store, deck)
        found = served(store, made)
        assert found.items() <= right.items()
        with LogWriter(store, deck.id) as log:
            log.set_damage_aside()
            assert log.set_damage_aside() == []
        assert not list(damaged_lines(path))
        bring_up(store, deck)
        assert served(store, made) == found
        kept = b"".join(p.read_bytes() for p in store.iterdir() if p.suffix in SIDES)
        lines = Counter(harmed.splitlines()) - Counter([b""])
        assert not lines - Counter(kept.splitlines())


SIDES = (".jsonl", ".torn", ".damaged")


@pytest.mark.parametrize("indexed", [True, False])
def test_a_flipped_byte_in_a_line_is_told_and_cooked_again(
    precompute: Precompute, poem_alone: Path, indexed: bool
) -> None:
    """Every command says that a line is damaged, though an index still had it, and its answer is
    cooked again."""
    known: dict[str, Any] = {"TSUKURIOKI_DECKS": poem_alone}
    precompute("build", "--n", 27, **known)
    store = Path(str(precompute.settings["TSUKURIOKI_DATA"])) / "store"
    path = log_path(store, "poem")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"e", b"f", 1)
    path.write_bytes(b"".join(lines))
    if not indexed:
        index_path(store, "poem").unlink()
    assert (
        f"error: {path}:5: the checksum does not fit"
        in precompute("check", status=1, **known).stdout
    )
    built = precompute("build", "--n", 27, **known)
    assert "1 damaged lines are left out" in built.stderr
    assert (row(built.stdout, "cooked"), row(built.stdout, "already there")) == ("1", "26")
    repaired = precompute("check", "--repair", **known).stdout
    assert f"{path}:5: the checksum does not fit: set aside in poem.damaged" in repaired
    assert "\n0 errors" in repaired
    assert (store / "poem.damaged").read_bytes() == lines[4]
    assert row(precompute("build", "--n", 27, **known).stdout, "already there") == "27"


@pytest.mark.parametrize("change", ["garbage", "crlf", "utf-16", "other deck", "huge cost"])
def test_whatever_stands_as_the_log_is_mended(
    precompute: Precompute, poem_alone: Path, change: str
) -> None:
    """A foreign, converted or odd log: `check --repair` ends without an error and loses no answer
    that can be read."""
    known: dict[str, Any] = {"TSUKURIOKI_DECKS": poem_alone}
    precompute("build", "--n", 27, **known)
    path = log_path(Path(str(precompute.settings["TSUKURIOKI_DATA"])) / "store", "poem")
    good = path.read_bytes()
    other = Query.play("other", [("a", "b")])
    odd = replace(entry(other), cost_usd=1e308)
    path.write_bytes(
        {
            "garbage": random.Random(1).randbytes(50_000),
            "crlf": good.replace(b"\n", b"\r\n"),
            "utf-16": good.decode().encode("utf-16"),
            "other deck": good + entry(other).to_line(),
            "huge cost": good + odd.to_line() * 2,
        }[change]
    )
    assert "\n0 errors" in precompute("check", "--repair", **known).stdout
    there = "0" if change in ("garbage", "utf-16") else "27"
    assert row(precompute("build", "--n", 27, **known).stdout, "already there") == there


def test_nothing_cooked_is_no_problem(
    serve: Serve, poem_alone: Path, precompute: Precompute
) -> None:
    """Before the first build there is no index, which is neither an error nor a problem."""
    known: dict[str, Any] = {"TSUKURIOKI_DECKS": poem_alone}
    assert "\n0 errors" in precompute("check", **known).stdout
    assert "nothing is cooked" in precompute("stats", **known).stderr
    with serve(**known).client() as client:
        store = client.get("/stats").json()["decks"]["poem"]["store"]
        assert (store["entries"], store["problem"]) == (0, None)
