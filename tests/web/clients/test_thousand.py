"""A thousand prompts, recorded once by two workers, replayed by every client: nothing more is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import ollama
import openai
import pytest
from google import genai
from google.genai import types

from demo.standins import StandIns, stand_ins
from tests.making import Server, serving, write_json

PROMPTS = 1000
TIMES = 10
MODEL = "m"


def prompt(number: int) -> str:
    """A prompt; no other is like it."""
    return f"Describe dish {number} for a guest of {number % 7} years"


Ask = Callable[[str], str]


@contextmanager
def with_openai(url: str) -> Iterator[Ask]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:

        def ask(text: str) -> str:
            said = client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": text}]
            )
            return said.choices[0].message.content or ""

        yield ask


@contextmanager
def with_ollama(url: str) -> Iterator[Ask]:
    client = ollama.Client(host=url, timeout=60, trust_env=False)
    with client._client:

        def ask(text: str) -> str:
            said = client.chat(model=MODEL, messages=[{"role": "user", "content": text}])
            return said.message.content or ""

        yield ask


@contextmanager
def with_gemini(url: str) -> Iterator[Ask]:
    with genai.Client(api_key="any", http_options=types.HttpOptions(base_url=url)) as client:

        def ask(text: str) -> str:
            return client.models.generate_content(model=MODEL, contents=text).text or ""

        yield ask


CLIENTS = {"openai": with_openai, "ollama": with_ollama, "gemini": with_gemini}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, StandIns]]:
    """Two workers that record what is not recorded yet, each prompt asked four times at once."""
    folder: Path = tmp_path_factory.mktemp("thousand")
    write_json(folder / "data" / "decks" / "recorded" / "deck.json", {"kind": "prompts", "id": "recorded"})  # fmt: skip
    with stand_ins() as models:
        settings = {
            "TSUKURIOKI_DATA": folder / "data",
            "TSUKURIOKI_WORKERS": 2,
            **models.environment(),
        }
        with serving({**settings, "TSUKURIOKI_MODE": "auto"}, folder / "server.log") as server:
            asked = [prompt(number) for number in range(PROMPTS) for _ in range(4)]
            with (
                httpx.Client(base_url=server.url, timeout=60) as client,
                ThreadPoolExecutor(8) as pool,
            ):

                def record(text: str) -> int:
                    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
                    return client.post("/v1/chat/completions", json=body).status_code

                assert set(pool.map(record, asked)) == {200}
            yield server, models


@pytest.mark.long
@pytest.mark.parametrize("name", CLIENTS)
def test_a_recorded_prompt_is_asked_upstream_once_and_never_again(
    kitchen: tuple[Server, StandIns], name: str
) -> None:
    """A thousand requests upstream for four thousand; and none for ten thousand replays."""
    server, models = kitchen
    assert len(models.asked) == PROMPTS
    with CLIENTS[name](server.url) as ask:
        replies = [ask(prompt(number)) for number in range(PROMPTS)]
        assert all(f"dish {number} for" in said for number, said in enumerate(replies))
        assert len(set(replies)) == PROMPTS
        for _ in range(TIMES - 1):
            assert [ask(prompt(number)) for number in range(PROMPTS)] == replies
    assert len(models.asked) == PROMPTS
