"""What is recorded is never asked for again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest
from google import genai
from google.genai import types

from tests.making import Server
from tests.web.clients.processes import NODE_MODULES, needs_npm, run
from tests.web.clients.services import Services

REQUESTS, TIMES = 100, 2
MODEL = "replayed-x"

Ask = Callable[[str], str | None]


@contextmanager
def by_openai(url: str) -> Iterator[Ask]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client:

        def ask(text: str) -> str | None:
            told = client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": text}]
            )
            return told.choices[0].message.content

        yield ask


@contextmanager
def by_ollama(url: str) -> Iterator[Ask]:
    made: Any = ollama.Client(host=url, trust_env=False)
    with closing(made) as client:
        yield lambda text: client.generate(MODEL, text).response


@contextmanager
def by_gemini(url: str) -> Iterator[Ask]:
    options = types.HttpOptions(base_url=url)
    with closing(genai.Client(api_key="x", http_options=options)) as client:
        yield lambda text: client.models.generate_content(model=MODEL, contents=text).text


@pytest.mark.long
def test_no_upstream_request_at_all(dropin: Server, upstream: Services) -> None:
    """100 requests are recorded once, and replayed twice by each client without the upstream."""
    questions = [f"question {number}" for number in range(REQUESTS)]
    before = len(upstream.paths)
    with ExitStack() as stack:
        makers = (by_openai, by_ollama, by_gemini)
        clients = [stack.enter_context(make(dropin.url)) for make in makers]
        first = [clients[0](question) for question in questions]
        assert len(upstream.paths) == before + REQUESTS
        for ask in clients:
            for _ in range(TIMES):
                assert [ask(question) for question in questions] == first
    assert len(upstream.paths) == before + REQUESTS


@needs_npm
@pytest.mark.long
def test_no_upstream_request_by_the_clients_of_npm(dropin: Server, upstream: Services) -> None:
    """100 requests of each npm client, twice: each is asked of the upstream once, by whichever client."""
    words = (dropin.url, NODE_MODULES.parent, "replayed-npm", REQUESTS, TIMES)
    before = len(upstream.paths)
    told = json.loads(run("node", Path(__file__).parent / "npm_replays.cjs", *words))
    assert len(upstream.paths) == before + REQUESTS
    assert [client["same"] for client in told.values()] == [True] * 3
    assert told["openai"]["first"] == told["ollama"]["first"] == told["gemini"]["first"]
