"""Journals: the ledger and the votes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.ledger.journal import Journal, JournalReader, journal_path, read_journal
from app.ledger.votes import DISLIKED_FROM, VoteBox, VoteCounts, disliked

LIMIT = 1 << 20


def _write(folder: Path, writer: int, count: int) -> None:
    journal = Journal(folder, "deck", LIMIT)
    for number in range(count):
        journal.append({"writer": writer, "number": number, "text": "詩" * 40})


def news(reader: JournalReader) -> tuple[bool, list[dict[str, Any]]]:
    """What is new, read."""
    again, lines = reader.new_lines()
    return again, list(lines)


def test_many_writers(tmp_path: Path) -> None:
    """Lines of several processes that write at once are all there, and all whole."""
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, w, 300)) for w in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = {(line["writer"], line["number"]) for line in read_journal(tmp_path, "deck")}
    assert found == {(w, n) for w in range(4) for n in range(300)}


def test_bounded(tmp_path: Path) -> None:
    """A journal never outgrows its limit by much, and what is newest is kept."""
    limit = 64 << 10
    journal = Journal(tmp_path, "deck", limit)
    for number in range(3000):
        journal.append({"number": number, "text": "x" * 100})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= limit + (64 << 10)
    numbers = [line["number"] for line in read_journal(tmp_path, "deck")]
    assert numbers == list(range(numbers[0], 3000))


def test_workers_that_turn_a_journal_at_once_lose_nothing(tmp_path: Path) -> None:
    """However many workers find a journal half full at once, each line is written, and what is set aside
    was half full."""
    limit = 8 << 10
    # Each is a worker's own.
    journals = [Journal(tmp_path, "deck", limit) for _ in range(8)]

    def write(journal: Journal) -> list[bool]:
        return [journal.append({"number": number, "text": "x" * 200}) for number in range(800)]

    with ThreadPoolExecutor(len(journals)) as pool:
        written = [done for each in pool.map(write, journals) for done in each]
    assert written == [True] * (len(journals) * 800)
    assert journal_path(tmp_path, "deck.1").stat().st_size >= limit // 2


def test_a_reader_follows(tmp_path: Path) -> None:
    """A reader is given each line once, and all of them again after the journal was set aside."""
    limit = 32 << 10
    journal = Journal(tmp_path, "deck", limit)
    reader = JournalReader(tmp_path, "deck")
    assert news(reader) == (False, [])
    journal.append({"n": 1})
    assert [line["n"] for line in reader.new_lines()[1]] == [1]
    journal.append({"n": 2})
    assert news(reader) == (False, [{"n": 2}])
    assert news(reader) == (False, [])
    for number in range(3, 400):
        journal.append({"n": number, "text": "x" * 100})
    again, lines = reader.new_lines()
    assert again
    assert [line["n"] for line in lines][-1] == 399


def test_lines_set_aside_are_counted_once(tmp_path: Path) -> None:
    """However often somebody looks while the journal is empty beside the one before it, each of its
    lines counts once."""
    aside = journal_path(tmp_path, "deck.votes.1")
    aside.write_bytes(b'{"vote":"up"}\n' * 3)
    counts = VoteCounts(tmp_path, "deck")
    assert [counts.totals()["up"] for _ in range(3)] == [3] * 3
    VoteBox(tmp_path, "deck").vote("k", 0, "up", "2026-01-02T00:00:00Z")
    assert [counts.totals()["up"] for _ in range(3)] == [4] * 3
    # Set aside, and nothing is written to the new one: the disk is full.
    journal_path(tmp_path, "deck.votes").replace(aside)
    assert [counts.totals()["up"] for _ in range(3)] == [1] * 3


def test_a_foreign_line_is_passed_over(tmp_path: Path) -> None:
    """What is not an object of ours is no reason to lose the rest."""
    journal = Journal(tmp_path, "deck", LIMIT)
    journal.append({"n": 1})
    with journal_path(tmp_path, "deck").open("ab") as file:
        file.write(b"garbage\n[1]\n")
    journal.append({"n": 2})
    assert [line["n"] for line in read_journal(tmp_path, "deck")] == [1, 2]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Where nothing can be written, the line is lost and the caller is told."""
    (tmp_path / "file").write_text("in the way")
    assert Journal(tmp_path / "file", "deck", LIMIT).append({"n": 1}) is False


@pytest.mark.parametrize(
    ("ups", "downs", "expected"),
    [
        (0, DISLIKED_FROM, True),
        (0, DISLIKED_FROM - 1, False),
        (9, 4, False),
        (4, 4, False),
        (3, 4, True),
    ],
)
def test_disliked(tmp_path: Path, ups: int, downs: int, expected: bool) -> None:
    """An answer is disliked from three downs on, where they are more than half of its votes."""
    box = VoteBox(tmp_path, "deck")
    for vote in ["up"] * ups + ["down"] * downs:
        box.vote("k", 0, vote, "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z")
    assert (("k", 0, "2026-01-01T00:00:00Z") in disliked(tmp_path, "deck")) == expected
    totals = VoteCounts(tmp_path, "deck").totals()
    assert (totals["up"], totals["down"], totals["of"]) == (ups, downs, ups + downs)
