"""Fixtures for tests that ask a provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import Booth, poem_deck
from tests.standin import StandIn


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """A server that answers well."""
    with StandIn(poem_deck()) as server:
        yield server


@pytest.fixture
def booth(tmp_path: Path, stand_in: StandIn) -> Booth:
    """A store beside that server."""
    return Booth(tmp_path, stand_in)
