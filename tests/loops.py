"""Coroutines in tests, whatever else runs in the process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run(coroutine: Coroutine[object, object, T]) -> T:
    """What a coroutine gives.

    It runs in a thread of its own: where an earlier test opened a browser, the main thread has an
    event loop until the last test, and `asyncio.run` fails there.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
