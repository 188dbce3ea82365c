"""What is checked once."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.checked import Checked
from app.errors import DeckError


def test_what_was_found_in_order_is_not_checked_again(tmp_path: Path) -> None:
    """A check that passed is not made again, in this process or another; any other is."""
    made: list[str] = []
    file = tmp_path / "ledger" / "checked"
    for digest in ("a1", "a1", "b2", "a1"):
        Checked(file).once(digest, lambda digest=digest: made.append(digest))  # type: ignore[misc]
    assert made == ["a1", "b2"]


def test_a_fault_is_told_every_time(tmp_path: Path) -> None:
    """A check that fails is made again."""

    def fail() -> None:
        raise DeckError("intents.json", "intent hello", "not an expression")

    for _ in range(2):
        with pytest.raises(DeckError):
            Checked(tmp_path / "checked").once("a1", fail)


def test_where_nothing_can_be_noted_it_is_checked_every_time(tmp_path: Path) -> None:
    """A file that can be neither read nor written stops no start."""
    made: list[str] = []
    for _ in range(2):
        Checked(tmp_path).once("a1", lambda: made.append("a1"))
    assert made == ["a1", "a1"]
