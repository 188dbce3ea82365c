"""The store: a log that is the truth, an index that follows from it, and what harms either."""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.errors import (
    DamagedLineError,
    IndexUnusableError,
    StoreLockedError,
    StoreWriteError,
)
from app.kinds.cards.dealing import random_play
from app.kinds.cards.deck import Deck
from app.settings import Settings
from app.store import sealed
from app.store.entry import Entry, Usage, seal, unseal
from app.store.hands import records_of
from app.store.holder import LOOK_EVERY, IndexHolder
from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.key import Query, phrase_hash
from app.store.log import (
    Damage,
    LogWriter,
    Record,
    damaged_lines,
    entry_at,
    log_path,
    read_log,
)
from app.store.proof import identity
from app.store.rows import index_path
from app.store.sources import DEFAULT_ORDER
from app.store.stock import StockWriter
from tests.making import PATIENCE, bodies, entry, small_deck

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Deck:
    return small_deck(tmp_path_factory.mktemp("decks") / "small")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def entries_of(deck: Deck, count: int, seed: int = 0) -> list[Entry]:
    """Entries of distinct plays."""
    rng = random.Random(seed)
    queries: dict[Query, None] = {}
    while len(queries) < count:
        queries[random_play(deck, rng)] = None
    return [entry(query, f"詩{number}") for number, query in enumerate(queries)]


def append(store: Path, deck: Deck, entries: list[Entry]) -> None:
    with LogWriter(store, deck.id) as log:
        log.append(entries)


def bring_up(store: Path, deck: Deck, radius: int = 1) -> str:
    """Bring the index up to the log; gives why it was rebuilt."""
    with LogWriter(store, deck.id), IndexWriter(store, deck, radius=radius) as index:
        index.catch_up()
        return index.why_rebuilt


def contents(store: Path, deck: Deck) -> dict[tuple[str, int], bytes]:
    """Everything that the index answers."""
    index = Index(store, deck.id)
    found = {name: index.get(bytes.fromhex(name[0]), name[1]) for name in list(index.keys())}
    index.close()
    return {name: body for name, body in found.items() if body is not None}


# Lines


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    st.floats(0, 100),
    st.none() | st.builds(Usage, st.floats(0, 1e6), st.floats(0, 1e6)),
)
def test_an_entry_survives_its_line(text: str, cost: float, usage: Usage | None) -> None:
    """What an entry is written as is read as the same entry, and is one line."""
    query = Query.play("d", [("a", text)])
    made = Entry(
        query.key, 3, query, {"title": text, "poem": text}, "s", "m", "f", "t", usage, cost
    )
    line = made.to_line()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert Entry.from_line(line) == made


@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    """A line of which any one byte was changed, lost or added is damaged."""
    line = entry(Query.play("d", [("a", "b")])).to_line()
    place = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.binary(min_size=0, max_size=2).filter(lambda b: b"\n" not in b))
    changed = line[:place] + byte + line[place + 1 :]
    if changed == line:
        return
    with pytest.raises(DamagedLineError, match="checksum"):
        Entry.from_line(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"key": 7},
        {"key": "zz"},
        {"key": "00"},
        {"variant": "0"},
        {"variant": -1},
        {"variant": 65536},
        {"variant": True},
        {"query": None},
        {"query": {"deck": "d"}},
        {"query": {"deck": 1, "hand": []}},
        {"query": {"deck": "d", "hand": [{"card": 1, "phrase": 2}]}},
        {"response": []},
        {"response": {"title": 1}},
        {"source": None},
        {"usage": {"prompt": "x"}},
        {"usage": {"strange": 1}},
        {"cost_usd": "free"},
        {"cost_usd": -1},
        {"usage": {"prompt": 1e308}},
        {"key": "0" * 32},
    ],
)
def test_a_sealed_line_that_is_no_entry_is_damaged(change: dict[str, object]) -> None:
    """A good checksum over something that is not an entry is named as damage, not a crash."""
    import orjson

    record = unseal(entry(Query.play("d", [("a", "b")])).to_line())
    del record["checksum"]
    with pytest.raises(DamagedLineError, match="not an entry"):
        Entry.from_line(seal(orjson.dumps({**record, **change})))


# The log


def test_a_log_that_does_not_exist_is_empty(store: Path, deck: Deck) -> None:
    """Reading where nothing was cooked gives nothing."""
    assert list(read_log(log_path(store, deck.id))) == []


def test_an_empty_log_is_an_empty_index(store: Path, deck: Deck) -> None:
    """A log without a line gives an index without an entry, and is no fault."""
    store.mkdir()
    log_path(store, deck.id).touch()
    bring_up(store, deck)
    assert contents(store, deck) == {}
    assert Index(store, deck.id).meta().entries == 0


@pytest.mark.parametrize("cut", [1, 2, 50, 200])
def test_a_torn_tail_is_dropped_and_said(store: Path, deck: Deck, cut: int) -> None:
    """A reader gives every whole line and names the torn one; nothing else is lost."""
    made = entries_of(deck, 3)
    append(store, deck, made)
    path = log_path(store, deck.id)
    os.truncate(path, path.stat().st_size - cut)
    found = list(read_log(path))
    assert [r.entry for r in found if isinstance(r, Record)] == made[:2]
    torn = found[-1]
    assert isinstance(torn, Damage)
    assert torn.torn
    assert torn.reason == f"torn tail of {len(made[2].to_line()) - cut} bytes"


def test_a_writer_sets_a_torn_tail_aside(store: Path, deck: Deck) -> None:
    """Writing goes on after a torn tail, whose bytes are kept in a side file."""
    made = entries_of(deck, 3)
    append(store, deck, made[:2])
    path = log_path(store, deck.id)
    tail = made[2].to_line()[:-9]
    with path.open("ab") as file:
        file.write(tail)
    with LogWriter(store, deck.id) as log:
        assert log.repaired == len(tail)
        log.append(made[2:])
    assert (store / f"{deck.id}.torn").read_bytes() == tail + b"\n"
    assert [r.entry for r in read_log(path) if isinstance(r, Record)] == made
    with LogWriter(store, deck.id) as log:
        assert log.repaired == 0


def test_a_torn_tail_larger_than_a_block_is_set_aside_whole(store: Path, deck: Deck) -> None:
    """However long the torn tail, the line before it stays and the tail goes."""
    made = entries_of(deck, 1)
    append(store, deck, made)
    path = log_path(store, deck.id)
    with path.open("ab") as file:
        file.write(b"x" * 200_000)
    with LogWriter(store, deck.id) as log:
        assert log.repaired == 200_000
    assert path.read_bytes() == made[0].to_line()


@pytest.mark.parametrize("size", [0, 300])
def test_a_hand_that_no_deck_has_is_answered_by_its_key(store: Path, deck: Deck, size: int) -> None:
    """A line whose hand has no card, or more than an index can count, is indexed with the others."""
    odd = entry(Query.play(deck.id, [(f"c{n}", "p") for n in range(size)]))
    made = [*entries_of(deck, 3), odd]
    append(store, deck, made)
    bring_up(store, deck)
    assert contents(store, deck) == bodies(made)
    meta = Index(store, deck.id).meta()
    assert (meta.entries, meta.plays, meta.damaged) == (4, 3, 0)


def test_a_damaged_line_in_the_middle_is_skipped_and_named(store: Path, deck: Deck) -> None:
    """The lines after a damaged one are read and indexed; the damage has its line number."""
    made = entries_of(deck, 5)
    append(store, deck, made)
    path = log_path(store, deck.id)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace("詩".encode(), "誌".encode())
    path.write_bytes(b"".join(lines))
    (damaged,) = damaged_lines(path)
    assert damaged == (sum(map(len, lines[:2])), f"{path}:3: the checksum does not fit")
    bring_up(store, deck)
    assert contents(store, deck) == bodies(made[:2] + made[3:])
    assert Index(store, deck.id).meta().damaged == 1


def test_a_second_writer_gets_a_clear_error(store: Path, deck: Deck) -> None:
    """One process writes at a time; the second is told to wait, and the first goes on."""
    made = entries_of(deck, 2)
    with LogWriter(store, deck.id) as log:
        log.append(made[:1])
        with pytest.raises(StoreLockedError, match="another process is writing"):
            LogWriter(store, deck.id)
        log.append(made[1:])
    assert len(list(read_log(log_path(store, deck.id)))) == 2
    with LogWriter(store, deck.id):
        pass


def test_the_lock_ends_with_its_process(store: Path, deck: Deck) -> None:
    """A writer that was killed leaves no lock behind."""
    words = (
        "import sys, os; from pathlib import Path; from app.store.log import LogWriter; "
        "LogWriter(Path(sys.argv[1]), sys.argv[2]); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run([sys.executable, "-c", words, str(store), deck.id], check=False)
    assert ended.returncode == -9
    assert (store / f"{deck.id}.lock").exists()
    with LogWriter(store, deck.id):
        pass


@pytest.mark.parametrize("place", ["", "small.lock", "small.jsonl", "small.torn"])
def test_something_in_the_way_is_a_sentence(store: Path, deck: Deck, place: str) -> None:
    """A file where the folder should be, or a folder where a file should be, is told by name."""
    if place:
        (store / place).mkdir(parents=True)
        if place == "small.torn":
            (store / "small.jsonl").write_bytes(b"torn")
    else:
        store.write_text("in the way")
    with pytest.raises(StoreWriteError, match="cannot be written") as told:
        LogWriter(store, deck.id)
    assert str(store) in str(told.value)


# The index


def test_a_missing_index_is_built_from_the_log(store: Path, deck: Deck) -> None:
    """Deleting the index loses nothing."""
    made = entries_of(deck, 20)
    append(store, deck, made)
    bring_up(store, deck)
    before = contents(store, deck)
    for path in store.glob("*.lmdb*"):
        path.unlink()
    with pytest.raises(IndexUnusableError, match="no index of deck 'small'"):
        Index(store, deck.id)
    assert bring_up(store, deck) == "there was none"
    assert contents(store, deck) == before == bodies(made)


def test_a_stale_index_takes_in_what_the_log_has_beyond_it(store: Path, deck: Deck) -> None:
    """A log that is longer than the index is continued, not read from the beginning."""
    made = entries_of(deck, 30)
    append(store, deck, made[:10])
    bring_up(store, deck)
    append(store, deck, made[10:])
    assert len(contents(store, deck)) == 10
    assert bring_up(store, deck) == ""
    assert contents(store, deck) == bodies(made)


def test_an_index_from_another_deck_is_not_used(store: Path, deck: Deck) -> None:
    """An index that was copied from another deck is refused by name, and built again."""
    made = entries_of(deck, 5)
    append(store, deck, made)
    bring_up(store, deck)
    other = store.parent / "other"
    small_deck(store.parent / "decks" / "foreign")
    foreign = small_deck(store.parent / "decks" / "foreign")
    append(other, foreign, entries_of(foreign, 3))
    bring_up(other, foreign)
    shutil.copy(index_path(other, "foreign"), index_path(store, deck.id))
    with pytest.raises(IndexUnusableError, match="belongs to deck 'foreign'"):
        Index(store, deck.id)
    assert "belongs to deck" in bring_up(store, deck)
    assert contents(store, deck) == bodies(made)


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"\0" * 100_000])
def test_an_index_of_rubbish_is_built_again(store: Path, deck: Deck, rubbish: bytes) -> None:
    """A file that is no LMDB file is unusable, which is no more than a missing one."""
    made = entries_of(deck, 5)
    append(store, deck, made)
    bring_up(store, deck)
    index_path(store, deck.id).write_bytes(rubbish)
    with pytest.raises(IndexUnusableError):
        Index(store, deck.id)
    assert bring_up(store, deck)
    assert contents(store, deck) == bodies(made)


@pytest.mark.parametrize("left", [8192, 12_288, 50_000, 0.5, 0.9])
def test_an_index_that_was_cut_short_is_built_again(store: Path, deck: Deck, left: float) -> None:
    """A copy of an index that did not end is unusable; it must not kill who opens it."""
    made = entries_of(deck, 200)
    append(store, deck, made)
    bring_up(store, deck)
    path = index_path(store, deck.id)
    os.truncate(path, int(left if left > 1 else path.stat().st_size * left))
    words = (
        "import sys; from pathlib import Path; from app.store.index import Index\n"
        "from app.errors import IndexUnusableError\n"
        "try: index = Index(Path(sys.argv[1]), 'small')\n"
        "except IndexUnusableError as error: print(error)\n"
        "else: print(len(list(index.keys())))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", words, str(store)], capture_output=True, text=True, check=True
    )
    assert "is cut short" in ended.stdout
    assert "is cut short" in bring_up(store, deck)
    assert contents(store, deck) == bodies(made)


def test_a_replaced_log_is_noticed(store: Path, deck: Deck) -> None:
    """An index is not continued over another log, be it shorter or longer."""
    made = entries_of(deck, 40)
    for old, new in ((made[:10], made[20:25]), (made[:10], made[20:])):
        shutil.rmtree(store, ignore_errors=True)
        append(store, deck, old)
        bring_up(store, deck)
        log_path(store, deck.id).unlink()
        append(store, deck, new)
        assert "not the one it was built from" in bring_up(store, deck)
        assert contents(store, deck) == bodies(new)


@pytest.mark.parametrize("gone", [1, 5, 9])
def test_a_line_taken_from_the_log_is_noticed(store: Path, deck: Deck, gone: int) -> None:
    """After somebody removed a line and more was cooked, no entry after it is lost."""
    made = entries_of(deck, 20)
    append(store, deck, made[:10])
    bring_up(store, deck)
    path = log_path(store, deck.id)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    append(store, deck, made[10:])
    assert "not the one it was built from" in bring_up(store, deck)
    assert contents(store, deck) == bodies(made[:gone] + made[gone + 1 :])
    assert Index(store, deck.id).meta().damaged == 0


def test_a_log_that_was_emptied_empties_the_index(store: Path, deck: Deck) -> None:
    """Where the log is gone, its answers are: the log is the truth."""
    append(store, deck, entries_of(deck, 3))
    bring_up(store, deck)
    log_path(store, deck.id).unlink()
    bring_up(store, deck)
    assert contents(store, deck) == {}


@pytest.mark.parametrize("what", ["radius", "order", "deck"])
def test_other_settings_build_the_index_again(store: Path, deck: Deck, what: str) -> None:
    """An index for another radius, order of sources or deck of the same id is not continued."""
    append(store, deck, entries_of(deck, 3))
    bring_up(store, deck)
    radius, changed = 1, deck
    order: tuple[str, ...] = DEFAULT_ORDER
    if what == "radius":
        radius = 2
    elif what == "order":
        order = ("composer",)
    else:
        changed = small_deck(store.parent / "decks" / deck.id, phrases=2)
    with LogWriter(store, deck.id), IndexWriter(store, changed, order, radius) as index:
        assert index.why_rebuilt
        assert index.meta().entries == 3


def test_a_line_under_another_key_is_damage(store: Path, deck: Deck) -> None:
    """A forged line whose key is not its query's answers nothing, and is named."""
    good, other = entries_of(deck, 2)
    forged = Entry(good.key, 0, other.query, other.response, "composer", "composer-1", "f", "2026")
    append(store, deck, [good])
    bring_up(store, deck)
    append(store, deck, [forged])
    bring_up(store, deck)
    assert contents(store, deck) == bodies([good])
    ((_, why),) = damaged_lines(log_path(store, deck.id))
    assert why == f"{log_path(store, deck.id)}:2: not an entry: the key is not that of its query"


def test_the_better_source_is_served(store: Path, deck: Deck) -> None:
    """Of two entries of a key the one of the better source is in force, of equals the newer."""
    query = entries_of(deck, 1)[0].query
    told = [
        entry(query, "作", source="composer"),
        entry(query, "双", source="gemini"),
        entry(query, "再", source="composer"),
        entry(query, "雲", source="gemini"),
        entry(query, "謎", source="unheard-of"),
    ]
    for count in range(1, 6):
        append(store, deck, [told[count - 1]])
        bring_up(store, deck)
        best = told[[0, 1, 1, 3, 3][count - 1]]
        assert contents(store, deck) == bodies([best])
        meta = Index(store, deck.id).meta()
        assert meta.entries == 1
        assert sum(int(str(n)) for _, _, n in meta.origins) == 1
    with LogWriter(store, deck.id), IndexWriter(store, deck) as index:
        assert index.source_of(query.key) == "gemini"


def test_an_entry_is_found_in_the_log_again(store: Path, deck: Deck) -> None:
    """The index knows where the line of an entry begins."""
    made = entries_of(deck, 10)
    append(store, deck, made)
    bring_up(store, deck)
    index = Index(store, deck.id)
    for one in made:
        offset = index.offset(one.key)
        assert offset is not None
        assert entry_at(log_path(store, deck.id), offset) == one
    assert index.offset("0" * 32) is None
    index.close()


def test_what_is_published_is_taken_up(store: Path, deck: Deck, tmp_path: Path) -> None:
    """A server's index is what was published last: added to, deleted and built anew, moved there."""
    now = [0.0]
    made = entries_of(deck, 3)
    known = {"TSUKURIOKI_DATA": str(tmp_path), "TSUKURIOKI_STORE": str(store)}
    holder = IndexHolder(Settings.read(known).store_options, deck.id, lambda: now[0])

    def found() -> list[bool]:
        now[0] += LOOK_EVERY
        index = holder()
        return [index is not None and index.get(one.query.raw_key) is not None for one in made]

    assert found() == [False] * 3
    assert holder.problem == ""
    append(store, deck, made[:1])
    bring_up(store, deck)
    assert found() == [True, False, False]
    before = holder.state()
    append(store, deck, made[1:2])
    bring_up(store, deck)
    assert found() == [True, True, False]
    assert holder.state() is not before
    index_path(store, deck.id).unlink()
    assert found() == [True, True, False]
    elsewhere = tmp_path / "elsewhere"
    append(elsewhere, deck, made[2:])
    bring_up(elsewhere, deck)
    shutil.move(index_path(elsewhere, deck.id), index_path(store, deck.id))
    assert found() == [False, False, True]
    index_path(store, deck.id).write_bytes(b"rubbish")
    assert found() == [False, False, True]
    assert "is cut short, or not an index" in holder.problem


@pytest.mark.parametrize(
    "what", ["nothing", "longer", "torn", "other", "shorter", "radius", "gone"]
)
def test_a_server_serves_what_the_log_has(
    store: Path, deck: Deck, tmp_path: Path, what: str
) -> None:
    """Whatever was done to log, settings or index since it was built: a start serves the log, and
    writes an index only if there is something to write."""
    made = entries_of(deck, 12)
    append(store, deck, made[:6])
    bring_up(store, deck)
    log, index = log_path(store, deck.id), index_path(store, deck.id)
    before, radius, expected = identity(index), "1", made[:6]
    if what == "longer":
        append(store, deck, made[6:])
        expected = made
    elif what == "torn":
        log.write_bytes(log.read_bytes() + made[6].to_line()[:-9])
    elif what in ("other", "shorter"):
        log.unlink()
        expected = made[6:] if what == "other" else made[:3]
        append(store, deck, expected)
    elif what == "radius":
        radius = "2"
    elif what == "gone":
        index.unlink()
    known = {"TSUKURIOKI_STORE": str(store), "TSUKURIOKI_RADIUS": radius}
    settings = Settings.read({"TSUKURIOKI_DATA": str(tmp_path), **known})
    holder = IndexHolder(settings.store_options, deck.id, lambda: 0.0)
    assert bool(holder.bring_up(deck)) == (what in ("other", "shorter", "radius", "gone"))
    served = holder()
    assert served is not None
    assert {(e.key, e.variant): served.get(e.query.raw_key, e.variant) for e in expected} == bodies(
        expected
    )
    assert served.meta().entries == len(expected)
    assert served.meta().radius == int(radius)
    assert (identity(index) == before) == (what in ("nothing", "torn"))
    assert log.read_bytes() == b"".join(e.to_line() for e in expected)


@pytest.mark.parametrize("what", ["changed", "time kept", "as young as its index", "index gone"])
def test_a_start_reads_a_log_again_unless_its_time_shows_that_it_is_the_same(
    store: Path, deck: Deck, tmp_path: Path, what: str
) -> None:
    """A start trusts the time of a log that is older than its index: only a log with another time, or
    as young as the index, is compared with it whole. What is served is whole in any case."""
    made = entries_of(deck, 6)
    append(store, deck, made)
    log, index = log_path(store, deck.id), index_path(store, deck.id)
    long_ago = log.stat().st_mtime_ns - 10**10
    os.utime(log, ns=(long_ago, long_ago))
    bring_up(store, deck)
    before = contents(store, deck)
    settings = Settings.read({"TSUKURIOKI_STORE": str(store), "TSUKURIOKI_DATA": str(tmp_path)})
    holder = IndexHolder(settings.store_options, deck.id, lambda: 0.0)
    # A changed letter, the size kept.
    log.write_bytes(log.read_bytes().replace("詩3".encode(), "詩X".encode()))
    if what != "changed":
        os.utime(log, ns=(long_ago, long_ago))
    if what == "as young as its index":
        os.utime(index, ns=(long_ago, long_ago))
    elif what == "index gone":
        index.unlink()
    trusted = what == "time kept"
    assert (not holder.bring_up(deck)) == trusted
    left_out = () if trusted else (made[3].key,)
    assert contents(store, deck) == {
        name: body for name, body in before.items() if name[0] not in left_out
    }


@pytest.mark.parametrize("copied", [0, sealed.COPIED])
def test_a_forked_process_looks_up_without_growing(
    store: Path, deck: Deck, tmp_path: Path, copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was forked from the one that opened an index finds all that it found, and twenty
    thousand lookups leave nothing behind, in the file's copy or, if it is large, the file itself."""
    monkeypatch.setattr(sealed, "COPIED", copied)
    made = entries_of(deck, 20)
    append(store, deck, made)
    bring_up(store, deck)
    known = {"TSUKURIOKI_DATA": str(tmp_path), "TSUKURIOKI_STORE": str(store)}
    holder = IndexHolder(Settings.read(known).store_options, deck.id, lambda: 0.0)

    def look(keys: list[bytes]) -> bool:
        index = holder()
        return index is not None and all(index.get(key) is not None for key in keys)

    def child() -> None:
        holder.forked()
        keys = [one.query.raw_key for one in made] * 100
        found = look(keys)
        before = psutil.Process().memory_info().rss
        for _ in range(10):
            found = found and look(keys)
        # A kilobyte for each lookup would be 20 MB.
        os._exit(0 if found and psutil.Process().memory_info().rss - before < 4 << 20 else 1)

    worker = multiprocessing.get_context("fork").Process(target=child)
    worker.start()
    worker.join(PATIENCE)
    assert worker.exitcode == 0
    assert look([one.query.raw_key for one in made])


# A folder that cannot be written, a disk that is full


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small tmpfs, where this account may mount one."""
    folder = tmp_path / "small-disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_read_only_folder_can_be_read(mounted: Path, deck: Deck) -> None:
    """On a read-only disk the index answers, and writing is refused in a sentence."""
    store = mounted / "store"
    made = entries_of(deck, 5)
    append(store, deck, made)
    bring_up(store, deck)
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    assert contents(store, deck) == bodies(made)
    with pytest.raises(StoreWriteError, match="cannot be written"):
        LogWriter(store, deck.id)
    with pytest.raises(StoreWriteError, match="cannot be written"):
        IndexWriter(store, deck, radius=2)


def test_a_full_disk_keeps_every_whole_batch(mounted: Path, deck: Deck) -> None:
    """Where the disk fills up, what was appended before is safe and what failed leaves no trace."""
    store = mounted / "store"
    made = entries_of(deck, 600)
    kept = 0
    with LogWriter(store, deck.id) as log:
        with pytest.raises(StoreWriteError, match="the disk is full") as told:  # noqa: PT012 it is the count that matters
            for start in range(0, 600, 7):
                log.append([entry(e.query, "詩" * 2000) for e in made[start : start + 7]])
                kept += 7
        assert f"the {log.size} bytes written before are safe" in str(told.value)
    assert 0 < kept < 600
    found = list(read_log(log_path(store, deck.id)))
    assert all(isinstance(item, Record) for item in found)
    assert len(found) == kept


def test_a_full_disk_stops_the_index_with_a_sentence(mounted: Path, deck: Deck) -> None:
    """An index that finds no room says so; after making room it is brought up."""
    store = mounted / "store"
    append(store, deck, [entry(e.query, "詩" * 100) for e in entries_of(deck, 300)])
    ballast = mounted / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    with pytest.raises(StoreWriteError):
        bring_up(store, deck)
    ballast.unlink()
    bring_up(store, deck)
    assert len(contents(store, deck)) == 300


def test_an_index_is_published_also_where_no_file_can_be_given_a_second_name(
    store: Path, deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems cannot link: the same index is published, again and again, by one writer."""

    def unable(*args: Any, **words: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", unable)
    made = entries_of(deck, 90)
    with IndexWriter(store, deck) as index:
        for start in range(0, 90, 30):
            append(store, deck, made[start : start + 30])
            index.catch_up()
            assert contents(store, deck) == bodies(made[: start + 30])


@pytest.mark.parametrize("earlier", [0, 40])
def test_an_index_that_an_error_stopped_half_way_is_whole_the_next_time(
    store: Path, deck: Deck, earlier: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error between two rows the same writer has every entry once, be the index new or not."""
    made = entries_of(deck, 100)
    append(store, deck, made[:earlier])
    bring_up(store, deck)
    append(store, deck, made[earlier:])
    put, calls = StockWriter.put, itertools.count()

    def full(*args: Any, **words: Any) -> None:
        if next(calls) == 7:
            raise lmdb.DiskError("no room")
        put(*args, **words)

    with LogWriter(store, deck.id), IndexWriter(store, deck) as index:
        with monkeypatch.context() as patched:
            patched.setattr(StockWriter, "put", full)
            with pytest.raises(StoreWriteError, match="no room"):
                index.catch_up()
        assert len(contents(store, deck)) == earlier
        meta = index.catch_up()
    assert (meta.entries, meta.plays, meta.lines) == (100, 100, 100)
    assert contents(store, deck) == bodies(made)


def test_a_full_disk_can_be_read(mounted: Path, deck: Deck) -> None:
    """An index that was copied without its lock file is read on a disk that has no room for one."""
    store = mounted / "store"
    made = entries_of(deck, 50)
    append(store, deck, made)
    bring_up(store, deck)
    for path in store.glob("*-lock"):
        path.unlink()
    with (mounted / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    words = (
        "import sys; from pathlib import Path; from app.store.index import Index\n"
        "print(len(list(Index(Path(sys.argv[1]), 'small').keys())))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", words, str(store)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "50\n"


def test_other_write_faults_are_named(
    store: Path, deck: Deck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An append that fails for another reason is taken back, and the reason told."""
    made = entries_of(deck, 2)

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with LogWriter(store, deck.id) as log:
        log.append(made[:1])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", broken)
            with pytest.raises(StoreWriteError, match="writing failed: Input/output error"):
                log.append(made[1:])
        log.append(made[1:])
    found = [r.entry for r in read_log(log_path(store, deck.id)) if isinstance(r, Record)]
    assert found == made


# The contract, whatever happens in whatever order


class StoreMachine(RuleBasedStateMachine):
    """Append, tear, reopen, rebuild: the index always says what the log says."""

    deck: Deck

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.deck = small_deck(self.folder / "small")
        self.store = self.folder / "store"
        self.model: dict[tuple[str, int], Entry] = {}
        self.pool = entries_of(self.deck, 40)
        self.current = True

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    @rule(
        numbers=st.lists(st.integers(0, 39), max_size=6),
        variant=st.integers(0, 2),
        source=st.sampled_from(["gemini", "composer", "ollama", "strange"]),
        text=st.text(alphabet="詩歌", max_size=3),
    )
    def append(self, numbers: list[int], variant: int, source: str, text: str) -> None:
        made = [entry(self.pool[n].query, text, variant, source) for n in numbers]
        append(self.store, self.deck, made)
        for one in made:
            old = self.model.get((one.key, variant))
            if old is None or _rank(one) <= _rank(old):
                self.model[one.key, variant] = one
        self.current = self.current and not made

    @rule(tail=st.binary(min_size=1, max_size=40).filter(lambda b: b"\n" not in b))
    def tear(self, tail: bytes) -> None:
        self.store.mkdir(exist_ok=True)
        with log_path(self.store, self.deck.id).open("ab") as file:
            file.write(tail)

    @rule()
    def bring_up(self) -> None:
        bring_up(self.store, self.deck)
        self.current = True

    @rule()
    def lose_the_index(self) -> None:
        for path in self.store.glob("*.lmdb*"):
            path.unlink()
        self.current = False

    @precondition(lambda self: self.current and index_path(self.store, self.deck.id).exists())
    @invariant()
    def the_index_says_what_the_log_says(self) -> None:
        assert contents(self.store, self.deck) == bodies(list(self.model.values()))
        index = Index(self.store, self.deck.id)
        assert index.meta().entries == len(self.model)
        for one in self.model.values():
            records = records_of(index.content("hands", one.query.raw_hand_key) or b"")
            hashes = b"".join(phrase_hash(phrase) for _, phrase in one.query.picks)
            if one.variant == 0:
                assert bytes.fromhex(one.key) + hashes in records
        index.close()


def _rank(one: Entry) -> int:
    order = DEFAULT_ORDER
    return order.index(one.source) if one.source in order else len(order)


TestStoreContract = StoreMachine.TestCase
TestStoreContract.settings = settings(
    max_examples=20, stateful_step_count=15, suppress_health_check=[HealthCheck.too_slow]
)


def test_an_index_continued_is_the_index_replayed(store: Path, deck: Deck) -> None:
    """Brought up in ten steps or in one, an index holds the same bytes and the same stock."""
    rng = random.Random(5)
    hand = [deck.cards_by_category[f"分類{i}"][0] for i in range(5)]
    plays = list(deck.plays_of_hand(hand))
    rng.shuffle(plays)
    for start in range(0, 240, 24):
        append(store, deck, [entry(query) for query in plays[start : start + 24]])
        bring_up(store, deck)
    continued, index = contents(store, deck), Index(store, deck.id)
    meta, stocked = index.meta(), index.stocked(0)
    index.close()
    for path in store.glob("*.lmdb*"):
        path.unlink()
    bring_up(store, deck)
    assert contents(store, deck) == continued
    index = Index(store, deck.id)
    assert index.stocked(0) == stocked
    assert (index.meta().stocked_hands, index.meta().stocked_plays) == (1, 243)
    assert (meta.entries, meta.plays, meta.lines) == (240, 240, 240)
    index.close()
