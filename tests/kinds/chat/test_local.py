"""The local tier: the real ollama client against a stand-in that fails in every way it can."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.errors import ProviderError
from app.kinds.chat.deck import CharacterDeck
from app.kinds.chat.empty import says_nothing
from app.providers.lazy import LazyModel
from app.providers.ollama import knock
from app.providers.relay import Abort, Ask
from tests.kinds.chat import kit
from tests.kinds.chat.standin import (
    Ollama,
    OpenAI,
    closed_port,
    ollama_handler,
    openai_handler,
    served,
)
from tests.making import wait_for

# No rule knows this, and nobody would take it for a greeting.
UNKNOWN = "切手の裏に地図が印刷してあったんだけど"
FAULTS = {
    "missing": ("fault", "missing"),
    "busy": ("guard", "busy"),
    "memory": ("guard", "no_memory"),
    "hang": ("fault", "timeout"),
    "drip": ("fault", "timeout"),
    "reset": ("fault", "cut"),
    "cut": ("fault", "cut"),
    "in_stream": ("fault", "in_stream"),
    "hang_in_stream": ("fault", "timeout"),
    "html": ("fault", "unreadable"),
}
# What qwen2.5:0.5b did when it was tried, and the check that catches it.
REFUSED = {
    "うん、元気だよ！（これは元気な返事です）": "brackets",
    "返事：元気だよ！": "brackets",
    "一人称は「あたし」だよね！": "echo",
    "こんにちは！いい話だね！": "greeting",
    "あけましておめでとう！": "greeting",
    "你好，我很高兴见到你！": "script",
    "今日は很好です呢！": "script",
    "ぬほれぴ、むゆそぺらぬひへぐほ！": "senseless",
    "だよだよだよだよだよだよだよね！": "senseless",
    "それは良い質問でございます。": "voice",
    "うん！\nもう一つの返事もあるよ！": "shape",
}


def refusals_since(server: kit.Server, before: dict[str, dict[str, int]]) -> dict[str, int]:
    """What was counted since then, by `why reason`."""
    return {
        f"{why} {reason}": count - before.get(why, {}).get(reason, 0)
        for why, reasons in server.passed().items()
        for reason, count in reasons.items()
        if count != before.get(why, {}).get(reason, 0)
    }


def test_answers_what_no_rule_knows(local: kit.Server, ollama: Ollama) -> None:
    """What no rule knows is answered by the local model, in at most 50 tokens, then unloaded."""
    ollama.pieces = ("えー、", "わかんないけど", "気になるね！")
    answer = local.say(UNKNOWN, character="botan")
    assert (answer["tier"], answer["text"]) == ("local", "えー、わかんないけど気になるね！")
    assert answer["intent"] is None
    asked = ollama.asked[-1]
    assert asked["options"]["num_predict"] == 50
    assert "keep_alive" not in asked  # Ollama's own setting holds
    assert "牡丹" in asked["messages"][0]["content"]


def test_streams_as_the_model_writes(local: kit.Server, ollama: Ollama) -> None:
    """A piece that the model has written is with the client while the model writes the next."""
    ollama.pieces = ("えー、", "気になるね！")
    ollama.fault = "hang_in_stream"
    stream = kit.Stream(local, UNKNOWN, character="botan")
    events = iter(stream)
    assert next(events)[0] == "start"
    assert next(events) == ("delta", {"text": "えー、"})
    assert next(events) == ("delta", {"text": "気になるね！"})
    stream.close()


def test_streams_to_the_end(local: kit.Server, ollama: Ollama) -> None:
    """The pieces make up the answer, which the last event tells with its tier."""
    ollama.pieces = ("えー、", "わかんないけど", "気になるね！")
    events = kit.Stream(local, UNKNOWN, character="botan").whole()
    told = "".join(data["text"] for name, data in events if name == "delta")
    assert events[-1][0] == "done", local.passed()
    assert (events[-1][1]["text"], events[-1][1]["tier"]) == (told, "local"), local.passed()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_answered_by_the_next_tier(
    local: kit.Server, ollama: Ollama, fault: str
) -> None:
    """Whatever goes wrong with Ollama, she answers all the same, and the fault is counted."""
    ollama.fault = fault
    before = local.passed()
    answer = local.say(UNKNOWN)
    assert answer["tier"] == "fallback"
    why, reason = FAULTS[fault]
    assert refusals_since(local, before) == {f"{why} {reason}": 1}


def test_refused_is_answered_by_the_next_tier(plain: kit.Server) -> None:
    """With no Ollama at all she answers, at once."""
    assert plain.say(UNKNOWN)["tier"] == "fallback"
    # Another worker may be asked for the figures: counts are added up once a second.
    wait_for(lambda: plain.passed().get("fault", {}).get("refused", 0) >= 1, "the counts")


def test_a_fault_within_a_stream_is_an_event(local: kit.Server, ollama: Ollama) -> None:
    """What was shown of a broken reply is taken back by an event, and another answer follows."""
    ollama.fault = "in_stream"
    events = kit.Stream(local, UNKNOWN).whole()
    names = [name for name, _ in events]
    assert ("discard", {"tier": "local"}) in events
    assert names.index("discard") < names.index("done")
    assert events[-1][1]["tier"] == "fallback"


def test_a_model_that_was_unloaded_is_loaded_again(local: kit.Server, ollama: Ollama) -> None:
    """A model that Ollama unloaded between two messages answers the second one too."""
    ollama.pieces = ("気になるね！",)
    assert local.say(UNKNOWN, character="botan")["tier"] == "local"
    ollama.unload()
    assert local.say(UNKNOWN, character="botan")["tier"] == "local"
    assert ollama.loads == 2


@pytest.mark.parametrize("text", REFUSED)
def test_a_bad_reply_is_thrown_away(local: kit.Server, ollama: Ollama, text: str) -> None:
    """Each fault that the small model was seen to make is refused, and counted by its name."""
    ollama.pieces = (text,)
    before = local.passed()
    assert local.say(UNKNOWN, character="botan")["tier"] == "fallback"
    assert refusals_since(local, before) == {f"gate {REFUSED[text]}": 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("うんうん、そうなんだね！", "backchannel"),
        ("はいはい、なるほどね！", "backchannel"),
        ("なにかあれば、いつでも聞いてね！", "politeness"),
        ("うん、切手の裏だね！", "repeats"),
    ],
)
def test_a_reply_that_says_nothing_is_counted(
    local: kit.Server, ollama: Ollama, text: str, reason: str
) -> None:
    """Backchannel, politeness and the user's own words are given where no model can do better."""
    ollama.pieces = (text,)
    before = local.passed().get("given", {}).get(reason, 0)
    assert local.say(UNKNOWN, character="botan")["text"] == text, local.passed()
    assert local.passed()["given"][reason] == before + 1


def test_a_reply_that_says_nothing_is_left_to_the_cloud(ollama: Ollama, tmp_path: Path) -> None:
    """Where the cloud comes after it, it answers what the small model had nothing to say to."""
    state = OpenAI()
    state.hold.set()
    with served(ollama_handler(ollama)) as here, served(openai_handler(state)) as there:
        settings = {
            "OLLAMA_HOST": here,
            "OPENAI_BASE_URL": f"{there}/v1",
            "TSUKURIOKI_CLOUD": "openai:any",
            "TSUKURIOKI_CHAT_TIERS": "rules,local,cloud,fallback",
        }
        with kit.started(tmp_path, **settings) as server:
            ollama.pieces = ("うんうん、そうなんだね！",)
            assert server.say(UNKNOWN, character="botan")["tier"] == "cloud"
            assert server.passed() == {"gate": {"backchannel": 1}}
            ollama.pieces = ("星の話、めっちゃ好きなんだけど！",)
            assert server.say(UNKNOWN, character="botan")["tier"] == "local"


def test_hardly_a_vetted_line_says_nothing(deck: CharacterDeck, english: CharacterDeck) -> None:
    """The measure takes at most one in a thousand lines that people wrote for an empty one.

    One may be: 「そっか…。そうだよね…」 is a vetted answer where somebody only wants to be heard.
    """
    for of in (deck, english):
        lines = [line.text for _, _, line in of.all_lines()]
        empty = [text for text in lines if says_nothing(text, "", of.rules)]
        assert len(empty) <= len(lines) / 1000, empty


def test_a_reply_cut_at_its_limit_is_thrown_away(local: kit.Server, ollama: Ollama) -> None:
    """A sentence without its end is not an answer."""
    ollama.done_reason = "length"
    before = local.passed()
    assert local.say(UNKNOWN, character="botan")["tier"] == "fallback"
    assert refusals_since(local, before) == {"gate cut_short": 1}


def test_a_client_that_leaves_stops_the_generation(local: kit.Server, ollama: Ollama) -> None:
    """When the client goes away the model's connection is shut, long before its deadline."""
    ollama.fault = "drip"
    ollama.pieces = ("うん、",)
    stream = kit.Stream(local, UNKNOWN, character="botan")
    events = iter(stream)
    assert next(events)[0] == "start"
    assert next(events)[0] == "delta"
    stream.close()
    assert ollama.gone.wait(10)


def test_a_client_that_leaves_a_silent_model_stops_it_too(
    local: kit.Server, ollama: Ollama
) -> None:
    """The same while the model has not said a word."""
    ollama.fault = "hang"
    stream = kit.Stream(local, UNKNOWN, character="botan")
    assert next(iter(stream))[0] == "start"
    assert ollama.asking.wait(10)
    stream.close()
    assert ollama.gone.wait(10)


def test_history_is_cut(local: kit.Server, ollama: Ollama) -> None:
    """A model sees the last messages only, within the budget of characters, the user's first."""
    ollama.pieces = ("気になるね！",)
    old = [
        {"role": role, "content": f"{number} {'あ' * 200}"}
        for number in range(20)
        for role in ("user", "assistant")
    ]
    body = {"messages": [*old, {"role": "user", "content": UNKNOWN}], "character": "botan"}
    assert local.request("POST", "/api/chat", body).json["tier"] == "local"
    seen = [m for m in ollama.asked[-1]["messages"] if m["content"][:2].strip().isdigit()]
    assert seen[0]["role"] == "user"
    assert sum(len(m["content"]) for m in seen) <= 2000
    assert ollama.asked[-1]["messages"][-1]["content"] == UNKNOWN


def test_rules_do_not_wait_for_a_hanging_model(local: kit.Server, ollama: Ollama) -> None:
    """While a model hangs, what a rule knows is answered all the same."""
    ollama.fault = "hang"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(local.say, UNKNOWN)
        assert ollama.asking.wait(10)
        assert local.say("おはよう")["tier"] == "rules"
        assert not waiting.done()
        assert waiting.result()["tier"] == "fallback"


def test_varied_lines_keep_their_meaning(ollama: Ollama, tmp_path: Path) -> None:
    """Where the settings ask for it the model varies a line; what is no variation is thrown away."""
    with served(ollama_handler(ollama)) as address:
        settings = {"OLLAMA_HOST": address, "TSUKURIOKI_CHAT_VARY": "on"}
        with kit.started(tmp_path, **settings) as server:
            ollama.answer = lambda asked: asked["messages"][-1]["content"].splitlines()[-1]
            assert _varied(server, ollama)["tier"] == "local"
            ollama.answer = lambda asked: "グミ食べたいし爪も塗りたいし忙しいんだけど！"
            answer = _varied(server, ollama)
            assert (answer["tier"], answer["source"]) == ("rules", "deck")
            assert server.passed()["gate"] == {"intent": 1}
            asked = len(ollama.asked)
            assert server.say("死にたい")["tier"] == "rules"
            assert len(ollama.asked) == asked


def _varied(server: kit.Server, ollama: Ollama) -> dict[str, Any]:
    """The first answer that the model was asked to vary; a line that asks something is not."""
    asked = len(ollama.asked)
    while True:
        answer = server.say("おはよう", character="botan")
        if len(ollama.asked) > asked:
            return answer


def test_little_memory_keeps_the_model_out(ollama: Ollama, tmp_path: Path) -> None:
    """With less memory than the settings ask for, a model that is not loaded is not asked."""
    with served(ollama_handler(ollama)) as address:
        settings = {"OLLAMA_HOST": address, "TSUKURIOKI_OLLAMA_FREE_MB": "1000000"}
        with kit.started(tmp_path, **settings) as server:
            assert server.say(UNKNOWN)["tier"] == "fallback"
            assert server.passed() == {"guard": {"no_memory": 1}}
            assert ollama.asked == []


def test_more_lines_are_cooked_and_said(ollama: Ollama, tmp_path: Path) -> None:
    """A build asks a provider for lines, refuses what is not hers, and the rules then say the rest."""

    def write(asked: dict[str, Any]) -> str:
        wanted = asked["messages"][-1]["content"].splitlines()
        # Polite, as botan is not.
        text = "おはようございます。本日もよろしくお願いいたします。"
        lines = [{"id": n, "text": text} for n, _ in enumerate(wanted, 1)]
        return json.dumps({"lines": lines})

    ollama.answer = write
    with served(ollama_handler(ollama)) as address:
        environ = kit.environment(tmp_path, OLLAMA_HOST=address)
        words = ("build", "--deck", "chat", "--n", "3", "--provider", "ollama")
        built = kit.command(environ, *words)
        assert "cooked" in built.stdout, built.stderr
        told = json.loads(kit.command(environ, "stats", "--deck", "chat", "--json").stdout)
        cooked = told["store"]["entries"]
        assert 0 < cooked < 3
        assert "voice" in built.stdout
        with kit.started(tmp_path, TSUKURIOKI_CHAT_TIERS="rules") as server:
            asked = {"character": "botan", "conversation": "c", "name": "はる"}
            sources = {server.say("おはよう", **asked)["source"] for _ in range(40)}
            sources |= {
                server.say("おはよう", **{**asked, "character": "kasho"})["source"]
                for _ in range(40)
            }
            sources |= {
                server.say("おはよう", **{**asked, "character": "yuri"})["source"]
                for _ in range(40)
            }
    assert sources == {"deck", "ollama"}


def test_after_failures_the_model_is_left_alone(ollama: Ollama, tmp_path: Path) -> None:
    """After three failures in a row nobody asks it for a while."""
    ollama.fault = "missing"
    with (
        served(ollama_handler(ollama)) as address,
        kit.started(tmp_path, OLLAMA_HOST=address) as server,
    ):
        for _ in range(6):
            assert server.say(UNKNOWN)["tier"] == "fallback"
        assert len(ollama.asked) == 3
        assert server.passed() == {"fault": {"missing": 3}, "guard": {"resting": 3}}


@pytest.mark.long
def test_a_hanging_model_holds_nobody_up(ollama: Ollama, tmp_path: Path) -> None:
    """200 messages at 20 connections: one asks at a time, and nobody waits for two that ask."""
    ollama.fault = "hang"
    deadline = 5.0
    with served(ollama_handler(ollama)) as address:
        settings = {"OLLAMA_HOST": address, "TSUKURIOKI_WORKERS": "2"}
        with kit.started(tmp_path, **settings) as server:
            # Importing the client is paid before the clock runs.
            ollama.fault = "missing"
            server.say(UNKNOWN)
            ollama.fault = "hang"

            url = f"http://127.0.0.1:{server.port}"
            with httpx.Client(base_url=url, timeout=2 * deadline) as client:

                def ask(number: int) -> str:
                    said = [{"role": "user", "content": UNKNOWN}]
                    body = {"messages": said, "conversation": f"c{number}"}
                    tier: str = client.post("/api/chat", json=body).json()["tier"]
                    return tier

                with ThreadPoolExecutor(20) as pool:
                    tiers = list(pool.map(ask, range(200)))
    assert tiers == ["fallback"] * 200
    assert ollama.most_at_once == 1


def test_a_port_where_nobody_listens_is_refused_without_the_client() -> None:
    """If there is no Ollama its client is not even made."""
    host = f"http://127.0.0.1:{closed_port()}"
    model = LazyModel("ollama", lambda: pytest.fail("made"), lambda: knock(host))
    with pytest.raises(ProviderError) as caught:
        list(model.stream(Ask("m", "", (), 1, 1.0), Abort()))
    assert caught.value.reason == "refused"
    assert model.made is None


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "not an address"])
def test_a_proxy_that_cannot_be_used_costs_no_local_tier(
    proxy: str, ollama: Ollama, tmp_path: Path
) -> None:
    """Ollama on this machine is asked directly; of the cloud one sentence tells at the start."""
    ollama.pieces = ("気になるね！",)
    with served(ollama_handler(ollama)) as address:
        settings = {"OLLAMA_HOST": address, "ALL_PROXY": proxy, "HTTPS_PROXY": proxy}
        tiers = {"TSUKURIOKI_CHAT_TIERS": "rules,local,cloud", "GEMINI_API_KEY": "k-123456"}
        with kit.started(tmp_path, **settings, **tiers) as server:
            assert server.say(UNKNOWN)["tier"] == "local"
    logs = "".join(path.read_text("utf-8", "replace") for path in tmp_path.rglob("*.log"))
    assert "_PROXY" in logs
