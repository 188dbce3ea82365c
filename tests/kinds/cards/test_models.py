"""The tiers of a deck of cards that ask a model, over HTTP, with stand-ins for Ollama and Gemini."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.kinds.cards.composing import Composer
from app.kinds.cards.dealing import random_play
from app.kinds.cards.models import ModelSetup, ModelTier
from app.kinds.cards.plays import Play
from app.kinds.engine import Engine
from app.kinds.ladder import returned
from app.ledger.misses import read_ledger
from app.providers.guards import Breaker, SomeAtATime
from app.providers.relay import Abort, Ask, Finish, SharedReplies
from app.store.key import Query
from app.store.log import Record, log_path, read_log
from tests.kinds.chat import kit
from tests.kinds.chat.standin import Gemini, Ollama, gemini_handler, ollama_handler, served
from tests.kit import poem_deck

POEM = poem_deck()
COMPOSER = Composer(POEM)


def play(seed: int) -> Query:
    """A play that nobody asked for before."""
    return random_play(POEM, Random(seed))


def written(query: Query) -> dict[str, str]:
    """A poem for a play that passes the gate."""
    made = COMPOSER.compose(query, 7)
    assert made
    return dict(made.response)


def small_model(query: Query) -> Callable[[dict[str, Any]], str]:
    """What a good small model says: keywords, then the poem of a play."""

    def answer(asked: dict[str, Any]) -> str:
        if "keywords" in json.dumps(asked.get("format") or {}):
            return json.dumps({"keywords": ["灯", "坂"]})
        return json.dumps(written(query), ensure_ascii=False)

    return answer


def ask(server: kit.Server, query: Query, variant: int = 0) -> dict[str, Any]:
    """An answer to a play."""
    hand = [{"card": card, "phrase": phrase} for card, phrase in query.picks]
    response = server.request("POST", "/api/decks/poem/answer", {"hand": hand, "variant": variant})
    assert response.status == 200, response.body
    return response.json


@pytest.fixture(scope="module")
def _others() -> Iterator[int]:
    """Seeds of plays that no test asks for."""
    return iter(range(10_000, 20_000))


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ollama, kit.Server]]:
    state = Ollama()
    with served(ollama_handler(state)) as address:
        settings = {
            "OLLAMA_HOST": address,
            "TSUKURIOKI_TIERS": "exact,local,template",
            "TSUKURIOKI_DEADLINE": "1.5",
        }
        with kit.started(tmp_path_factory.mktemp("cards"), **settings) as server:
            yield state, server


@pytest.fixture
def ollama(_running: tuple[Ollama, kit.Server], _others: Iterator[int]) -> Iterator[Ollama]:
    """The stand-in, as at the beginning; it has nothing left to do and no failures from before."""
    state, server = _running
    state.reset()
    # Plays that are new: one that was just written is not asked for again.
    for seed in _others:
        state.answer = small_model(play(seed))
        if ask(server, play(seed))["tier"] == "local":
            break
    state.reset()
    yield state
    state.reset()


@pytest.fixture
def server(_running: tuple[Ollama, kit.Server]) -> kit.Server:
    """A server of cards with a local tier."""
    return _running[1]


def passed(server: kit.Server) -> dict[str, dict[str, int]]:
    """Why the local tier passed, so far."""
    found: dict[str, dict[str, int]] = server.stats("poem")["passed"].get("local", {})
    return found


def test_a_miss_is_written_in_two_steps(server: kit.Server, ollama: Ollama) -> None:
    """A play that no tier before has is written by the small model, labelled as what it is."""
    ollama.answer = small_model(play(1))
    answer = ask(server, play(1))
    assert (answer["tier"], answer["source"], answer["model"]) == (
        "local",
        "ollama",
        "qwen2.5:0.5b",
    )
    assert answer["poem"] == written(play(1))["poem"]
    assert answer["key"] == play(1).key
    assert len(ollama.asked) == 2
    assert all(asked["format"] for asked in ollama.asked)


def test_a_repeated_play_is_not_asked_for_again(server: kit.Server, ollama: Ollama) -> None:
    """The same play has the same answer while it is fresh, and costs the model nothing."""
    ollama.answer = small_model(play(2))
    first = ask(server, play(2))
    asked = len(ollama.asked)
    assert ask(server, play(2)) == first
    assert len(ollama.asked) == asked


@pytest.mark.parametrize(
    ("fault", "why", "reason"),
    [
        ("missing", "fault", "missing"),
        ("busy", "guard", "busy"),
        ("memory", "guard", "no_memory"),
        ("hang", "fault", "timeout"),
        ("drip", "fault", "timeout"),
        ("reset", "fault", "cut"),
        ("html", "fault", "unreadable"),
    ],
)
def test_a_fault_is_answered_by_the_next_tier(
    server: kit.Server, ollama: Ollama, fault: str, why: str, reason: str
) -> None:
    """Whatever the model does wrong, the play is answered by the next tier, and counted by reason."""
    seed = 100 + len(fault) * 7 + ord(fault[0])
    ollama.answer = small_model(play(seed))
    ollama.fault = fault
    before = sum(sum(reasons.values()) for reasons in passed(server).values())
    assert ask(server, play(seed))["tier"] == "template"
    after = passed(server)
    assert sum(sum(reasons.values()) for reasons in after.values()) == before + 1
    assert why in after
    assert reason in str(after)


@pytest.mark.parametrize(
    "reply",
    [
        "すてきなお部屋です。",
        "{}",
        '{"title": "なんでもない題", "poem": ["短い。"]}',
        '{"title": 3, "poem": {"a": 1}}',
        '{"title": "休符に住む。", "poem": ["' + "です。" * 70 + '"]}',
        '{"title": "休符に住む。", "poem": null}',
        "[" * 5000,
    ],
)
def test_what_the_gate_refuses_is_not_served(
    server: kit.Server, ollama: Ollama, reply: str
) -> None:
    """A reply that is no poem, or one that the deck's gate refuses, is never shown."""
    ollama.answer = lambda asked: reply
    seed = 300 + len(reply)
    assert ask(server, play(seed))["tier"] == "template"


def test_one_play_is_written_at_a_time(server: kit.Server, ollama: Ollama) -> None:
    """Of many plays at once one is written; the others do not queue, the next tier answers them."""
    ollama.fault = "hang"
    tiers: list[str] = []
    threads = [
        threading.Thread(target=lambda seed=seed: tiers.append(ask(server, play(seed))["tier"]))
        for seed in range(400, 406)
    ]
    for thread in threads:
        thread.start()
    assert ollama.asking.wait(10)
    ollama.release.set()
    for thread in threads:
        thread.join()
    assert tiers == ["template"] * 6
    assert ollama.most_at_once == 1


def test_hits_do_not_wait_for_a_model_that_writes(server: kit.Server, ollama: Ollama) -> None:
    """While a play waits for the model, other requests are answered."""
    ollama.fault = "hang"
    waiting = threading.Thread(target=ask, args=(server, play(500)))
    waiting.start()
    assert ollama.asking.wait(10)
    for _ in range(20):
        assert server.request("GET", "/healthz").status == 200
    assert waiting.is_alive()
    ollama.release.set()
    waiting.join()


def test_the_cloud_writes_whole_and_is_kept_for_the_next_build(tmp_path: Path) -> None:
    """What the cloud wrote and the gate let pass is stored by the next build, with its source."""
    state, query = Gemini(), play(600)
    settings = {
        "GEMINI_API_KEY": "a-key-for-tests",
        "TSUKURIOKI_TIERS": "exact,cloud,template",
    }
    with served(gemini_handler(state)) as address:
        settings["TSUKURIOKI_GEMINI_BASE_URL"] = address
        with kit.started(tmp_path, **settings) as server:
            state.answer = lambda asked: _whole_reply(asked, query)
            answer = ask(server, query)
            assert (answer["tier"], answer["source"]) == ("cloud", "gemini")
    kept = [line for line in read_ledger(tmp_path / "ledger", "poem") if "candidate" in line]
    assert len(kept) == 1
    assert kept[0]["candidate"]["poem"] == answer["poem"]
    assert kept[0]["candidate"]["source"] == "gemini"
    assert "a-key-for-tests" not in str(kept)
    words = ("build", "--strategy", "misses", "--n", "1", "--provider", "composer")
    assert kit.command(server.environ, *words).returncode == 0
    stored = [
        r.entry for r in read_log(log_path(tmp_path / "store", "poem")) if isinstance(r, Record)
    ]
    first = stored[0]
    assert (first.key, first.source) == (query.key, "gemini")
    assert first.response["poem"] == answer["poem"]


class _Held:
    """Writes a poem for a play when it is told to, and counts how often it was asked."""

    name = "openai"

    def __init__(self, query: Query) -> None:
        self.calls = 0
        self.go_on = threading.Event()
        self._query = query

    def stream(self, ask: Ask, abort: Abort) -> Generator[str | Finish, None, None]:
        """The reply."""
        self.calls += 1
        assert self.go_on.wait(20)
        yield _whole_reply({"messages": [dict(message) for message in ask.messages]}, self._query)
        yield Finish(ask.model)


def test_equal_plays_at_once_are_one_request() -> None:
    """Ten visitors who ask the cloud for the same play at once get one poem, which is kept once."""
    query = play(700)
    model, kept = _Held(query), []
    guards = SomeAtATime(16), Breaker(3, 30.0, time.monotonic), SharedReplies(time.monotonic, 30.0)
    engine = Engine(model, *guards, lambda *note: kept.append(note), time.monotonic)
    setup = ModelSetup(engine, "any", True, 30.0, lambda *candidate: kept.append(candidate))
    tier = ModelTier("cloud", POEM, setup)
    waiting = [tier.reply(Play(query)) for _ in range(10)]
    assert [next(reply) for reply in waiting] == [""] * 10
    model.go_on.set()
    ended = {returned(reply) for reply in waiting}
    assert None not in ended, kept
    assert len(ended) == model.calls == len(kept) == 1


def _whole_reply(asked: dict[str, Any], query: Query) -> str:
    text = json.dumps(asked, ensure_ascii=False)
    name = text[text.rindex("［") + 1 : text.rindex("］")]
    idea = text[text.rindex("考え：") + 3 :].split("\\n")[0]
    poem = written(query)
    item = {"id": name, "idea": idea, "title": poem["title"], "poem": poem["poem"].split("\n")}
    return json.dumps({"answers": [item]}, ensure_ascii=False)
