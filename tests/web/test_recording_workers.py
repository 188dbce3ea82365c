"""Two workers that record at once, over HTTP: each prompt is paid for once, and none is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.standins import stand_ins
from tests.making import Precompute, serving, write_json

PROMPTS, AT_ONCE = 500, 4


@pytest.mark.long
def test_workers_ask_upstream_once_for_each_prompt(tmp_path: Path) -> None:
    """Each prompt is asked four times at once; all get the reply that was recorded for it.

    After that the store has every one of them, and a server without recordings replays them.
    """
    known: dict[str, Any] = {"TSUKURIOKI_DATA": tmp_path / "data", "TSUKURIOKI_WORKERS": 2}
    write_json(
        tmp_path / "data" / "decks" / "recorded" / "deck.json",
        {"kind": "prompts", "id": "recorded"},
    )
    texts = [f"Describe dish {number}" for number in range(PROMPTS) for _ in range(AT_ONCE)]
    with stand_ins() as models:
        settings = {**known, **models.environment(), "TSUKURIOKI_MODE": "auto"}
        with serving(settings, tmp_path / "recording.log") as server:
            said = asked_at_once(server.url, texts)
        assert len(models.asked) == PROMPTS
    assert all(f"{text} (reply" in reply for text, reply in zip(texts, said, strict=True))
    assert len(set(said)) == PROMPTS
    Precompute(known)("build", "--deck", "recorded")
    (tmp_path / "data" / "ledger" / "recordings" / "recorded.jsonl").unlink()
    with serving(known, tmp_path / "replaying.log") as server:
        assert asked_at_once(server.url, texts) == said


def asked_at_once(url: str, texts: list[str]) -> list[str]:
    """The replies to texts, of which eight are asked at a time."""
    with httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(8) as pool:

        def ask(text: str) -> str:
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            response = client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200, response.text
            return str(response.json()["choices"][0]["message"]["content"])

        return list(pool.map(ask, texts))
