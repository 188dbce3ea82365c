"""Cooking decks of prompts: a matrix, a file of prompts, what was missed; and their figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.standins import stand_ins
from tests.making import Precompute, row, serving, write_json

SLOTS = {"dish": ["ramen", "curry", "soba"], "guest": ["child", "vegan"], "mood": ["calm", "wild"]}
TEMPLATE: dict[str, Any] = {
    "template": [
        {"role": "system", "content": "You write menus."},
        {"role": "user", "content": "Describe {dish} for a {mood} {guest}"},
    ],
    "slots": SLOTS,
}
PROMPTS: list[dict[str, Any]] = [
    {"model": "m-1", "messages": [{"role": "user", "content": "What is fresh today?"}]},
    {"url": "/api/generate", "body": {"model": "m-2", "prompt": "Greet the guests."}},
]


@pytest.fixture
def menu(tmp_path: Path) -> Precompute:
    """A deck with a template, a file of prompts and a check."""
    folder = tmp_path / "data" / "decks" / "menu"
    folder.mkdir(parents=True)
    checks = {"must": ["You asked"], "must_not": ["wild vegan"], "characters": [5, 200]}
    miss = {"keep": True}
    deck = {"kind": "prompts", "id": "menu", "checks": checks, "miss": miss, "near": 1}
    write_json(folder / "deck.json", deck)
    write_json(folder / "template.json", TEMPLATE)
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, PROMPTS)))
    return Precompute({"TSUKURIOKI_DATA": tmp_path / "data"})


def ask(url: str, text: str, model: str = "menu", **more: Any) -> httpx.Response:
    """A chat completion."""
    messages = [
        {"role": "system", "content": "You write menus."},
        {"role": "user", "content": text},
    ]
    body = {"model": model, "messages": messages, **more}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)


def test_a_matrix_is_cooked_gated_served_and_counted(menu: Precompute) -> None:
    """The file's prompts, then every pair of values; refused answers stay out, one entry serves all
    spellings and models, the figures have their denominator, and a miss is cooked next."""
    with stand_ins() as models:
        settings: dict[str, Any] = {**models.environment()}
        words = ("build", "--deck", "menu", "--provider", "openai")
        plan = menu(*words, "--n", 8, "--dry-run", **settings)
        assert row(plan.stdout, "from prompts.jsonl") == "2"
        assert row(plan.stdout, "from template.json") == "6"
        assert row(plan.stdout, "the whole matrix") == "12"
        assert not models.asked
        done = menu(*words, "--n", 14, "--per-request", 4, status=2, **settings)
        assert row(done.stdout, "cooked") == "11"
        assert row(done.stdout, "not cooked") == "3"
        assert "must not" in done.stdout
        figures = json.loads(menu("stats", "--deck", "menu", "--json").stdout)
        assert figures["matrix"] == {
            "count": 9,
            "of": 12,
            "share": 0.75,
            "pairs": 15,
            "of_pairs": 16,
        }
        texts = [
            m["content"].format(dish="soba", mood="calm", guest="child")
            for m in TEMPLATE["template"]
        ]
        body = {
            "model": "menu",
            "messages": [
                {"role": "system", "content": texts[0]},
                {"role": "user", "content": texts[1].upper()},
            ],
        }
        write_json(menu.folder / "asked.json", body)
        told = menu("why", "asked.json").stdout
        assert "hit: deck menu answers by the template's slots" in told
        assert "slot guest: child" in told
        with serving(menu.settings, menu.folder / "server.log") as server:
            answer = ask(server.url, "Describe ramen for a calm vegan", temperature=0.3)
            assert answer.headers["x-tsukurioki-tier"] == "exact"
            said = answer.json()["choices"][0]["message"]["content"]
            assert "Describe ramen for a calm vegan" in said
            near = ask(server.url, "DESCRIBE  ramen for a calm vegan.")
            assert near.headers["x-tsukurioki-tier"] == "near"
            assert near.headers["x-tsukurioki-distance"] == "0.000"
            assert "x-tsukurioki-distance" not in answer.headers
            assert near.json()["choices"][0]["message"]["content"] == said
            for _ in range(2):
                missed = ask(server.url, "Describe tempura for a calm vegan")
                assert missed.status_code == 404
                assert "did you mean" in missed.json()["error"]["message"]
        menu(
            "build",
            "--deck",
            "menu",
            "--strategy",
            "misses",
            "--provider",
            "openai",
            "--n",
            5,
            **settings,
        )
        stats = menu("stats", "--deck", "menu", "--misses")
        assert stats.stdout.split()[0] == "2"
    figures = json.loads(menu("stats", "--deck", "menu", "--json").stdout)
    assert figures["store"]["entries"] == 12


def test_prompts_that_cannot_be_read_or_cooked_are_named(menu: Precompute) -> None:
    """A line that cannot be read ends a build; one that can only be recorded is left out."""
    path = menu.folder / "data" / "decks" / "menu" / "prompts.jsonl"
    tools = [{"type": "function", "function": {"name": "f"}}]
    lines = [json.dumps({**PROMPTS[0], "tools": tools}), json.dumps(PROMPTS[0]), "{"]
    path.write_text("\n".join(lines))
    done = menu("build", "--deck", "menu", "--n", 3, "--provider", "openai", status=2)
    assert "line 3: not JSON" in done.stderr
    done = menu("check", status=1)
    assert "warning: menu: prompts.jsonl: prompt 1 has tools" in done.stdout
    assert "error: menu: prompts.jsonl: line 3: not JSON" in done.stdout


@pytest.mark.parametrize("words", [("--radius", 1), ("--pieces",), ("--strategy", "sampled")])
def test_an_option_of_other_decks_is_refused(menu: Precompute, words: tuple[object, ...]) -> None:
    done = menu("build", "--deck", "menu", "--n", 3, *words, status=2)
    assert len(done.stderr.strip().splitlines()) == 1
