"""Servers that the tests share: starting one takes seconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from app.kinds.chat.deck import CharacterDeck, load_character_deck
from tests.kinds.chat import kit
from tests.kinds.chat.standin import (
    Gemini,
    Ollama,
    OpenAI,
    gemini_handler,
    ollama_handler,
    openai_handler,
    served,
)
from tests.kit import chat_deck
from tests.making import wait_for

_COUNT = itertools.count()


@pytest.fixture(scope="session")
def deck() -> CharacterDeck:
    """The Japanese deck in the box."""
    return chat_deck()


@pytest.fixture(scope="session")
def english() -> CharacterDeck:
    """The English one."""
    return load_character_deck(kit.ENGLISH)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kit.Server]:
    """As on a fresh clone: no Ollama, no key; two workers."""
    with kit.started(tmp_path_factory.mktemp("plain"), TSUKURIOKI_WORKERS="2") as server:
        yield server


@pytest.fixture(scope="session")
def _ollama() -> Iterator[tuple[Ollama, str]]:
    state = Ollama()
    with served(ollama_handler(state)) as address:
        yield state, address


@pytest.fixture(scope="session")
def _with_ollama(
    _ollama: tuple[Ollama, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[kit.Server]:
    settings = {
        "OLLAMA_HOST": _ollama[1],
        "TSUKURIOKI_CHAT_DEADLINE": "1.5",
    }
    with kit.started(tmp_path_factory.mktemp("local"), **settings) as server:
        yield server


@pytest.fixture
def ollama(_ollama: tuple[Ollama, str]) -> Iterator[Ollama]:
    """The stand-in for Ollama, as at the beginning."""
    _ollama[0].reset()
    yield _ollama[0]
    _ollama[0].reset()


@pytest.fixture
def local(_with_ollama: kit.Server, ollama: Ollama) -> kit.Server:
    """A server whose local tier asks the stand-in, and has nothing left to do from before."""
    ollama.pieces = ("そうなんだ、気になるね！",)

    def answers() -> bool:
        said: str = _with_ollama.say("切手の裏に地図が印刷してあったんだけど", character="botan")[
            "tier"
        ]
        return said == "local"

    wait_for(answers, "an answer of the local tier")
    ollama.reset()
    return _with_ollama


@pytest.fixture(scope="session")
def _cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gemini, kit.Server]]:
    state = Gemini()
    with served(gemini_handler(state)) as address:
        settings = {
            "GEMINI_API_KEY": "a-key-for-tests",
            "TSUKURIOKI_GEMINI_BASE_URL": address,
            "TSUKURIOKI_CHAT_TIERS": "learned,rules,cloud,fallback",
            "TSUKURIOKI_CHAT_LEARN": "on",
        }
        with kit.started(tmp_path_factory.mktemp("cloud"), **settings) as server:
            yield state, server


@pytest.fixture
def gemini(_cloud: tuple[Gemini, kit.Server]) -> Gemini:
    """The stand-in for the cloud, as at the beginning."""
    _cloud[0].__init__()  # type: ignore[misc]  # all of it anew
    return _cloud[0]


@pytest.fixture
def cloud(_cloud: tuple[Gemini, kit.Server], gemini: Gemini) -> kit.Server:
    """A server with the cloud switched on, and learning; the cloud has no failures before this test."""
    # A reply that is cut short comes and is not kept: failures in a row end, nothing is learned.
    gemini.finish = "MAX_TOKENS"
    # Another one each time, because what the gate refused is not asked for again at once.
    _cloud[1].say(f"ラッコは貝をどうやって{next(_COUNT)}回も割るの", character="botan")
    assert gemini.asked
    gemini.__init__()  # type: ignore[misc]  # all of it anew
    return _cloud[1]


@pytest.fixture(scope="session")
def _openai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenAI, kit.Server]]:
    state = OpenAI()
    with served(openai_handler(state)) as address:
        settings = {
            "OPENAI_API_KEY": "sk-for-tests",
            "OPENAI_BASE_URL": f"{address}/v1",
            "TSUKURIOKI_CLOUD": "openai:gpt-4o-mini,openai:gpt-4o",
            "TSUKURIOKI_CHAT_TIERS": "learned,rules,cloud,fallback",
            "TSUKURIOKI_CHAT_LEARN": "on",
        }
        with kit.started(tmp_path_factory.mktemp("openai"), **settings) as server:
            yield state, server


@pytest.fixture
def openai(_openai: tuple[OpenAI, kit.Server]) -> Iterator[OpenAI]:
    """The stand-in of an OpenAI-compatible server, as at the beginning."""
    _openai[0].reset()
    yield _openai[0]
    _openai[0].reset()


@pytest.fixture
def compatible(_openai: tuple[OpenAI, kit.Server], openai: OpenAI) -> kit.Server:
    """A server whose cloud is OpenAI-compatible, and that has no failures before this test."""
    # In a conversation of its own each time: to the same message twice she says that she noticed.
    tiers = (
        _openai[1].say("カモメは何を考えているの", conversation=f"warm {next(_COUNT)}")["tier"]
        for _ in range(100)
    )
    assert "cloud" in tiers
    openai.reset()
    return _openai[1]
