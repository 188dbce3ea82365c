"""macOS and Windows, as far as this system can tell: processes, line ends, paths, what is claimed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.kinds.cards.deck import Deck
from app.kinds.decks import load_all
from app.store.index_writer import IndexWriter
from app.store.log import Damage, LogWriter, log_path, read_log
from precompute.cook.kinds import cooking_of
from tests.making import REPO, Precompute, serving
from tests.precompute.decks.test_own_deck import folder_of

DOCUMENTS = [REPO / "docs" / name for name in ("where-it-runs.md", "where-it-runs.ja.md")]
# How macOS starts processes by default: a new Python each, to which everything is sent.
SPAWN = (
    "import multiprocessing; multiprocessing.set_start_method('spawn'); "
    "from app.start import main; raise SystemExit(main())"
)


def test_a_server_starts_where_processes_are_spawned(tmp_path: Path) -> None:
    """Workers are forked, also where the system's default is another: both serve what was loaded once."""
    folder_of("chat", tmp_path / "data" / "decks" / "mine")
    settings = {"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_WORKERS": 2}
    with serving(settings, tmp_path / "log", [sys.executable, "-c", SPAWN]) as server:
        for _ in range(4):
            with server.client() as client:
                assert client.get("/chat").status_code == 200


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte-order mark"])
@pytest.mark.parametrize("kind", ["cards", "chat", "prompts"])
def test_a_deck_with_the_line_ends_of_windows_is_the_same_deck(
    tmp_path: Path, kind: str, mark: bytes
) -> None:
    """Every text file of a deck with CRLF: loaded, and its prompts have the same fingerprints."""
    folder = folder_of(kind, tmp_path / "mine")
    before = load_all(tmp_path)["mine"]
    prints = cooking_of(before).fingerprints()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        text = path.read_bytes()
        assert b"\r" not in text
        path.write_bytes(mark + text.replace(b"\n", b"\r\n"))
    after = load_all(tmp_path)["mine"]
    assert cooking_of(after).fingerprints() == prints


def test_a_log_that_was_copied_as_text_is_the_same_log(
    precompute: Precompute, poem: Deck, tmp_path: Path
) -> None:
    """Line ends of Windows in a log damage no line; the answers are found in the index made of it."""
    precompute("build", "--n", 27)
    log = log_path(tmp_path / "data" / "store", "poem")
    before = list(read_log(log))
    log.write_bytes(log.read_bytes().replace(b"\n", b"\r\n"))
    after = list(read_log(log))
    assert not [item for item in after if isinstance(item, Damage)]
    assert [item.entry for item in after] == [item.entry for item in before]  # type: ignore[union-attr]
    (log.parent / "poem.lmdb").unlink()
    with LogWriter(log.parent, "poem"), IndexWriter(log.parent, poem) as index:
        meta = index.catch_up()
    assert (meta.entries, meta.damaged, meta.stocked_hands) == (27, 0, 1)


def _files() -> list[str]:
    """What a clone of the repository holds."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a clone")
    return done.stdout.splitlines()


def test_every_path_can_be_there_on_every_system() -> None:
    """No reserved names or signs, none that differ in case only, none too long for Windows."""
    paths = _files()
    assert len(paths) > 300
    assert len({path.lower() for path in paths}) == len(paths)
    for path in paths:
        assert path.isascii(), path
        assert len(path) < 120, path
        assert not re.search(r'[<>:"\\|?*\x00-\x1f]', path), path
        for part in path.split("/"):
            assert part.rstrip(". ") == part, path
            assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", part), path


def test_what_is_claimed_has_a_test_and_says_its_limits() -> None:
    """In the table of docs/where-it-runs, each "yes" names a test that is there, each other cell why not."""
    sources = "".join(p.read_text("utf-8") for p in (REPO / "tests").rglob("test_*.py"))
    defined = set(re.findall(r"def (test_\w+)", sources))
    named = []
    for document, words in zip(DOCUMENTS, (("yes", "no"), ("○", "×")), strict=True):
        rows = [line for line in document.read_text("utf-8").splitlines() if line.startswith("| ")]
        cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
        assert len(cells) >= 8
        yes, no = words
        tests = []
        for row in cells:
            assert len(row) == 5
            for cell in row[1:]:
                found = re.findall(r"`(test_\w+)`", cell)
                tests += found
                if cell.startswith(yes):
                    assert found, cell
                else:
                    assert cell.startswith(no), cell
                    assert len(cell) >= len(no) + 3, f"{cell}: why not?"
        assert set(tests) <= defined
        named.append(tests)
    assert named[0] == named[1]
