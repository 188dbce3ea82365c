"""The tests themselves: what their arrangement relies on."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("groups")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_groups_of_tests_are_heeded() -> None:
    """Tests that share a server are in one process; with pytest 9.2 and xdist 3.8 they are not."""
    assert "@groups" in os.environ["PYTEST_CURRENT_TEST"]
