"""The booth while a model writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.kinds.chat.standin import Ollama, ollama_handler, served
from tests.web.booth.conftest import PHONE, Server
from tests.web.booth.player import at_card, begin, screen, until


@pytest.mark.long
def test_the_booth_says_that_an_answer_is_being_written(
    visit: Callable[..., Any], new_server: Callable[..., Server]
) -> None:
    """While a model writes the page says so, and after its deadline the next tier's answer is shown."""
    state = Ollama(fault="hang")
    with served(ollama_handler(state)) as address:
        booth = new_server(
            TSUKURIOKI_TIERS="local,template",
            TSUKURIOKI_DEADLINE="6",
            TSUKURIOKI_OLLAMA_FREE_MB="0",
            OLLAMA_HOST=address,
        )
        page = visit(booth, **PHONE)
        begin(page, "touch")
        for at in range(5):
            at_card(page, at + 1)
            page.keyboard.press("1")
        screen(page, "wait")
        assert state.asking.wait(10)
        until(
            page,
            "document.querySelector('.beat').textContent === 'ただいま、筆を走らせております。'",
        )
        state.release.set()
        screen(page, "flyer")
