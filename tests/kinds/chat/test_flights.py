"""The cloud by an OpenAI-compatible server, and requests that share one reply."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from app.kinds.chat import figures
from app.kinds.chat.deck import CharacterDeck
from app.ledger.tally import DaySum
from app.settings import Settings
from tests.kinds.chat import kit
from tests.kinds.chat.standin import OpenAI, openai_handler, served

OLD_USER = [
    {"role": "user", "content": "おはよう"},
    {"role": "assistant", "content": "おはよ！"},
]


def ask(server: kit.Server, text: str, **more: object) -> dict[str, Any]:
    """A message of somebody who has been here before."""
    body = {"messages": [*OLD_USER, {"role": "user", "content": text}], "character": "botan"}
    return server.request("POST", "/api/chat", {**body, **more}).json


def spent(server: kit.Server) -> float:
    """What /stats says of the cost."""
    found: float = server.stats()["cost"]["spent_usd"]
    return found


def test_importance_decides_between_two_models_of_any_server(
    compatible: kit.Server, openai: OpenAI
) -> None:
    """Ordinary talk goes to the cheap model, sparring to the strong one, with the key."""
    ordinary = ask(compatible, "イルカの背びれは何枚あるの")
    assert (ordinary["tier"], ordinary["source"]) == ("cloud", "openai")
    assert ordinary["text"] == "うん、まかせて！いっしょに考えよ！"
    assert openai.asked[-1]["model"] == "gpt-4o-mini"
    assert "牡丹" in openai.asked[-1]["messages"][0]["content"]
    assert ask(compatible, "しりとりで勝負しよう、夏の夜")["importance"] == 0.7
    assert openai.asked[-1]["model"] == "gpt-4o"
    assert openai.keys[-1] == "Bearer sk-for-tests"


def test_a_server_on_this_machine_costs_nothing(compatible: kit.Server, openai: OpenAI) -> None:
    """The bill of LM Studio or vLLM on this machine is zero, and its tokens are counted."""
    before = spent(compatible)
    assert ask(compatible, "ヒトデはどこで見てるの")["tier"] == "cloud"
    assert spent(compatible) == before == 0


def test_a_server_that_does_not_know_the_option_for_tokens_is_asked_without_it(
    compatible: kit.Server, openai: OpenAI
) -> None:
    """Older servers answer too; their tokens are estimated."""
    openai.knows_usage = False
    assert ask(compatible, "タツノオトシゴは魚なの")["tier"] == "cloud"
    assert "stream_options" not in openai.asked[-1]


@pytest.mark.parametrize(
    ("change", "why", "reason"),
    [
        ({"status": 429}, "fault", "quota"),
        ({"status": 500}, "fault", "server"),
        ({"status": 404}, "fault", "missing"),
        ({"finish": "content_filter"}, "fault", "blocked"),
        ({"finish": "length"}, "gate", "cut_short"),
        ({"pieces": ("（笑顔で）うん、", "いいよ！")}, "gate", "brackets"),
    ],
)
def test_a_fault_is_answered_in_character(
    compatible: kit.Server, openai: OpenAI, change: dict[str, object], why: str, reason: str
) -> None:
    """Whatever the server does, she says something of her own, and it is counted why."""
    before = compatible.passed("cloud").get(why, {}).get(reason, 0)
    for name, value in change.items():
        setattr(openai, name, value)
    assert ask(compatible, f"エイの裏側はどうして顔みたいなの、{reason}")["tier"] == "fallback"
    assert compatible.passed("cloud")[why][reason] == before + 1


def together(server: kit.Server, openai: OpenAI, bodies: list[dict[str, Any]]) -> list[Any]:
    """The last events of streams that all wait for a model before it answers.

    They come from several addresses, because few may not have all places of a server.
    """
    openai.hold.clear()
    sources = itertools.cycle(f"127.0.0.{number}" for number in range(1, 9))
    streams = [
        kit.Stream(server, source=source, **body)
        for body, source in zip(bodies, sources, strict=False)
    ]
    for stream in streams:
        stream.await_model()
    openai.hold.set()
    with ThreadPoolExecutor(len(streams)) as pool:
        return [events[-1] for events in pool.map(kit.Stream.whole, streams)]


def test_fifty_who_say_the_same_at_once_are_one_request(
    compatible: kit.Server, openai: OpenAI
) -> None:
    """Fifty messages that are the same but for spaces are one paid call, and all get its answer."""
    texts = ["マンボウは何を食べるの", " マンボウは何を食べるの　"] * 25
    last = together(compatible, openai, [{"text": text, "character": "botan"} for text in texts])
    assert {(name, data["text"], data["tier"]) for name, data in last} == {
        ("done", "うん、まかせて！いっしょに考えよ！", "cloud")
    }
    assert len(openai.asked) == 1
    ledger = (compatible.folder / "ledger" / "chat.jsonl").read_text().splitlines()
    assert sum("マンボウ" in line for line in ledger) == 1


def test_what_differs_is_asked_for_each(compatible: kit.Server, openai: OpenAI) -> None:
    """Another character, name, history, sign or word is another request."""
    same: dict[str, Any] = {"text": "クラゲの触手は伸びるの?", "character": "botan"}
    others: list[dict[str, Any]] = [
        {"character": "yuri"},
        {"character": "kasho"},
        {"character": "kasho", "name": "はる"},
        {"text": "クラゲの触手は伸びるの!"},
        {"text": "クラゲの触手は伸びるの?🐙"},
        {"messages": [*OLD_USER, {"role": "user", "content": "クラゲの触手は伸びるの?"}]},
    ]
    together(compatible, openai, [same, *({**same, **other} for other in others)])
    assert len(openai.asked) == 1 + len(others)


def test_one_who_leaves_takes_nobody_elses_answer_away(
    compatible: kit.Server, openai: OpenAI
) -> None:
    """If the one who asked first goes away, those who wait for the same reply get it."""
    openai.hold.clear()
    first, second = (kit.Stream(compatible, "アメフラシは雨が好きなの") for _ in range(2))
    for stream in (first, second):
        stream.await_model()
    first.close()
    second.await_model()
    second.await_model()
    openai.hold.set()
    assert second.whole()[-1][1]["tier"] == "cloud"
    assert len(openai.asked) == 1


def test_a_refusal_is_not_paid_again_at_once(compatible: kit.Server, openai: OpenAI) -> None:
    """What the gate has refused is not asked for again by the next who say the same thing."""
    openai.pieces = ("（笑顔で）うん、いいよ！",)
    before = compatible.passed("cloud").get("gate", {}).get("brackets", 0)
    for _ in range(20):
        assert ask(compatible, "ウミウシはどうして派手なの")["tier"] == "fallback"
    assert len(openai.asked) == 1
    assert compatible.passed("cloud")["gate"]["brackets"] == before + 20
    openai.reset()
    assert ask(compatible, "ウミウシはどうして地味なの")["tier"] == "cloud"


def test_ten_that_hang_hold_nobody_up(compatible: kit.Server, openai: OpenAI) -> None:
    """While ten messages wait for the cloud, the server's health and a rule's answer do not."""
    openai.hold.clear()
    streams = [kit.Stream(compatible, f"{number}匹目のタコは何色なの") for number in range(10)]
    openai.wait_for(10)
    assert compatible.request("GET", "/healthz").status == 200
    assert compatible.say("おはよう")["tier"] == "rules"
    openai.hold.set()
    assert [stream.whole()[-1][1]["tier"] for stream in streams] == ["cloud"] * 10


def test_gemini_and_a_server_of_ones_own_can_be_mixed(tmp_path: Path) -> None:
    """The strong model can be what LM Studio has loaded, without a name; the cheap one another's."""
    state = OpenAI(models=("local-70b", "other"))
    state.hold.set()
    with served(openai_handler(state)) as address:
        settings = {
            "OPENAI_BASE_URL": f"{address}/v1",
            "TSUKURIOKI_CLOUD": "gemini:gemini-3.5-flash-lite,openai",
            "TSUKURIOKI_CHAT_TIERS": "rules,cloud,fallback",
        }
        with kit.started(tmp_path, **settings) as server:
            answer = server.say("カニはどうして横に歩くの", character="botan")
            assert (answer["tier"], answer["model"]) == ("cloud", "local-70b")
            assert ask(server, "エビはどうして赤くなるの")["tier"] == "fallback"
            assert server.passed("cloud") == {"fault": {"no_key": 1}}
            # The strong one is switched off: after three failures the cheap one is asked.
            state.status = 500
            for number in range(4):
                server.say(f"{number}本目の足はどこ", character="botan")
            assert server.passed("cloud") == {"fault": {"no_key": 2, "server": 3}}


@pytest.mark.parametrize(
    "value", ["gpt-4o", "gemini", "gemini:", "ollama:x", "openai,openai,openai", ","]
)
def test_a_wrong_name_of_a_cloud_model_is_told(tmp_path: Path, value: str) -> None:
    """The start ends with one line that says how models are named."""
    ended = kit.command(kit.environment(tmp_path, TSUKURIOKI_CLOUD=value), "stats")
    assert ended.returncode == 2
    assert "TSUKURIOKI_CLOUD" in ended.stderr
    assert "gemini:MODEL and openai:MODEL" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_prices_of_the_documents_own_plan_are_in_the_table() -> None:
    """gpt-4o-mini and gpt-4o have a price, so that a bill and a baseline can be shown."""
    cloud = Settings.read({"TSUKURIOKI_CLOUD": "openai:gpt-4o-mini,openai:gpt-4o"}).cloud
    table = json.loads((kit.ROOT / "app" / "providers" / "prices.json").read_text())
    assert {model.model for model in cloud} <= set(table["models"])


def test_a_model_without_a_price_is_named(deck: CharacterDeck) -> None:
    """What it writes counts as nothing in the bill, and the figures say so; its baseline is not known."""
    models = "openai:gpt-4o-mini-2024-07-18,openai:unheard-of"
    settings = Settings.read({"TSUKURIOKI_CLOUD": models})
    rows = [DaySum("2026-11-27", "cloud", 3, 600, 90, 500, 80, 0.25)]
    told = figures.cost(deck, rows, figures.price_table(settings), settings.cloud, "2026-11-27")
    assert told["unpriced"] == ["unheard-of"]
    assert told["spent_usd"] == 0.25
    assert told["baseline_usd"] is told["month_baseline_usd"] is None
