"""What is recorded is never asked for again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import ollama
import openai
import pytest
from google import genai
from google.genai import types

from tests.making import Server
from tests.web.clients.processes import NODE_MODULES, needs_npm, run
from tests.web.clients.services import Services

REQUESTS, TIMES = 200, 5
MODEL = "replayed-x"

Ask = Callable[[str], str | None]


def by_openai(url: str) -> Ask:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="x")

    def ask(text: str) -> str | None:
        told = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}]
        )
        return told.choices[0].message.content

    return ask


def by_ollama(url: str) -> Ask:
    client = ollama.Client(host=url, trust_env=False)
    return lambda text: client.generate(MODEL, text).response


def by_gemini(url: str) -> Ask:
    client = genai.Client(api_key="x", http_options=types.HttpOptions(base_url=url))
    return lambda text: client.models.generate_content(model=MODEL, contents=text).text


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_no_upstream_request_at_all(dropin: Server, upstream: Services) -> None:
    """200 requests are recorded once, and replayed five times by each client without the upstream."""
    questions = [f"question {number}" for number in range(REQUESTS)]
    clients = [make(dropin.url) for make in (by_openai, by_ollama, by_gemini)]
    before = len(upstream.paths)
    first = [clients[0](question) for question in questions]
    assert len(upstream.paths) == before + REQUESTS
    for ask in clients:
        for _ in range(TIMES):
            assert [ask(question) for question in questions] == first
    assert len(upstream.paths) == before + REQUESTS


@needs_npm
@pytest.mark.long
def test_no_upstream_request_by_the_clients_of_npm(dropin: Server, upstream: Services) -> None:
    """200 requests of each npm client, five times: each is asked of the upstream once, by whichever client."""
    words = (dropin.url, NODE_MODULES.parent, "replayed-npm", REQUESTS, TIMES)
    before = len(upstream.paths)
    told = json.loads(run("node", Path(__file__).parent / "npm_replays.cjs", *words))
    assert len(upstream.paths) == before + REQUESTS
    assert [client["same"] for client in told.values()] == [True] * 3
    assert told["openai"]["first"] == told["ollama"]["first"] == told["gemini"]["first"]
