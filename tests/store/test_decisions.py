"""Decisions in the log: what is in force, for the index, for whoever reads the log, for compact."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import StoreLockedError, StoreWriteError
from app.kinds.cards.deck import Deck
from app.settings import Settings
from app.store import index_writer, sorting
from app.store.answer import exact_body
from app.store.decision import APPROVED, DELETED, REJECTED, REOPENED, WITHDRAWN, Decision
from app.store.entry import Bill, Entry, Usage
from app.store.in_force import in_force, rejected_texts
from app.store.index import Index
from app.store.index_writer import IndexWriter
from app.store.log import LogWriter, append_without_lock, log_path
from app.store.options import StoreOptions
from app.store.sources import DEFAULT_ORDER, EDITED
from precompute.cook.refresh import served_entries
from precompute.plan.strategies import plan_stock
from precompute.review.compact import compact
from tests.making import entry, small_deck

ORDER = DEFAULT_ORDER
SOURCES = ("gemini", "composer", "ollama")


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Deck:
    """Two hands of four plays each."""
    folder = tmp_path_factory.mktemp("decks") / "small"
    return small_deck(folder, categories=2, each=2, phrases=2, size=2)


def random_lines(deck: Deck, rng: Random, length: int) -> list[Entry]:
    """A log of cooked answers and of every decision about any text before, in any order."""
    queries = [job.query for job, _ in zip(plan_stock(deck, 0, 0), range(8), strict=False)]
    number = count()
    lines: list[Entry] = []
    for _ in range(length):
        at = f"2026-01-01T00:00:{next(number):02}Z"
        before = rng.choice(lines) if lines and rng.random() < 0.6 else None
        if before is None:
            cooked = entry(rng.choice(queries), f"text {at}", source=rng.choice(SOURCES))
            lines.append(replace(cooked, created=at))
            continue
        verdict = rng.choice((APPROVED, REOPENED, EDITED, REJECTED, DELETED, WITHDRAWN))
        line = replace(before, decision=Decision(verdict, at))
        if verdict == EDITED:
            line = replace(
                line, source=EDITED, created=at, response={"title": "t", "poem": f"edit {at}"}
            )
        if verdict == DELETED:
            line = replace(line, response={})
        lines.append(line)
    return lines


def put(store: Path, deck: Deck, lines: list[Entry], rng: Random, *, approved: bool) -> None:
    """Write lines into a log in several appends, the index following each."""
    with LogWriter(store, deck.id) as log:
        rest = lines
        while rest:
            some, rest = rest[: (cut := rng.randrange(1, 17))], rest[cut:]
            log.append(some)
            with IndexWriter(store, deck, ORDER, 0, approved=approved) as index:
                index.catch_up()


def contents(store: Path, deck: Deck) -> dict[str, object]:
    """Everything that an index says."""
    index = Index(store, deck.id)
    meta = index.meta()
    origins = {(source, model): n for source, model, n in meta.origins if n}
    hands = {
        job.query.hand_key: sorted(
            (index.content("hands", job.query.raw_hand_key) or b"")[i : i + 32]
            for i in range(1, len(index.content("hands", job.query.raw_hand_key) or b""), 32)
        )
        for job in plan_stock(deck, 0, 0)
    }
    found: dict[str, object] = {
        "answers": {
            name: index.get(bytes.fromhex(name[0]), name[1]) for name in index.keys("answers")
        },
        "held": set(index.keys("held")),
        "stock": sorted(index.stocked(n) for n in range(meta.stocked_hands)),
        "counts": (meta.entries, meta.held, meta.plays, meta.reviewed, meta.stocked_plays, origins),
        "hands": hands,
    }
    index.close()
    return found


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    length=st.integers(1, 40),
    approved=st.booleans(),
    part=st.sampled_from([400, 3_000, 1 << 20]),
)
def test_an_index_has_what_is_in_force(
    deck: Deck,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    length: int,
    approved: bool,
    part: int,
) -> None:
    """Whatever was cooked and decided in whatever order, the index has the texts in force, its hands
    and counts are theirs, and it is the same whether it followed the log or was built from nothing,
    and in however many parts it was sorted."""
    store, rng = tmp_path_factory.mktemp("store"), Random(seed)
    lines = random_lines(deck, rng, length)
    with patch.object(sorting, "_PART", part), patch.object(index_writer, "_BLOCK", part):
        put(store, deck, lines, rng, approved=approved)
    followed = contents(store, deck)
    now = in_force(log_path(store, deck.id), ORDER)
    shown = {
        name: exact_body(orjson.loads(e.to_line()), deck.id)
        for name, e in now.items()
        if not e.gone and (e.approved or not approved)
    }
    assert followed["answers"] == shown
    assert followed["held"] == now.keys() - shown.keys()
    counts = followed["counts"]
    assert isinstance(counts, tuple)
    approved_now = sum(now[name].approved for name in shown)
    assert counts[:4] == (len(shown), len(now) - len(shown), len(shown), approved_now)
    for size in (part, 1 << 20):
        (store / f"{deck.id}.lmdb").unlink()
        with (
            patch.object(sorting, "_PART", size),
            IndexWriter(store, deck, ORDER, 0, approved=approved) as index,
        ):
            index.catch_up()
        assert contents(store, deck) == followed
    compact(StoreOptions(store, "", ORDER, 0, approved), deck, keep=None)
    assert contents(store, deck)["answers"] == shown
    assert contents(store, deck)["held"] == followed["held"]
    texts = log_path(store, deck.id).read_text("utf-8")
    deleted = {name for name, e in now.items() if e.verdict == DELETED}
    for line in lines:
        if line.name in deleted and line.response:
            assert line.response["poem"] not in texts


def test_a_build_sees_what_it_need_not_cook(deck: Deck, tmp_path: Path) -> None:
    """A rejected text is to be cooked; one that waits, was approved or deleted is not."""
    queries = [job.query for job, _ in zip(plan_stock(deck, 0, 0), range(4), strict=False)]
    cooked = [entry(query, source="ollama") for query in queries]
    wanted = {REJECTED: None, DELETED: "reviewed", APPROVED: "reviewed", "": "ollama"}
    decided = [
        replace(one, decision=Decision(verdict, "now"))
        for one, verdict in zip(cooked, wanted, strict=True)
        if verdict
    ]
    for approved in (False, True):
        store = tmp_path / str(approved)
        put(store, deck, [*cooked, *decided], Random(0), approved=approved)
        with IndexWriter(store, deck, ORDER, 0, approved=approved) as index:
            assert [index.source_of(query.key) for query in queries] == [*wanted.values()]


def test_reviewers_append_while_a_build_runs(deck: Deck, tmp_path: Path) -> None:
    """Lines that several reviewers append beside a build are all there, whole, and in the index."""
    queries = [job.query for job in plan_stock(deck, 0, 0)]
    with LogWriter(tmp_path, deck.id) as log, IndexWriter(tmp_path, deck, ORDER, 0) as index:
        log.append([entry(query) for query in queries])
        index.catch_up()

        def review(number: int) -> None:
            for query in queries[number::4]:
                line = replace(entry(query), decision=Decision(REJECTED, "now"))
                append_without_lock(tmp_path, deck.id, [line].copy)
                with IndexWriter(tmp_path, deck, ORDER, 0) as own:
                    own.catch_up()

        threads = [threading.Thread(target=review, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for number, query in enumerate(queries):
            log.append([replace(entry(query, f"again {number}"), created=f"later {number}")])
            index.catch_up()
        for thread in threads:
            thread.join()
        index.catch_up()
    followed = contents(tmp_path, deck)
    (tmp_path / f"{deck.id}.lmdb").unlink()
    with IndexWriter(tmp_path, deck, ORDER, 0) as index:
        index.catch_up()
        assert index.meta().lines == 3 * len(queries)
        assert not index.meta().damaged
    assert contents(tmp_path, deck) == followed


def test_a_torn_tail_does_not_harm_a_decision(deck: Deck, tmp_path: Path) -> None:
    """A decision after a crash stands on a line of its own."""
    query = next(plan_stock(deck, 0, 0)).query
    with LogWriter(tmp_path, deck.id) as log:
        log.append([entry(query)])
    path = log_path(tmp_path, deck.id)
    path.write_bytes(path.read_bytes() + b'{"torn')
    line = replace(entry(query), decision=Decision(REJECTED, "now"))
    append_without_lock(tmp_path, deck.id, lambda: [line])
    assert [e.verdict for e in in_force(path, ORDER).values()] == [REJECTED]
    assert (tmp_path / f"{deck.id}.torn").read_bytes() == b'{"torn\n'


def test_a_rejection_that_was_taken_back_rejects_nothing(deck: Deck, tmp_path: Path) -> None:
    """A text that was rejected and then approved may be cooked again."""
    query = next(plan_stock(deck, 0, 0)).query
    lines = [replace(entry(query), decision=Decision(v, "now")) for v in (REJECTED, APPROVED)]
    append_without_lock(tmp_path, deck.id, lambda: lines[:1])
    assert [*rejected_texts(log_path(tmp_path, deck.id))[query.key, 0]] == lines[:1]
    append_without_lock(tmp_path, deck.id, lambda: lines[1:])
    assert not rejected_texts(log_path(tmp_path, deck.id))[query.key, 0]


def test_compacting_keeps_the_bill_and_the_old_log_until_the_new_is_whole(
    deck: Deck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was paid stays paid; if any step fails, the log is the old one, byte for byte."""
    query = next(plan_stock(deck, 0, 0)).query
    paid = [
        replace(entry(query, f"text {n}"), created=f"{n}", cost_usd=0.25, usage=Usage(n, n))
        for n in range(4)
    ]
    put(tmp_path, deck, paid, Random(0), approved=False)
    with LogWriter(tmp_path, deck.id) as log:
        log.append([Bill("gemini", "m", "now", Usage(1, 1), 0.5)])
    path = log_path(tmp_path, deck.id)
    options, before = StoreOptions(tmp_path, "", ORDER, 0), path.read_bytes()
    for step in ("fsync", "link"):
        with monkeypatch.context() as broken:
            broken.setattr(f"app.store.log.os.{step}", _no_space)
            with pytest.raises(StoreWriteError):
                compact(options, deck, keep=None)
        assert path.read_bytes() == before
    with LogWriter(tmp_path, deck.id), pytest.raises(StoreLockedError):
        compact(options, deck, keep=None)
    done = compact(options, deck, keep=tmp_path / "kept")
    assert done.lines == (5, 2)
    index = Index(tmp_path, deck.id)
    assert (index.meta().cost_usd, index.meta().tokens) == (1.5, 14)
    index.close()
    assert (tmp_path / "kept").read_bytes() == before
    (now,) = in_force(path, ORDER).values()
    assert (now.cost_usd, now.usage) == (1.0, Usage(6, 6))
    assert sorted(one.name for one in tmp_path.glob("*.new")) == []


def _no_space(*arguments: object) -> None:
    raise OSError(28, "No space left on device")


def test_bills_and_decisions_hide_no_served_entry(deck: Deck, tmp_path: Path) -> None:
    """Whatever lines stand between them, all entries that are served are found in the log."""
    queries = [job.query for job in plan_stock(deck, 0, 0)]
    with LogWriter(tmp_path, deck.id) as log, IndexWriter(tmp_path, deck) as index:
        for number, query in enumerate(queries):
            log.append([Bill("gemini", "m", "now", Usage(1, 1), 0.5), entry(query)])
            if number % 2:
                log.append([replace(entry(query), decision=Decision(APPROVED, "now"))])
        index.catch_up()
    found = served_entries(Settings.read({"TSUKURIOKI_STORE": str(tmp_path)}), deck)
    assert [one.query for one in found] == queries
