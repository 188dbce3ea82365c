"""The pages of figures: written by the bench, the same in both languages."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench import docs

RESULT: dict[str, Any] = {
    "started": "2030-02-03T04:05:06Z",
    "speed": {
        "rows": [
            {"name": name, "rate": 1_000 + n, "cpu_us": 1.5 * n, "p99_us": 10 * n, "failed": n % 3}
            | {"times_rivals": n / 2 if n % 2 else None}
            | ({"ratio": n / 7} if n else {})
            for n, name in enumerate([*docs.ROWS, "somebody new"])
        ]
    },
    "scale": {
        "rows": [dict.fromkeys(docs.SCALE, size) for size in (7_000, 80_000)],
        "service": {
            "start_s": 1.25,
            "smallest_start_s": 0.5,
            "at_start_mb": 61.5,
            "smallest_mb": 31.75,
            "service_mb": 91.5,
            "worker_private_mb": 18.25,
        },
    },
}  # fmt: skip


@pytest.fixture
def pages(tmp_path: Path) -> list[Path]:
    """Copies of both pages."""
    names = ("performance.md", "performance.ja.md")
    return [Path(shutil.copy(docs.DOCS / name, tmp_path)) for name in names]


def figures(page: Path) -> list[list[str]]:
    """The numbers of each row of a page's tables, and of the lines below them."""
    blocks = re.findall(r"<!-- figures: \w+ -->\n(.*?)<!-- end -->", page.read_text(), re.DOTALL)
    assert len(blocks) == 2
    lines = "".join(blocks).splitlines()
    # The first cell of a row is its name.
    return [re.findall(r"[\d,.]*\d", line.partition(" | ")[2] or line) for line in lines]


def test_both_pages_have_the_same_figures() -> None:
    """What the English page says, the Japanese one says."""
    english, japanese = (
        figures(docs.DOCS / name) for name in ("performance.md", "performance.ja.md")
    )
    assert english == japanese
    assert sum(map(len, english)) > 50


def test_a_run_is_written_into_both_pages(pages: list[Path]) -> None:
    """Each row of a run stands in both, and writing the run once more changes nothing."""
    docs.write(RESULT, pages[0].parent)
    assert figures(pages[0]) == figures(pages[1])
    for page in pages:
        text = page.read_text()
        assert text.count("1,018") == 1
        assert all(part in text for part in ("somebody new", "80,000", "91.5", "2030-02-03"))
        docs.write(RESULT, page.parent)
        assert page.read_text() == text


def test_what_a_run_did_not_measure_stays(pages: list[Path]) -> None:
    """A run of speed alone leaves the table of growth, and all other text, as they were."""
    before = [page.read_text() for page in pages]
    docs.write({name: RESULT[name] for name in ("started", "speed")}, pages[0].parent)
    for page, old in zip(pages, before, strict=True):
        kept, _, _ = old.partition("<!-- figures: speed -->")
        _, end, rest = old.partition("<!-- end -->")
        text = page.read_text()
        assert text != old
        assert text.startswith(kept)
        assert text.endswith(end + rest)
