"""Clients in processes of their own: the `llm` command, LangChain's integrations, those of npm."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.making import REPO, Server
from tests.web.clients.processes import NODE_MODULES, needs_npm, run
from tests.web.clients.services import ANSWER, CALLED, Services

pytestmark = pytest.mark.xdist_group("clients")

HERE = Path(__file__).parent


def missing(*names: str) -> bool:
    return not all(importlib.util.find_spec(name) for name in names)


@pytest.mark.long
@pytest.mark.skipif(missing("llm"), reason="the llm command is missing: pip install llm")
def test_the_llm_command(dropin: Server, tmp_path: Path) -> None:
    """`llm` talks to a character, and to a recorded model with a conversation that goes on."""
    models = [
        {"model_id": name, "model_name": model, "api_base": f"{dropin.url}/v1"}
        for name, model in (("botan", "botan"), ("recorded-x", "gpt-x"))
    ]
    # JSON is YAML.
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(models))

    def llm(*words: str) -> str:
        settings = {"LLM_USER_PATH": tmp_path, "PYTHONWARNINGS": "ignore"}
        return run(sys.executable, "-m", "llm", *words, **settings)

    assert llm("-m", "botan", "こんにちは").strip()
    assert "one by llm" in llm("-m", "recorded-x", "one by llm")
    assert "after 3 turns" in llm("-m", "recorded-x", "-c", "two by llm")


def checked(told: dict[str, Any]) -> None:
    """What a client got is the same whole, streamed and otherwise, and tools are called."""
    assert "turns" in told["whole"]
    assert told["streamed"] == told["later"] == told["whole"]
    assert told["tool"] == CALLED


@pytest.mark.long
@pytest.mark.skipif(
    missing("langchain_openai", "langchain_ollama", "langchain_google_genai"),
    reason="LangChain is missing: pip install langchain-openai langchain-ollama langchain-google-genai",
)
def test_langchain(dropin: Server, upstream: Services) -> None:
    """Each integration: whole, streamed, asynchronous, tools, structured; a second run is replayed."""
    script = HERE / "langchain_client.py"

    def ask() -> dict[str, Any]:
        words = (sys.executable, "-W", "ignore", script, dropin.url)
        told: dict[str, Any] = json.loads(run(*words, PYTHONPATH=REPO))
        return told

    for name, told in ask().items():
        checked(told)
        assert "rain in 京都" in told["after"], name
        assert told["dish"] == ANSWER, name
        assert told["tokens"] == 12, name
        assert told["character"], name
    before = len(upstream.paths)
    assert ask()["openai"]["dish"] == ANSWER
    assert len(upstream.paths) == before


@needs_npm
def test_the_clients_of_npm(dropin: Server, upstream: Services) -> None:
    """Each client: whole, streamed, tools, embeddings, lists, misses; a time-out is its own."""
    with upstream.slow():
        script = HERE / "npm_clients.cjs"
        told = json.loads(run("node", script, dropin.url, NODE_MODULES.parent))
    for client in told.values():
        checked(client)
        assert client["vector"] == [2, 0.5, -0.25]
        assert client["listed"] is True
        assert client["miss"] == 404
    assert told["openai"]["late"] == "APIConnectionTimeoutError"
