"""One server for all clients: it records what is not recorded, and has the decks in the box."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.making import DECKS, Precompute, Server, serving, write_json
from tests.web.clients.services import Services, services


@pytest.fixture(scope="session")
def upstream() -> Iterator[Services]:
    """The services from which the server records."""
    with services() as made:
        yield made


@pytest.fixture(scope="session")
def dropin(upstream: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server. Its deck `menu` replays only, and has nothing."""
    folder = tmp_path_factory.mktemp("dropin")
    decks = folder / "decks"
    for deck in DECKS.iterdir():
        decks.mkdir(exist_ok=True)
        (decks / deck.name).symlink_to(deck)
    write_json(
        decks / "recorded" / "deck.json", {"kind": "prompts", "id": "recorded", "mode": "auto"}
    )
    write_json(decks / "menu" / "deck.json", {"kind": "prompts", "id": "menu"})
    known = {
        "TSUKURIOKI_DATA": folder / "data",
        "TSUKURIOKI_DECKS": decks,
        "TSUKURIOKI_CHAT_RATE": 0,
        "TSUKURIOKI_CHAT_PACE": 0,
        "OPENAI_BASE_URL": f"{upstream.url}/v1",
        "OPENAI_API_KEY": "sk-upstream",
        "OLLAMA_HOST": upstream.url,
        "TSUKURIOKI_OLLAMA_FREE_MB": 10**6,
        "TSUKURIOKI_GEMINI_BASE_URL": upstream.url,
        "GEMINI_API_KEY": "AIza-upstream",
    }
    Precompute(known)("build", "--deck", "poem", "--provider", "written", "--n", 30)
    with serving(known, folder / "server.log") as started:
        yield started
